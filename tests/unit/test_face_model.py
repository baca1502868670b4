"""FaceModel: one backbone and one head per task, other models as starts, and the export copy."""

from itertools import combinations

import pytest
import torch

from facemtl.errors import FaceMTLError
from facemtl.models import FACE_RESNET, backbones
from facemtl.models.face_model import FaceModel
from facemtl.tasks import AGE, GENDER, RACE, TASKS

IMAGES = torch.rand(3, 3, 48, 48, generator=torch.Generator().manual_seed(0))
pytestmark = pytest.mark.usefixtures("small_backbone")
FACES = torch.rand(
    6, 3, 120, 120, generator=torch.Generator().manual_seed(1)
)  # large enough for dlib's network

subsets = pytest.mark.parametrize(
    "tasks",
    [s for n in (1, 2, 3) for s in combinations(TASKS, n)],
    ids=lambda tasks: "+".join(t.name for t in tasks),
)


def with_statistics(model: FaceModel, images: torch.Tensor = IMAGES) -> FaceModel:
    """Give batch norms statistics that differ from their initial values, as training does."""
    torch.manual_seed(1)
    with torch.no_grad():
        for _ in range(3):
            model.train()(torch.rand(8, *images.shape[1:]))
    return model.eval()


def outputs(model: FaceModel, images: torch.Tensor = IMAGES) -> torch.Tensor:
    """The outputs of all heads, with shape (B, number of outputs)."""
    with torch.no_grad():
        return torch.cat([*model.eval()(images).values()], dim=1)


# ------------------------------------------------------------------------------------------ outputs


@subsets
def test_a_model_has_outputs_for_exactly_its_tasks(tasks):
    model = FaceModel(tasks, "small").eval()
    with torch.no_grad():
        logits = model(IMAGES)
    assert {name: out.shape for name, out in logits.items()} == {
        t.name: (3, t.n_outputs) for t in tasks
    }


def test_a_single_task_model_is_a_multi_task_model_with_one_head():
    multi = with_statistics(FaceModel(TASKS, "small"))
    for task in TASKS:
        single = FaceModel((task,), "small").eval()
        single.load_state_dict(
            {k: v for k, v in multi.state_dict().items() if k in single.state_dict()}
        )
        with torch.no_grad():
            torch.testing.assert_close(single(IMAGES)[task.name], multi(IMAGES)[task.name])


def test_an_additional_task_adds_one_head():
    one, two = FaceModel((GENDER,), "small"), FaceModel((GENDER, AGE), "small")
    assert (
        two.n_parameters - one.n_parameters == 2 * 128 + 128 * 117 + 117
    )  # a normalisation and a linear layer


def test_images_are_normalised_inside_the_model():
    model = with_statistics(FaceModel((GENDER,), "small"))
    mean, std = torch.tensor(backbones.IMAGENET_MEAN), torch.tensor(backbones.IMAGENET_STD)
    by_hand = torch.stack([(IMAGES[:, i] - mean[i]) / std[i] for i in range(3)], dim=1)
    with torch.no_grad():
        torch.testing.assert_close(
            model(IMAGES)["gender"], model.heads["gender"](model.backbone(by_hand))
        )


def test_images_of_one_batch_do_not_influence_each_other():
    model = with_statistics(FaceModel(TASKS, "small"))
    together = outputs(model)
    for i in range(len(IMAGES)):
        torch.testing.assert_close(
            outputs(model, IMAGES[i : i + 1])[0], together[i], rtol=1e-3, atol=1e-5
        )


def test_a_model_without_tasks_is_refused():
    with pytest.raises(FaceMTLError, match="at least one task"):
        FaceModel(())


# ------------------------------------------------------------------------- starts from other models


def test_a_model_can_start_with_the_outputs_of_a_trained_model():
    trained, model = with_statistics(FaceModel(TASKS, "small")), FaceModel(TASKS, "small")
    model.start_from(trained.state_dict())
    assert torch.equal(outputs(model), outputs(trained))


def test_a_model_can_start_with_the_heads_of_shared_tasks():
    trained, model = (
        with_statistics(FaceModel((GENDER, AGE), "small")),
        FaceModel((RACE, AGE), "small"),
    )
    own = model.heads["race"][-1].weight.clone()
    model.start_from(trained.state_dict())
    assert torch.equal(model.heads["age"][-1].weight, trained.heads["age"][-1].weight)
    assert torch.equal(model.heads["race"][-1].weight, own)
    for name, value in trained.backbone.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[name], value)


@pytest.mark.parametrize(
    ("backbone", "of"), [("resnet18", "small"), ("small", "resnet18"), (FACE_RESNET, "resnet18")]
)
def test_a_model_does_not_start_from_another_backbone(backbone, of):
    with pytest.raises(FaceMTLError, match="--backbone"):
        FaceModel(TASKS, backbone).start_from(FaceModel(TASKS, of).state_dict())


# ---------------------------------------------------------------------- normalisations for training


def test_normalisations_are_inserted_only_in_a_backbone_without_them():
    assert FaceModel((GENDER,), FACE_RESNET).insert_norms()
    assert not FaceModel((GENDER,), "small").insert_norms()


def test_inserted_normalisations_do_not_change_the_outputs():
    plain = with_statistics(FaceModel(TASKS, FACE_RESNET, pretrained=True), FACES)
    model = FaceModel(TASKS, FACE_RESNET)
    model.load_state_dict(plain.state_dict())
    model.insert_norms()
    model.calibrate_norms(FACES)
    torch.testing.assert_close(outputs(model, FACES), outputs(plain, FACES), rtol=1e-3, atol=1e-3)


def test_the_export_copy_gives_the_outputs_of_the_trained_model():
    """Also after training, when normalisations differ from the identity."""
    model = FaceModel(TASKS, FACE_RESNET, pretrained=True)
    model.insert_norms()
    model.calibrate_norms(FACES)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        sum(out.square().mean() for out in model.train()(FACES).values()).backward()
        optimizer.step()
    expected = outputs(model, FACES)
    copy = model.for_export()
    assert not copy.training and not any(
        isinstance(m, torch.nn.BatchNorm2d) for m in copy.modules()
    )
    torch.testing.assert_close(outputs(copy, FACES), expected, rtol=1e-3, atol=1e-3)
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules()), (
        "the model itself stays as it was"
    )
    assert torch.equal(outputs(model, FACES), expected)
