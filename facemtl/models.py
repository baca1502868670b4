"""One backbone with one head per task, and its weights on disk.

A single-task model is the same class with one task, so nothing forks.
"""

import hashlib
import http.client
import json
import urllib.error
from collections import OrderedDict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torchvision
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.transforms.functional import normalize

from .errors import FaceMTLError
from .tables import write_whole
from .tasks import Task, task_named

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class FaceModel(nn.Module):
    """`backbone` is one of OWN_BACKBONES or a torchvision classification model; `pretrained` asks for its ImageNet weights."""

    def __init__(
        self,
        tasks: tuple[Task, ...],
        backbone: str = "resnet18",
        *,
        pretrained: bool = False,
        dropout: float = 0.0,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
    ):
        super().__init__()
        if not tasks:
            raise FaceMTLError("A model needs at least one task.")
        self.tasks = tuple(tasks)
        self.backbone, n_features = _headless(backbone, pretrained)
        self.heads = nn.ModuleDict(
            {task.name: nn.Sequential(nn.Dropout(dropout), nn.Linear(n_features, task.n_outputs)) for task in tasks}
        )
        self.mean, self.std = tuple(map(float, mean)), tuple(map(float, std))
        self.n_parameters = sum(p.numel() for p in self.parameters())

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """RGB images (B, 3, H, W) with values in [0, 1] -> {task name: outputs (B, n_outputs)}."""
        images = normalize(images, self.mean, self.std)
        features = self.backbone(images.contiguous(memory_format=torch.channels_last))  # (B, n_features)
        return {name: head(features) for name, head in self.heads.items()}

    def start_from(self, trained: "FaceModel") -> None:
        """Take over the weights of a trained model: its backbone, and the heads of the tasks that both have.

        The own backbone may have more residual blocks per stage. Those begin as the identity (their last normalisation
        scales by 0), so that the deeper backbone at first gives the features of the trained one
        (Net2Net, Chen et al., ICLR 2016). It may have fewer, and begins without those that it lacks: a residual network
        bends under that, and a few epochs mend it (Veit et al., NeurIPS 2016). A ResNet-D may start from a plain ResNet, with a
        stem of its own. FaceMTLError where it is another one.
        """
        own, known = _residual_blocks(self.backbone), _residual_blocks(trained.backbone)
        added, left_out = (tuple(f"{name}." for name in names) for names in (own.keys() - known, known.keys() - own))
        for name in own.keys() - known:
            nn.init.zeros_(own[name].bn2.weight)
        if _is_resnet_d(self.backbone) and not _is_resnet_d(trained.backbone):
            added, left_out = (*added, "conv1."), (*left_out, "conv1.")
        taken = {name: value for name, value in trained.backbone.state_dict().items() if not name.startswith(left_out)}
        kept = {name: value for name, value in self.backbone.state_dict().items() if name.startswith(added)}
        try:
            self.backbone.load_state_dict({**taken, **kept})
            for name, head in self.heads.items():
                if name in trained.heads:
                    head.load_state_dict(trained.heads[name].state_dict())
        except RuntimeError as error:
            raise FaceMTLError(
                "The model to start from has another backbone. Name the --backbone that it was trained with, or a ResNet that "
                "has more or fewer of the same blocks."
            ) from error


def _is_resnet_d(backbone: nn.Module) -> bool:
    return isinstance(backbone, ResNet) and isinstance(backbone.conv1, nn.Sequential)


def _residual_blocks(backbone: nn.Module) -> dict[str, BasicBlock]:
    return {name: module for name, module in backbone.named_modules() if isinstance(module, BasicBlock)}


def resnet10() -> ResNet:
    """ResNet-18 with one block per stage instead of two: half the work, for training from scratch on a CPU."""
    return ResNet(BasicBlock, [1, 1, 1, 1])


def resnet10d() -> ResNet:
    """resnet10 as ResNet-D."""
    return _as_resnet_d(resnet10())


def resnet18d() -> ResNet:
    """ResNet-18 as ResNet-D."""
    return _as_resnet_d(torchvision.models.resnet18(weights=None))


def _as_resnet_d(model: ResNet) -> ResNet:
    """With three small convolutions for a stem, and shortcuts that see every pixel (He et al., CVPR 2019)."""
    model.conv1 = nn.Sequential(
        *(nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True)),
        *(nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True)),
        nn.Conv2d(32, 64, 3, padding=1, bias=False),  # the model's own normalisation and activation follow
    )
    for stage in (model.layer2, model.layer3, model.layer4):
        convolution, norm = stage[0].downsample
        convolution.stride = (1, 1)  # halving by the mean of each four, where a stride would see one of them
        # Its weights keep the names that they have in a plain ResNet.
        parts = {"pool": nn.AvgPool2d(2, ceil_mode=True), "0": convolution, "1": norm}
        stage[0].downsample = nn.Sequential(OrderedDict(parts))
    for module in model.conv1.modules():
        if isinstance(module, nn.Conv2d):  # as torchvision begins all others
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model


