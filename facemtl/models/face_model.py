"""One backbone with one head per task.

A single-task model is the same class with one task, so nothing forks.
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
    """`backbone` is a name that `backbone_named` knows; `pretrained` asks for its weights."""

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
        """Give a backbone that has no batch normalisation one for its training; was there such a
        backbone?
        """
        if not isinstance(self.backbone, FaceResNet):
            return False
        self.backbone.insert_norms()
        return True

    def calibrate_norms(self, images: Tensor) -> None:
        """Make inserted normalisations the identity for images (N, 3, S, S) in [0, 1]."""
        self.backbone.calibrate_norms((images - self.pixel_mean) / self.pixel_std)

    def for_answers(self) -> "FaceModel":
        """A copy on the CPU, in evaluation mode, whose inserted normalisations are folded away: it
        gives the same answers.
        """
        model = copy.deepcopy(self).cpu().float().eval()
        if isinstance(model.backbone, FaceResNet):
            model.backbone.fold_norms()
        return model

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Take over the backbone of a trained model, and the heads of the tasks that both have.

        `weights` is a `state_dict` of another FaceModel. FaceMTLError where its backbone is another
        one.
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
                "The model to start from has another backbone. Name the --backbone that it was"
                " trained with."
            ) from error


def _head(n_features: int, task: Task, dropout: float) -> nn.Module:
    """As fastai's heads: features are normalised first, since their scale is a backbone's own
    affair.
    """
    return nn.Sequential(
        nn.BatchNorm1d(n_features), nn.Dropout(dropout), nn.Linear(n_features, task.n_outputs)
    )
