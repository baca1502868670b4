"""Where the files lie that are shipped with the code: beside the package in a checkout, in it once
it is installed.
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
ROOT = _PACKAGE if (_PACKAGE / "assets").is_dir() else _PACKAGE.parent
ASSETS = ROOT / "assets"
MODEL_CARD = ROOT / "MODEL_CARD.md"
