"""Model files: one `.onnx` file with the graph, the weights and metadata.

The metadata are everything else that a prediction needs. Weights are stored as float16. The
computation is in float32. The file contains its own hash, so damage is detected when it is opened.
Writing needs torch and onnx; `ModelInfo.of_file` needs neither.
"""

import hashlib
import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import FaceMTLError, file_error
from ..files import write_whole
from ..regular import MOST_OF_MODEL, read_bytes
from ..tasks import Task, task_named

if TYPE_CHECKING:
    import torch

    from .face_model import FaceModel

# The input's name: RGB (N, 3, size, size), float32 in [0, 1]. Outputs are named after their tasks:
# logits (N, n_outputs).
INPUT = "images"
SUFFIX = ".onnx"
_INFO, _HASH = "facemtl", "sha256"  # keys of the metadata
_NO_HASH = "0" * 64  # in place of the hash while the file is hashed
_AGAIN = "Fetch it again, or train the model again."
_DIVERGED = "The training has diverged. Train again, with a lower --lr and --head-lr."
MAX_SIZE = 4096  # px; a larger input would need more memory than machines have
TEMPERATURES = 1e-3, 1e3  # the limits of a temperature; `Task.best_temperature` finds 0.1 to 10
MAX_MARGIN = 1e6  # the most units of a margin


@dataclass(frozen=True)
class ModelInfo:
    """The metadata of a model file."""

    name: str
    tasks: tuple[Task, ...]
    backbone: str
    size: int  # side of the input images, in px
    # By task: the "temperature" of the logits, and for a regression the "margin" in units, by which
    # its interval is extended at both ends.
    calibration: dict[str, dict[str, float]] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    seen: str = ""  # the images that it was trained or calibrated on, see `models.seen`
    # Filled in when the file is written:
    # The first half of the SHA-256 of graph and weights. It does not depend on the calibration.
    weights: str = ""
    parameters: int = 0  # the number of learned weights

    @classmethod
    def of_file(cls, content: bytes, metadata: Mapping[str, str], file: str) -> "ModelInfo":
        """The metadata of a model file, checked against its content.

        `metadata` is the raw metadata, and `file` a name for messages. Raises FaceMTLError if it is
        not a model file, is damaged, is from another version, or has tasks with other outputs.
        """
        found = metadata.get(_HASH, "")
        if _INFO not in metadata or len(found) != len(_NO_HASH):
            raise FaceMTLError(f"{file} is not a model of facemtl. {_AGAIN}")
        if (
            hashlib.sha256(content.replace(found.encode(), _NO_HASH.encode(), 1)).hexdigest()
            != found
        ):
            raise FaceMTLError(f"{file} is damaged. {_AGAIN}")
        try:
            fields = json.loads(metadata[_INFO])
            fields.pop("metrics", None)  # older files have it
            outputs = dict(fields.pop("outputs"))
            tasks = tuple(task_named(name) for name in outputs)
            info = cls(**{**fields, "tasks": tasks})
            if not tasks:
                raise ValueError("it has no task")
            _check_values(info)
        except (
            ValueError, TypeError, KeyError, AttributeError, RecursionError, FaceMTLError
        ) as error:  # fmt: skip
            raise FaceMTLError(
                f"{file} was written by another version of facemtl ({error}). {_AGAIN}"
            ) from error
        for task in tasks:
            if outputs[task.name] != [str(each) for each in task.bins]:
                raise FaceMTLError(
                    f"{file} answers {task.name} with {', '.join(outputs[task.name][:9])}; "
                    f"expected {', '.join(map(str, task.bins[:9]))}. Train a model on the"
                    " expected labels, or name other models."
                )
        return info

    @property
    def is_calibrated(self) -> bool:
        return all(task.name in self.calibration for task in self.tasks)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that identify the weights and their calibration."""
        told = json.dumps([self.weights, self.calibration], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def as_json(self) -> str:
        """The metadata as JSON. In place of tasks it has `outputs`: the names of their outputs."""
        plain = {
            **asdict(self),
            "outputs": {task.name: [str(each) for each in task.bins] for task in self.tasks},
        }
        del plain["tasks"]
        return json.dumps(plain)


def write_model(file: Path, model: "FaceModel", info: ModelInfo) -> None:
    """Write a model file, as a whole or not at all.

    Raises FaceMTLError if a weight is not a finite number.
    """
    import torch

    _require_finite(model.state_dict(), f"The weights of {info.name}", _DIVERGED)
    plain = model.for_export()
    example = torch.zeros(2, 3, info.size, info.size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # about torch's own code
        program = torch.onnx.export(
            plain, (example,), dynamo=True, verbose=False, optimize=False,
            input_names=[INPUT], output_names=[task.name for task in info.tasks],
            dynamic_shapes={"images": {0: torch.export.Dim("n")}},
        )  # fmt: skip
    proto = program.model_proto
    _clear_notes(proto)
    _store_as_float16(proto)
    _write(file, proto, info)


def rewrite_info(file: Path, info: ModelInfo, to: Path | None = None) -> None:
    """Write a model file with other metadata, for example its calibration, in its place or `to`."""
    import onnx

    _write(to or file, onnx.load_from_string(read_bytes(file, MOST_OF_MODEL)), info)


def load_weights(file: Path) -> dict[str, "torch.Tensor"]:
    """The weights of a model file, as the `state_dict` of its FaceModel.

    Raises FaceMTLError if the file cannot be read, is damaged or is not a model file.
    """
    import onnx
    import torch

    weights = {
        each.name: torch.from_numpy(onnx.numpy_helper.to_array(each).astype(np.float32))
        for each in _read(file)[0].graph.initializer
        if each.name.startswith(("backbone.", "heads."))
    }
    _require_finite(weights, f"The weights of {file.name}", _AGAIN)
    return weights


def read_info(file: Path) -> ModelInfo:
    """The metadata of a model file. Raises FaceMTLError as `load_weights` does."""
    return _read(file)[1]


def _read(file: Path) -> tuple[Any, ModelInfo]:
    """The content of a model file as ONNX's ModelProto, and its metadata."""
    import onnx

    try:
        content = read_bytes(file, MOST_OF_MODEL)
        proto = onnx.load_from_string(content)
    except OSError as error:
        raise FaceMTLError(f"A model cannot be read. {file_error(error)}") from error
    except Exception as error:  # the parser raises many kinds of errors
        raise FaceMTLError(f"{file} is not a model of facemtl. {_AGAIN}") from error
    metadata = {each.key: each.value for each in proto.metadata_props}
    return proto, ModelInfo.of_file(content, metadata, file.name)


