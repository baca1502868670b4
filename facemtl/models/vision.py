"""Import of torchvision that also works with a CPU build of torch.

torchvision's Linux wheels are compiled against a CUDA build of torch. With a CPU build, their
compiled operators do not load. Then `import torchvision` fails, because `torchvision::nms` and
`torchvision::qnms` are not declared. It is enough to declare both, because models and transforms
call no compiled operator. Once `import torchvision` works with a CPU build, this file can be
deleted.
"""

import importlib

import torch

_declared: torch.library.Library | None = None  # keeps the declarations alive


def import_torchvision():
    """Import torchvision. If this fails, declare the missing operators and import it again."""
    global _declared
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error) or _declared is not None:
            raise
        _declared = torch.library.Library("torchvision", "DEF")
        _declared.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return importlib.import_module("torchvision")


torchvision = import_torchvision()
