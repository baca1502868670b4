"""Backbones by name: the kept layers, the source of the weights, and errors for missing weights."""

import hashlib

import numpy as np
import pytest
import safetensors.torch
import torch

from facemtl.errors import FaceMTLError
from facemtl.inference.predictor import LoadedModel
from facemtl.models import FACE_RESNET, backbones
from facemtl.models.backbones import FACE_RESNET_FILE, IMAGENET_MEAN, IMAGENET_STD, backbone_named
from facemtl.models.face_model import FaceModel
from facemtl.models.model_file import ModelInfo, write_model
from facemtl.models.vision import torchvision
from facemtl.tasks import AGE, GENDER, RACE, TASKS
from tests import support

# Name -> number of features: the inputs of torchvision's last linear layer.
OF_TORCHVISION = {"resnet18": 512, "regnet_x_400mf": 400, "mobilenet_v3_small": 1024}
IMAGES = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "n_features"), OF_TORCHVISION.items(), ids=OF_TORCHVISION)
def test_every_backbone_carries_our_heads(name, n_features):
    model = FaceModel(TASKS, name).eval()
    with torch.no_grad():
        logits, features = model(IMAGES), model.backbone(IMAGES)
    assert {name: tuple(out.shape) for name, out in logits.items()} == {
        "gender": (3, 2),
        "race": (3, 5),
        "age": (3, 117),
    }
    assert features.shape == (3, n_features)


@pytest.mark.parametrize("name", OF_TORCHVISION)
def test_only_the_last_linear_layer_of_a_backbone_is_removed(name):
    whole = torchvision.models.get_model(name)
    last = [
        layer for layer, module in whole.named_modules() if isinstance(module, torch.nn.Linear)
    ][-1]
    kept = {key for key in whole.state_dict() if not key.startswith(last + ".")}
    found = backbone_named(name, pretrained=False)
    assert set(found.module.state_dict()) == kept
    assert (found.mean, found.std) == (IMAGENET_MEAN, IMAGENET_STD)


def test_a_torchvision_backbone_gives_the_same_outputs_from_its_file(tmp_path):
    torch.manual_seed(1)
    name = "resnet18"
    model = FaceModel((GENDER, RACE, AGE), name)
    with torch.no_grad():
        for _ in range(3):
            model.train()(torch.rand(8, 3, 64, 64))
        expected = model.eval()(IMAGES)
    write_model(tmp_path / "multitask.onnx", model, ModelInfo("multitask", TASKS, name, 64))
    loaded = LoadedModel.load(tmp_path / "multitask.onnx")
    found = LoadedModel(loaded.info, loaded.session, mirrored=False).logits(IMAGES.numpy())
    for task in TASKS:
        shares = (
            task.probabilities(logits[task.name])
            for logits in (found, {k: v.numpy() for k, v in expected.items()})
        )
        np.testing.assert_allclose(*shares, atol=5e-3)  # float16's rounding


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resnet1", "named 'resnet1'"),
        ("", "named ''"),
        ("face_resnet", "named 'face_resnet'"),
        ("../resnet18", "named '../resnet18'"),
        ("squeezenet1_0", "squeezenet1_0 does not end in a linear layer"),
    ],
)
def test_an_unknown_backbone_gives_one_message_with_valid_names(name, says):
    with pytest.raises(FaceMTLError, match=FACE_RESNET) as error:
        FaceModel(TASKS, name)
    assert says in str(error.value)


# ------------------------------------------------------------------------------ the shipped weights


def test_the_shipped_weights_are_loaded():
    weights = safetensors.torch.load_file(FACE_RESNET_FILE)
    backbone = FaceModel(TASKS, FACE_RESNET, pretrained=True).backbone.state_dict()
    assert weights.keys() == backbone.keys()
    assert all(torch.equal(backbone[name], value.float()) for name, value in weights.items())
    fresh = FaceModel(TASKS, FACE_RESNET).backbone.state_dict()
    assert not torch.equal(fresh["stem.conv.weight"], backbone["stem.conv.weight"])


def damaged(content: bytes) -> bytes:
    return content[: len(content) // 2]


def emptied(content: bytes) -> bytes:
    return b""


def of_another_network(content: bytes) -> bytes:
    return safetensors.torch.save({"stem.conv.weight": torch.zeros(3)})


@pytest.mark.parametrize(
    "change",
    [damaged, emptied, of_another_network, None],
    ids=lambda f: f.__name__ if f else "missing",
)
def test_missing_or_damaged_weights_give_instructions(change, tmp_path, monkeypatch):
    file = tmp_path / "face_resnet.safetensors"
    if change:
        file.write_bytes(change(FACE_RESNET_FILE.read_bytes()))
    monkeypatch.setattr(backbones, "FACE_RESNET_FILE", file)
    with pytest.raises(FaceMTLError, match=r"face_resnet\.safetensors.*research.convert"):
        FaceModel(TASKS, FACE_RESNET, pretrained=True)
    FaceModel(TASKS, FACE_RESNET)  # random weights need no file


# --------------------------------------------------------------------------------- ImageNet weights


@pytest.fixture
def imagenet(loopback, monkeypatch, tmp_path):
    """A server with weights for resnet18 at the URL that torchvision uses. Returns server and
    weights.
    """
    torch.manual_seed(7)
    weights = torchvision.models.resnet18().state_dict()
    torch.save(weights, file := loopback.folder / "weights")
    # torchvision checks the name's hash
    name = f"resnet18-{hashlib.sha256(file.read_bytes()).hexdigest()[:8]}.pth"
    file.rename(loopback.folder / name)
    monkeypatch.setattr(
        torchvision.models.ResNet18_Weights.DEFAULT.value, "url", f"{loopback.url}/{name}"
    )
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return loopback, weights


def test_pretrained_weights_are_fetched_and_used(imagenet):
    server, weights = imagenet
    backbone = FaceModel(TASKS, "resnet18", pretrained=True).backbone.state_dict()
    assert [method for method, *_ in server.requests] == ["GET"]
    assert len(backbone) == len(weights) - 2  # all except the last layer's weight and bias
    for name, value in backbone.items():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=0)


def test_nothing_is_fetched_without_pretrained_weights(imagenet):
    server, weights = imagenet
    model = FaceModel(TASKS, "resnet18")
    assert server.requests == []
    assert not torch.equal(model.backbone.state_dict()["conv1.weight"], weights["conv1.weight"])


def unreachable(server, monkeypatch):
    monkeypatch.setattr(
        torchvision.models.ResNet18_Weights.DEFAULT.value,
        "url",
        f"http://127.0.0.1:{support.closed_port()}/resnet18-00000000.pth",
    )


def deleted(server, monkeypatch):
    for file in server.folder.iterdir():
        file.unlink()


def cuts_connection(server, monkeypatch):
    server.cuts = 100


@pytest.mark.parametrize(
    "trouble", [unreachable, deleted, cuts_connection], ids=lambda f: f.__name__
)
def test_a_failed_download_of_weights_gives_instructions(imagenet, monkeypatch, trouble):
    trouble(imagenet[0], monkeypatch)
    with pytest.raises(FaceMTLError, match="--no-pretrained"):
        FaceModel(TASKS, "resnet18", pretrained=True)
