"""Paths of files that ship with the code, the default folder of faces, and paths that are given.

The files that ship are beside the package in a checkout, and inside it after an installation.
"""

import os
import reprlib
from pathlib import Path

from .errors import FaceMTLError

_PACKAGE = Path(__file__).resolve().parent
ROOT = _PACKAGE if (_PACKAGE / "assets").is_dir() else _PACKAGE.parent
ASSETS = ROOT / "assets"
MODEL_CARD = ROOT / "MODEL_CARD.md"


def default_folder() -> Path:
    """The default folder of faces: `$FACEMTL_DATA`, else `data/UTKFace` in the working folder."""
    return Path(os.environ.get("FACEMTL_DATA") or "data/UTKFace")


def as_path(given: str | os.PathLike) -> Path:
    """A path that somebody gives. Raises FaceMTLError if no file can have it.

    An empty text is refused, because `Path` takes it for the working folder.
    """
    if not isinstance(given, str | os.PathLike) or given == "" or "\0" in str(given):
        raise FaceMTLError(f"expected a path, found {reprlib.repr(given)}.")
    return Path(given)
