"""torchvision, also beside a build of torch that its wheel was not compiled for.

torchvision's Linux wheels are compiled against a CUDA build of torch. Beside a CPU build their
compiled operators do not load, and `import torchvision` fails because `torchvision::nms` and
`torchvision::qnms` are not declared. Declaring the two is enough: models and transforms call no
compiled operator. tests/unit/test_vision.py says when this file can go.
"""

import importlib

import torch

_declared: torch.library.Library | None = None  # the declarations live as long as this object


def import_torchvision():
    """The module torchvision. The missing operators are declared only where its own import
    fails.
    """
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
