"""A trained model -> one that gives the same answers sooner, on a CPU.

Batch normalisation is folded into the convolutions before it; their weights are laid out once as oneDNN wants them, where
torch would do it again in each call; and activations and residual sums are computed while a convolution's result is still
in the cache. For one face and its mirror image that takes a third of the time away.
"""

import copy
import operator
from collections import Counter
from contextlib import suppress

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .models import FaceModel

TYPICAL_BATCH = 2  # images: a face and its mirror image; weights are laid out for it, and serve any other
_SUMS = (operator.add, operator.iadd, torch.add)
_RELUS = (F.relu, torch.relu)


def faster(model: FaceModel, size: int) -> FaceModel:
    """The model for inference alone, on images of `size` px a side; with its own backbone where that cannot be traced."""
    backbone = model.backbone.eval()
    with suppress(Exception):  # tracing runs the backbone's own code with placeholders, which may raise anything
        backbone = folded(backbone)
        # What may fail here: a torch without oneDNN, or with another one; a convolution of an unusual kind.
        backbone = _packed(backbone, size)
    heads = nn.ModuleDict({name: WideHead(head) for name, head in model.heads.items()})
    found = copy.copy(model)
    found._modules = {**model._modules, "backbone": backbone, "heads": heads}
    return found


class WideHead(nn.Module):
    """A head that counts in float64: which faces share a batch changes the order of its sums, and so float32's last digits."""

    def __init__(self, head: nn.Module):
        super().__init__()
        self.head = copy.deepcopy(head).eval().double()

    def forward(self, features: Tensor) -> Tensor:
        return self.head(features.double()).float()


class PackedConvolution(nn.Module):
    """A convolution whose weights are laid out for oneDNN, with what may follow it: a sum with another tensor, a ReLU."""

    def __init__(self, convolution: nn.Conv2d, input_shape: list[int]):
        super().__init__()
        self.geometry = (convolution.padding, convolution.stride, convolution.dilation, convolution.groups)
        weight = torch.ops.mkldnn._reorder_convolution_weight(convolution.weight.detach(), *self.geometry, input_shape)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", None if convolution.bias is None else convolution.bias.detach())
        self.activation = "none"

    def forward(self, images: Tensor, summand: Tensor | None = None) -> Tensor:
        """(B, C, H, W), and what is added to the result before the activation -> (B, C', H', W')."""
        of_all = (self.weight, self.bias, *self.geometry)
        if summand is None:
            return torch.ops.mkldnn._convolution_pointwise(images, *of_all, self.activation, [], "")
        activation = None if self.activation == "none" else self.activation
        return torch.ops.mkldnn._convolution_pointwise.binary(images, summand, *of_all, "add", 1.0, activation, [], "")


def folded(backbone: nn.Module) -> fx.GraphModule:
    """Traced, with each batch normalisation folded into the convolution before it, where that one feeds nothing else."""
    traced = fx.symbolic_trace(backbone)
    modules, called = dict(traced.named_modules()), Counter(node.target for node in traced.graph.nodes)
    for node in list(traced.graph.nodes):
        if node.op != "call_module" or type(modules[node.target]) is not nn.BatchNorm2d or called[node.target] > 1:
            continue
        (before,) = node.args
        is_convolution = before.op == "call_module" and type(modules[before.target]) is nn.Conv2d
        if is_convolution and len(before.users) == 1 and called[before.target] == 1:
            traced.set_submodule(before.target, fuse_conv_bn_eval(modules[before.target], modules[node.target]))
            _replace(node, before)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def _packed(traced: fx.GraphModule, size: int) -> fx.GraphModule:
    """With a PackedConvolution for each convolution and what follows it. The module that is given stays as it is."""
    example = torch.rand(TYPICAL_BATCH, 3, size, size, generator=torch.Generator().manual_seed(0))
    example = example.contiguous(memory_format=torch.channels_last)
    graph, modules = copy.deepcopy(traced.graph), dict(traced.named_modules())
    packed = fx.GraphModule(traced, graph)
    with torch.no_grad():
        _NoteShapes(packed).run(example)
    convolutions = {}
    for node in graph.nodes:
        module = modules.get(node.target) if node.op == "call_module" else None
        if type(module) is nn.Conv2d and module.padding_mode == "zeros":
            (images,) = node.args
            convolutions[node] = PackedConvolution(module, list(_shape(images)))
            packed.set_submodule(node.target, convolutions[node])
    _take_in_sums(graph, convolutions)
    _take_in_activations(graph, convolutions, modules)
    packed.recompile()
    with torch.no_grad():
        expected, found = traced(example), packed(example)
    if not torch.allclose(found, expected, rtol=1e-3, atol=1e-3 * float(expected.std())):
        raise RuntimeError("the packed model gives other answers")
    return packed


def _take_in_sums(graph: fx.Graph, convolutions: dict[fx.Node, PackedConvolution]) -> None:
    """Let a convolution add what its result alone is added to, if that is known by then."""
    for node in list(graph.nodes):
        if node.op != "call_function" or node.target not in _SUMS or len(node.args) != 2 or node.kwargs:
            continue
        position = {other: i for i, other in enumerate(graph.nodes)}
        if not all(isinstance(term, fx.Node) and _shape(term) == _shape(node) for term in node.args):
            continue
        first, last = sorted(node.args, key=position.__getitem__)
        if last in convolutions and first is not last and len(last.users) == 1:
            last.args = (*last.args, first)
            _replace(node, last)


def _take_in_activations(
    graph: fx.Graph, convolutions: dict[fx.Node, PackedConvolution], modules: dict[str, nn.Module]
) -> None:
    for node in list(graph.nodes):
        is_relu = (node.op == "call_module" and type(modules[node.target]) is nn.ReLU) or (
            node.op == "call_function" and node.target in _RELUS
        )
        if is_relu and node.args[0] in convolutions and len(node.args[0].users) == 1:
            convolutions[node.args[0]].activation = "relu"
            _replace(node, node.args[0])


class _NoteShapes(fx.Interpreter):
    """As torch's own ShapeProp, which imports a computer algebra system and takes half a second for it."""

    def run_node(self, node: fx.Node) -> object:
        result = super().run_node(node)
        node.meta["shape"] = tuple(result.shape) if isinstance(result, Tensor) else None
        return result


def _shape(node: fx.Node) -> tuple[int, ...]:
    return node.meta["shape"]


def _replace(node: fx.Node, by: fx.Node) -> None:
    node.replace_all_uses_with(by)
    node.graph.erase_node(node)