def load_model(file: Path, info: ModelInfo) -> "FaceModel":
    """The FaceModel of a model file, in evaluation mode, for more training or inspection."""
    from .face_model import FaceModel

    model = FaceModel(info.tasks, info.backbone)
    model.load_state_dict(load_weights(file), strict=False)
    return model.eval()


def _require_finite(weights: Mapping[str, "torch.Tensor"], what: str, remedy: str) -> None:
    """Raise FaceMTLError if a weight is infinite or not a number."""
    wrong = [name for name, values in weights.items() if not values.isfinite().all()]
    if wrong:
        raise FaceMTLError(
            f"{what} are not finite numbers ({len(wrong)} of {len(weights)} arrays, such as"
            f" {wrong[0]}). {remedy}"
        )


def _check_values(info: ModelInfo) -> None:
    """Raise ValueError if a number makes predictions meaningless, or if a text is no text."""
    if not all(isinstance(text, str) for text in (info.backbone, info.seen, info.weights)):
        raise ValueError("a text is something else")
    if not isinstance(info.size, int) or not 1 <= info.size <= MAX_SIZE:
        raise ValueError(f"its size is {info.size}")
    for task, settings in info.calibration.items():
        for name, value in settings.items():
            low, high = TEMPERATURES if name == "temperature" else (-MAX_MARGIN, MAX_MARGIN)
            if not low <= value <= high:
                raise ValueError(f"its {name} for {task} is {value}")


def _write(file: Path, proto, info: ModelInfo) -> None:
    del proto.metadata_props[:]
    weights = hashlib.sha256(proto.graph.SerializeToString(deterministic=True)).hexdigest()[:32]
    described = replace(info, weights=weights, parameters=_n_parameters(proto))
    proto.metadata_props.add(key=_INFO, value=described.as_json())
    proto.metadata_props.add(key=_HASH, value=_NO_HASH)
    content = proto.SerializeToString(deterministic=True)
    found = hashlib.sha256(content).hexdigest()
    write_whole(file, content.replace(_NO_HASH.encode(), found.encode(), 1))


def _n_parameters(proto) -> int:
    """The number of learned weights, without the running statistics of normalisations."""
    measured = (".running_mean", ".running_var")
    return sum(
        math.prod(each.dims)
        for each in proto.graph.initializer
        if each.name.startswith(("backbone.", "heads.")) and not each.name.endswith(measured)
    )


def _store_as_float16(proto) -> None:
    """Store each float32 weight of backbone and heads as float16, with a node that casts it back.

    This halves the size of the file. The arithmetic remains that of float32.
    """
    import onnx

    largest, casts = float(np.finfo(np.float16).max), []
    for weight in proto.graph.initializer:
        if weight.data_type != onnx.TensorProto.FLOAT or not weight.name.startswith(
            ("backbone.", "heads.")
        ):
            continue
        values = onnx.numpy_helper.to_array(weight).clip(-largest, largest).astype(np.float16)
        casted = f"{weight.name}.float32"
        casts.append(
            onnx.helper.make_node("Cast", [weight.name], [casted], to=onnx.TensorProto.FLOAT)
        )
        for node in proto.graph.node:
            for i, name in enumerate(node.input):
                if name == weight.name:
                    node.input[i] = casted
        weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def _clear_notes(proto) -> None:
    """Delete the exporter's notes about the Python source.

    They contain paths of this machine, and make up much of the file's size.
    """
    for node in [*proto.graph.node, *proto.graph.value_info, *proto.graph.initializer, proto.graph]:
        del node.metadata_props[:]
        node.doc_string = ""
    del proto.graph.value_info[:]
