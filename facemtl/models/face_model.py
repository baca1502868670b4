"""FaceModel: one backbone with one head per task.

A single-task model is the same class with one task, so no other code needs to tell them apart.
"""

import copy

import torch
from torch import Tensor, nn

from ..errors import FaceMTLError
from ..tasks import Task
from . import FACE_RESNET
from .backbones import backbone_named
from .face_resnet import FaceResNet


class FaceModel(nn.Module):
    """One backbone with one head per task: RGB images -> logits of each task.

    `backbone` is a name for `backbone_named`. With `pretrained`, it gets pretrained weights. Raises
    FaceMTLError if there are no tasks.
    """

    def __init__(
        self,
        tasks: tuple[Task, ...],
        backbone: str = FACE_RESNET,
        *,
        pretrained: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        if not tasks:
            raise FaceMTLError("A model needs at least one task.")
        self.tasks = tuple(tasks)
        found = backbone_named(backbone, pretrained=pretrained)
        self.backbone_name, self.backbone = backbone, found.module
        self.heads = nn.ModuleDict(
            {task.name: _head(found.n_features, task, dropout) for task in tasks}
        )
        self.register_buffer(
            "pixel_mean", torch.tensor(found.mean).view(1, 3, 1, 1), persistent=False
        )
        self.register_buffer(
            "pixel_std", torch.tensor(found.std).view(1, 3, 1, 1), persistent=False
        )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """RGB images (B, 3, H, W) with values in [0, 1] -> {task name: logits (B, n_outputs)}."""
        features = self.backbone((images - self.pixel_mean) / self.pixel_std)  # (B, n_features)
        return {name: head(features) for name, head in self.heads.items()}

    @property
    def n_parameters(self) -> int:
        return sum(p.numel() for p in self.parameters())

    def insert_norms(self) -> bool:
        """Insert batch normalisations for training, if the backbone is a FaceResNet.

        Returns whether they were inserted. Other backbones have their own.
        """
        if not isinstance(self.backbone, FaceResNet):
            return False
        self.backbone.insert_norms()
        return True

    def calibrate_norms(self, images: Tensor) -> None:
        """Set the inserted normalisations to the identity for images (N, 3, S, S) in [0, 1]."""
        self.backbone.calibrate_norms((images - self.pixel_mean) / self.pixel_std)

    def for_export(self) -> "FaceModel":
        """A copy for prediction, on the CPU and in evaluation mode.

        Inserted normalisations are folded into the convolutions. The outputs stay the same.
        """
        model = copy.deepcopy(self).cpu().float().eval()
        if isinstance(model.backbone, FaceResNet):
            model.backbone.fold_norms()
        return model

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Copy the weights of a trained model: its backbone, and the heads of the common tasks.

        `weights` is the `state_dict` of another FaceModel. Raises FaceMTLError if its backbone is a
        different one.
        """
        known = {name.split(".")[1] for name in weights if name.startswith("heads.")}
        left_out = tuple(f"heads.{name}." for name in known ^ {*self.heads})
        own = {
            name: value for name, value in self.state_dict().items() if name.startswith(left_out)
        }
        taken = {name: value for name, value in weights.items() if not name.startswith(left_out)}
        try:
            self.load_state_dict({**own, **taken})
        except RuntimeError as error:
            raise FaceMTLError(
                "The model to start from has another backbone. With --backbone, name the one that"
                " it was trained with."
            ) from error


def _head(n_features: int, task: Task, dropout: float) -> nn.Module:
    """A head: batch normalisation, dropout and a linear layer.

    Features are normalised first, as in fastai's heads, because their scale depends on the
    backbone.
    """
    return nn.Sequential(
        nn.BatchNorm1d(n_features), nn.Dropout(dropout), nn.Linear(n_features, task.n_outputs)
    )
