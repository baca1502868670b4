"""Models made faster: the same answers, from whatever backbone."""

import copy

import pytest
import torch
from torch import nn

from facemtl.inference import PackedConvolution, faster
from facemtl.models import Checkpoint, FaceModel
from facemtl.tasks import TASKS
from tests import support

MODELS = sorted((support.ROOT / "assets" / "models").glob("*.json"))
NEEDS_ONEDNN = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")


def lived(backbone: str) -> FaceModel:
    """A model whose normalisations have seen something: fresh ones would hide a wrong fold."""
    torch.manual_seed(0)
    model = FaceModel(TASKS, backbone).train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.rand(8, 3, 64, 64))
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.1)
    return model.eval()


def answers(model: FaceModel, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat([*model(images).values()], dim=1)


@pytest.mark.parametrize("description", MODELS, ids=lambda file: file.stem)
@pytest.mark.parametrize("n", [1, 2, 24, 65])
def test_shipped_models_give_the_same_answers(description, n):
    checkpoint, model = Checkpoint.load(description)
    images = torch.rand(n, 3, checkpoint.image_size, checkpoint.image_size)
    expected = answers(model, images)
    torch.testing.assert_close(answers(faster(model, checkpoint.image_size), images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("description", MODELS, ids=lambda file: file.stem)
def test_heads_answer_to_the_last_digit_what_they_answer_alone(description):
    checkpoint, model = Checkpoint.load(description)
    features = torch.rand(24, model.heads[checkpoint.tasks[0]][-1].in_features, generator=torch.Generator().manual_seed(0))
    for head in faster(model, checkpoint.image_size).heads.values():
        with torch.inference_mode():
            alone = torch.cat([head(one[None]) for one in features])
            for n in (2, 3, 8, 24):
                assert torch.equal(torch.cat([head(some) for some in features.split(n)]), alone)


@pytest.mark.parametrize(
    "backbone", ["resnet10d", "resnet18d", "resnet50", "regnet_x_400mf", "mobilenet_v3_small", "densenet121"]
)
def test_so_do_other_backbones(backbone):
    model, images = lived(backbone), torch.rand(3, 3, 64, 64)
    expected = answers(model, images)
    torch.testing.assert_close(answers(faster(model, 64), images), expected, rtol=1e-3, atol=1e-3 * float(expected.std()))


@pytest.mark.parametrize("size", [48, 130])
def test_images_of_another_size_are_understood_too(size):
    model, images = lived("resnet18"), torch.rand(2, 3, size, size)
    torch.testing.assert_close(answers(faster(model, 64), images), answers(model, images), rtol=1e-3, atol=1e-3)


@NEEDS_ONEDNN
def test_all_sums_and_activations_of_a_resnet_are_taken_in():
    backbone = faster(FaceModel(TASKS, "resnet18").eval(), 64).backbone
    kinds = [type(module) for module in backbone.modules()]
    assert kinds.count(PackedConvolution) == 20
    assert not {nn.Conv2d, nn.BatchNorm2d} & set(kinds)
    called = [node for node in backbone.graph.nodes if node.op == "call_function"]
    assert [node.target for node in called] == [torch.flatten]
    assert not any(node.op == "call_module" and "relu" in node.target for node in backbone.graph.nodes)


def test_the_model_itself_stays_as_it_was():
    model, images = lived("resnet10"), torch.rand(2, 3, 64, 64)
    expected, state = answers(model, images), copy.deepcopy(model.state_dict())
    quick = faster(model, 64)
    assert quick.n_parameters == model.n_parameters == sum(p.numel() for p in model.parameters())
    assert torch.equal(answers(model, images), expected)
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name


class Untraceable(nn.Module):
    def forward(self, images):
        return images.mean((2, 3)) if images.sum() > 0 else -images.mean((2, 3))


class Mutating(nn.Module):
    """What it adds is changed between the convolution and the sum, so that the convolution must not take it in."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 1)

    def forward(self, images):
        kept = images * 1.0
        seen = self.convolution(images)
        kept.add_(1.0)
        return (seen + kept).mean((2, 3))


class Unusual(nn.Module):
    """Convolutions that are not packed: one that mirrors the border, one that says how it pads, one called by name."""

    def __init__(self):
        super().__init__()
        self.mirroring = nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect")
        self.same = nn.Conv2d(3, 3, 3, padding="same")

    def forward(self, images):
        return self.same(input=self.mirroring(images)).mean((2, 3))


@pytest.mark.parametrize("backbone", [Untraceable, Mutating, Unusual])
def test_what_cannot_be_made_faster_still_gives_its_answers(backbone):
    model, images = FaceModel(TASKS, "resnet10").eval(), torch.rand(2, 3, 64, 64)
    model.backbone, model.heads = backbone(), nn.ModuleDict({"age": nn.Identity()})
    torch.testing.assert_close(answers(faster(model, 64), images), answers(model, images))
