"""Count the multiply-adds of a model, while ONNX Runtime runs it once. Needs the onnx package."""

import math

import numpy as np
import onnxruntime

from ..models.model_file import INPUT, ModelInfo
from .runtime import session_options

COUNTED = ("Conv", "Gemm", "MatMul")


def multiply_adds(content: bytes, info: ModelInfo) -> int:
    """The number of multiply-adds in convolutions and linear layers, for one image.

    `content` is the content of a model file. Normalisation, activations and pooling do not count,
    as is usual.
    """
    import onnx

    proto = onnx.load_from_string(content)
    nodes = [node for node in proto.graph.node if node.op_type in COUNTED]
    shapes = {each.name: tuple(each.dims) for each in proto.graph.initializer}
    wanted = (
        {name for node in nodes for name in (*node.input[:2], node.output[0])}
        - shapes.keys()
        - {INPUT}
    )
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(wanted))
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), session_options(), providers=["CPUExecutionProvider"]
    )
    image = np.zeros((1, 3, info.size, info.size), np.float32)
    for name, value in zip(
        sorted(wanted), session.run(sorted(wanted), {INPUT: image}), strict=True
    ):
        shapes[name] = value.shape
    shapes[INPUT] = image.shape
    return sum(math.prod(shapes[node.output[0]]) * _for_a_number(node, shapes) for node in nodes)


def _for_a_number(node, shapes: dict[str, tuple[int, ...]]) -> int:
    """The number of multiplications for one number of a node's output."""
    values, weight = shapes[node.input[0]], shapes[node.input[1]]
    if node.op_type == "Conv":  # weight (outputs, inputs / groups, ...)
        return math.prod(weight[1:])
    if node.op_type == "Gemm":  # weight (inputs, outputs), or transposed
        return math.prod(weight) // shapes[node.output[0]][-1]
    return values[-1]  # (..., inputs) @ (inputs, outputs)
