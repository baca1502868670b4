"""Paths of the files that ship with the code.

They are beside the package in a checkout, and inside it after an installation.
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
ROOT = _PACKAGE if (_PACKAGE / "assets").is_dir() else _PACKAGE.parent
ASSETS = ROOT / "assets"
MODEL_CARD = ROOT / "MODEL_CARD.md"