OWN_BACKBONES = {"resnet10": resnet10, "resnet10d": resnet10d, "resnet18d": resnet18d}


def _headless(name: str, pretrained: bool) -> tuple[nn.Module, int]:
    """A torchvision classifier without its last linear layer, and the number of features it leaves."""
    if name in OWN_BACKBONES and pretrained:
        raise FaceMTLError(f"There are no ImageNet weights for {name}. Add --no-pretrained, or choose --backbone resnet18.")
    if name not in OWN_BACKBONES and name not in torchvision.models.list_models(module=torchvision.models):
        raise FaceMTLError(f"torchvision has no classification model named {name!r}. Try resnet18 or regnet_x_400mf.")
    try:
        if not pretrained:
            model = OWN_BACKBONES[name]() if name in OWN_BACKBONES else torchvision.models.get_model(name, weights=None)
        else:
            model = torchvision.models.get_model(name, weights="DEFAULT")
    except (urllib.error.URLError, OSError, http.client.HTTPException, RuntimeError) as error:  # RuntimeError: a wrong checksum
        if not pretrained:
            raise
        raise FaceMTLError(
            f"The ImageNet weights of {name} could not be downloaded ({error}). Go online and run the same command again, "
            "or train from scratch with --no-pretrained."
        ) from error
    linear = [n for n, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise FaceMTLError(f"{name} does not end in a linear layer, so it cannot carry our heads. Try resnet18.")
    n_features = model.get_submodule(linear[-1]).in_features
    model.set_submodule(linear[-1], nn.Identity())
    return model, n_features


@dataclass
class Checkpoint:
    """A model's weights with all that is needed to use them.

    On disk: `<name>.safetensors`, in float16, beside `<name>.json`. No pickle.
    """

    name: str
    tasks: tuple[str, ...]
    backbone: str
    image_size: int  # pixels a side
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    # By task: "temperature" of a classification; "margin" in units, added to both ends of a regression's interval.
    calibration: dict[str, dict[str, float]] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    sha256: str = ""  # of the .safetensors file

    def save(self, folder: Path, model: FaceModel) -> None:
        """Write weights, then description: a description stands only beside whole weights."""
        folder.mkdir(parents=True, exist_ok=True)
        # A running sum that float16 cannot hold would load as infinity; clamping is exact for the rest.
        limit = torch.finfo(torch.float16).max
        weights = {
            key: value.clamp(-limit, limit).half().contiguous() if value.is_floating_point() else value
            for key, value in model.state_dict().items()
        }
        write_whole(folder / f"{self.name}.safetensors", content := safetensors.torch.save(weights))
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.save_description(folder)

    def save_description(self, folder: Path) -> None:
        write_whole(folder / f"{self.name}.json", (json.dumps(asdict(self), indent=2) + "\n").encode())

    @classmethod
    def load(cls, description: Path) -> tuple["Checkpoint", FaceModel]:
        """The checkpoint described by a `.json` file and its model, in evaluation mode.

        Raises FaceMTLError where a file is missing or damaged, or the weights are not the described ones.
        """
        again = "Fetch both files again, or train the model again."
        try:
            fields = json.loads(description.read_text())
            checkpoint = cls(**{**fields, "tasks": tuple(fields["tasks"])})
            tasks = tuple(task_named(name) for name in checkpoint.tasks)
            model = _unfilled(tasks, checkpoint.backbone, mean=checkpoint.mean, std=checkpoint.std)
        except FileNotFoundError as error:
            raise FaceMTLError(f"The model {description.stem} has no description {description.name}. {again}") from error
        except (ValueError, TypeError, KeyError, AttributeError, FaceMTLError) as error:
            raise FaceMTLError(f"{description.name} does not describe a model ({error}). {again}") from error
        weights = description.with_suffix(".safetensors")
        try:
            content = weights.read_bytes()
        except OSError as error:
            raise FaceMTLError(f"The weights {weights.name} of the model {checkpoint.name} cannot be read. {again}") from error
        if hashlib.sha256(content).hexdigest() != checkpoint.sha256:
            raise FaceMTLError(f"{weights.name} is damaged, or not the file that {description.name} describes. {again}")
        try:
            state = safetensors.torch.load(content)
            model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()}, assign=True)
        except (SafetensorError, RuntimeError) as error:
            raise FaceMTLError(f"{weights.name} does not fit the model that {description.name} describes. {again}") from error
        return checkpoint, model.eval().to(memory_format=torch.channels_last)


class _Undrawn(TorchFunctionMode):
    """Layers keep whatever their memory holds: drawing random weights for them would take time."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (Tensor.normal_, Tensor.uniform_, nn.init.kaiming_uniform_):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def _unfilled(*args, **kwargs) -> FaceModel:
    """A model that is to be given weights."""
    with _Undrawn():
        return FaceModel(*args, **kwargs)
