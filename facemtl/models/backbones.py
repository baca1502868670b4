"""Backbones by name. A backbone turns images into features."""

import http.client
import urllib.error
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import nn

from ..errors import FaceMTLError
from ..paths import ASSETS
from ..regular import MOST_OF_MODEL, read_bytes
from . import FACE_RESNET, face_resnet
from .face_resnet import FaceResNet
from .vision import torchvision

FACE_RESNET_FILE = ASSETS / "pretrained" / "face_resnet.safetensors"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Backbone:
    """A module (B, 3, H, W) -> (B, n_features), and the normalisation of its input images."""

    module: nn.Module
    n_features: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def backbone_named(name: str, *, pretrained: bool) -> Backbone:
    """The backbone of this name: one of OWN, or a classification model of torchvision.

    With `pretrained`, a backbone of OWN gets face-recognition weights, which ship with the code.
    Other backbones get ImageNet weights, which are downloaded. Raises FaceMTLError if there is no
    backbone of this name, or if its weights cannot be loaded.
    """
    if name in OWN:
        return OWN[name](pretrained)
    module, n_features = _of_torchvision(name, pretrained)
    return Backbone(module, n_features, IMAGENET_MEAN, IMAGENET_STD)


def _face_resnet(pretrained: bool) -> Backbone:
    module = FaceResNet()
    if pretrained:
        _load_shipped(module, FACE_RESNET_FILE)
    return Backbone(module, face_resnet.N_FEATURES, face_resnet.MEAN, face_resnet.STD)


OWN: dict[str, Callable[[bool], Backbone]] = {FACE_RESNET: _face_resnet}


def _load_shipped(module: nn.Module, file: Path) -> None:
    """Load weights that ship with the code. Raises FaceMTLError if they are missing or damaged."""
    again = "Check it out again with git, or make it again with `python -m research.convert`."
    try:
        weights = safetensors.torch.load(read_bytes(file, MOST_OF_MODEL))
        module.load_state_dict({key: value.float() for key, value in weights.items()})
    except OSError as error:
        raise FaceMTLError(
            f"The pretrained weights {file.name} cannot be read ({error.strerror}). {again}"
        ) from error
    except (SafetensorError, RuntimeError) as error:  # RuntimeError: another network
        raise FaceMTLError(f"The pretrained weights {file.name} are damaged. {again}") from error


def _of_torchvision(name: str, pretrained: bool) -> tuple[nn.Module, int]:
    """A classifier of torchvision without its last linear layer, and its number of features.

    Raises FaceMTLError if there is none of this name, if its weights cannot be downloaded, or if it
    has no linear layer.
    """
    models = torchvision.models
    if name not in models.list_models(module=models):
        raise FaceMTLError(
            f"There is no backbone named {name!r}. Use {FACE_RESNET}, or a model of torchvision"
            " such as resnet18."
        )
    try:
        model = models.get_model(name, weights="DEFAULT" if pretrained else None)
    except (urllib.error.URLError, OSError, http.client.HTTPException, RuntimeError) as error:
        # RuntimeError: the download has a wrong checksum.
        if not pretrained:
            raise
        raise FaceMTLError(
            f"The ImageNet weights of {name} could not be downloaded ({error}). Go online and run"
            " the same command again, start from random weights with --no-pretrained, or use"
            f" --backbone {FACE_RESNET}."
        ) from error
    linear = [n for n, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise FaceMTLError(
            f"{name} does not end in a linear layer, so it cannot have the tasks' heads. Use"
            f" --backbone {FACE_RESNET}."
        )
    n_features = model.get_submodule(linear[-1]).in_features
    model.set_submodule(linear[-1], nn.Identity())
    return model, n_features
