"""Paths of the files that ship with the code, and the default folder of faces.

The files that ship are beside the package in a checkout, and inside it after an installation.
"""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
ROOT = _PACKAGE if (_PACKAGE / "assets").is_dir() else _PACKAGE.parent
ASSETS = ROOT / "assets"
MODEL_CARD = ROOT / "MODEL_CARD.md"


def default_folder() -> Path:
    """The default folder of faces: `$FACEMTL_DATA`, else `data/UTKFace` in the working folder."""
    return Path(os.environ.get("FACEMTL_DATA") or "data/UTKFace")
