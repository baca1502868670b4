"""The model's shapes and its weights on disk: what is kept, and what is refused."""

import hashlib
import json
import struct
from dataclasses import asdict
from itertools import combinations
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torchvision

from facemtl.errors import FaceMTLError
from facemtl.models import OWN_BACKBONES, Checkpoint, FaceModel
from facemtl.tasks import AGE, GENDER, RACE, TASKS
from tests import support

# By name, the features that it leaves.
BACKBONES = {
    "resnet10": 512,
    "resnet10d": 512,
    "resnet18": 512,
    "resnet18d": 512,
    "regnet_x_400mf": 400,
    "mobilenet_v3_small": 1024,
}
IMAGES = torch.rand(3, 3, 48, 48, generator=torch.Generator().manual_seed(0))

subsets = pytest.mark.parametrize(
    "tasks", [s for n in (1, 2, 3) for s in combinations(TASKS, n)], ids=lambda tasks: "+".join(t.name for t in tasks)
)


def seen_data(model: FaceModel) -> FaceModel:
    """Give batch norms statistics that are not their initial ones, as training does."""
    torch.manual_seed(1)
    with torch.no_grad():
        for _ in range(3):
            model.train()(torch.rand(8, 3, 48, 48))
    return model.eval()


def a_model(tasks=TASKS, seed=0) -> FaceModel:
    torch.manual_seed(seed)
    return seen_data(FaceModel(tasks, "mobilenet_v3_small"))


def a_checkpoint(name="subject", tasks=TASKS, **fields) -> Checkpoint:
    return Checkpoint(name, tuple(t.name for t in tasks), "mobilenet_v3_small", image_size=48, **fields)


# ---------------------------------------------------------------------------------------------- model


@pytest.mark.parametrize(("backbone", "n_features"), BACKBONES.items(), ids=BACKBONES)
def test_every_backbone_carries_our_heads(backbone, n_features):
    model = FaceModel(TASKS, backbone).eval()
    with torch.no_grad():
        outputs = model(IMAGES)
        features = model.backbone(IMAGES)
    assert {name: tuple(out.shape) for name, out in outputs.items()} == {"gender": (3, 2), "race": (3, 5), "age": (3, 117)}
    assert features.shape == (3, n_features)  # what torchvision's last linear layer took in


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_backbone_loses_its_last_linear_layer_and_nothing_else(backbone):
    whole = OWN_BACKBONES[backbone]() if backbone in OWN_BACKBONES else torchvision.models.get_model(backbone)
    last = [name for name, module in whole.named_modules() if isinstance(module, torch.nn.Linear)][-1]
    kept = {name for name in whole.state_dict() if not name.startswith(last + ".")}
    assert set(FaceModel((GENDER,), backbone).backbone.state_dict()) == kept


@pytest.mark.parametrize("size", [64, 72, 75])
@pytest.mark.parametrize("backbone", ["resnet10d", "resnet18d"])
def test_shortcuts_of_resnet_d_see_every_pixel(backbone, size):
    """With all convolutions of the residual branches at zero, a strided shortcut would be blind to three pixels of four."""
    plain, changed = (OWN_BACKBONES[name]().eval() for name in ("resnet10", backbone))
    blind = []
    for model in (plain, changed):
        for block in model.layer2:
            torch.nn.init.zeros_(block.bn2.weight)
        features = torch.rand(1, 64, size, size, requires_grad=True)
        model.layer2(features).sum().backward()
        blind.append((features.grad == 0).all(dim=1).float().mean().item())
    assert blind[0] > 0.7 and blind[1] == 0
    assert plain(IMAGES).shape == changed(IMAGES).shape


@subsets
def test_a_model_answers_its_tasks_and_no_other(tasks):
    model = FaceModel(tasks, "resnet10")
    assert type(model) is FaceModel
    with torch.no_grad():
        outputs = model.eval()(IMAGES)
    assert {name: out.shape[1] for name, out in outputs.items()} == {t.name: t.n_outputs for t in tasks}


def test_a_single_task_model_is_a_multi_task_model_with_one_head():
    multi = a_model()
    for task in TASKS:
        single = FaceModel((task,), "mobilenet_v3_small").eval()
        single.load_state_dict({k: v for k, v in multi.state_dict().items() if k in single.state_dict()})
        with torch.no_grad():
            torch.testing.assert_close(single(IMAGES)[task.name], multi(IMAGES)[task.name])


def test_a_further_task_costs_one_linear_layer():
    one, two = FaceModel((GENDER,), "resnet10"), FaceModel((GENDER, AGE), "resnet10")
    assert two.n_parameters - one.n_parameters == 512 * 117 + 117


@pytest.mark.parametrize(
    ("shallow", "deeper"),
    [("resnet10", "resnet10"), ("resnet10", "resnet18"), ("resnet10", "resnet34"), ("resnet10d", "resnet18d")],
)
def test_a_model_starts_with_the_answers_of_a_trained_one_also_where_it_is_deeper(shallow, deeper):
    trained = seen_data(FaceModel(TASKS, shallow))
    model = FaceModel(TASKS, deeper)
    model.start_from(trained)
    with torch.no_grad():
        expected, found = trained(IMAGES), model.eval()(IMAGES)
    assert all(torch.equal(expected[task.name], found[task.name]) for task in TASKS)


def test_the_blocks_that_a_deeper_model_adds_learn():
    model = FaceModel((GENDER,), "resnet18")
    model.start_from(seen_data(FaceModel((GENDER,), "resnet10")))
    model.train()(IMAGES)["gender"].square().sum().backward()
    assert all(stage[1].bn2.weight.grad.any() for stage in (model.backbone.layer1, model.backbone.layer4))


def test_a_shallower_model_starts_with_the_blocks_that_both_have():
    trained, model = seen_data(FaceModel(TASKS, "resnet18")), FaceModel(TASKS, "resnet10")
    model.start_from(trained)
    known, own = trained.state_dict(), model.state_dict()
    assert own.keys() < known.keys() and all(torch.equal(own[name], known[name]) for name in own)


def test_a_shallower_model_starts_with_the_answers_of_a_deeper_one_that_it_grew_into():
    shallow, deeper, again = seen_data(FaceModel(TASKS, "resnet10")), FaceModel(TASKS, "resnet18"), FaceModel(TASKS, "resnet10")
    deeper.start_from(shallow)
    again.start_from(deeper)
    with torch.no_grad():
        expected, found = shallow(IMAGES), again.eval()(IMAGES)
    assert all(torch.equal(expected[task.name], found[task.name]) for task in TASKS)


def test_a_resnet_d_starts_from_a_plain_resnet_with_a_stem_of_its_own():
    trained, model = seen_data(FaceModel(TASKS, "resnet18")), FaceModel(TASKS, "resnet10d")
    stem = model.backbone.conv1[0].weight.clone()
    model.start_from(trained)
    known, own = trained.state_dict(), model.state_dict()
    assert {name for name in own if name not in known} == {name for name in own if "backbone.conv1." in name}
    assert all(torch.equal(own[name], known[name]) for name in own if name in known)
    assert torch.equal(model.backbone.conv1[0].weight, stem)
    assert model.eval()(IMAGES)["age"].isfinite().all()


def test_a_model_starts_with_the_heads_of_the_tasks_that_both_have():
    trained, model = seen_data(FaceModel((GENDER, AGE), "resnet10")), FaceModel((RACE, AGE), "resnet10")
    own = model.heads["race"][1].weight.clone()
    model.start_from(trained)
    assert torch.equal(model.heads["age"][1].weight, trained.heads["age"][1].weight)
    assert torch.equal(model.heads["race"][1].weight, own)


@pytest.mark.parametrize(
    ("backbone", "of"),
    [("resnet50", "resnet18"), ("resnet10", "resnet50"), ("resnet18", "mobilenet_v3_small"), ("resnet10", "resnet18d")],
)
def test_a_model_does_not_start_from_another_backbone(backbone, of):
    with pytest.raises(FaceMTLError, match="--backbone"):
        FaceModel(TASKS, backbone).start_from(FaceModel(TASKS, of))


def test_images_are_normalised_inside_the_model():
    plain = FaceModel((GENDER,), "resnet10", mean=(0, 0, 0), std=(1, 1, 1)).eval()
    normalising = FaceModel((GENDER,), "resnet10", mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0)).eval()
    normalising.load_state_dict(plain.state_dict())
    by_hand = torch.stack([(IMAGES[:, 0] - 0.1) / 0.5, (IMAGES[:, 1] - 0.2) / 0.25, (IMAGES[:, 2] - 0.3) / 2.0], dim=1)
    with torch.no_grad():
        torch.testing.assert_close(normalising(IMAGES)["gender"], plain(by_hand)["gender"], rtol=1e-4, atol=1e-5)


def test_images_of_one_batch_do_not_influence_each_other():
    model = a_model()
    with torch.no_grad():
        together = model(IMAGES)
        for i in range(len(IMAGES)):
            for name, out in model(IMAGES[i : i + 1]).items():
                torch.testing.assert_close(out[0], together[name][i], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "make", [lambda: FaceModel(()), lambda: FaceModel(TASKS, "resnet1"), lambda: FaceModel(TASKS, "squeezenet1_0")]
)
def test_a_model_that_cannot_be_made_is_one_message(make):
    with pytest.raises(FaceMTLError):
        make()


# ----------------------------------------------------------------------------------------- checkpoint


@subsets
def test_what_is_saved_gives_the_same_outputs_again(tmp_path, tasks):
    model = a_model(tasks)
    a_checkpoint(tasks=tasks).save(tmp_path, model)
    checkpoint, loaded = Checkpoint.load(tmp_path / "subject.json")
    assert not loaded.training and type(loaded) is FaceModel
    with torch.no_grad():
        before, after = model(IMAGES), loaded(IMAGES)
    for task in tasks:
        torch.testing.assert_close(
            task.probabilities(after[task.name]), task.probabilities(before[task.name]), rtol=0.02, atol=2e-3
        )
    assert checkpoint.tasks == tuple(t.name for t in tasks)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_comes_back(tmp_path, backbone):
    model = seen_data(FaceModel((AGE,), backbone))
    Checkpoint("age", ("age",), backbone, image_size=48).save(tmp_path, model)
    _, loaded = Checkpoint.load(tmp_path / "age.json")
    with torch.no_grad():
        torch.testing.assert_close(loaded(IMAGES)["age"], model(IMAGES)["age"], atol=0.05, rtol=0.05)  # float16 on disk


def test_all_that_describes_a_model_comes_back(tmp_path):
    saved = a_checkpoint(
        mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), calibration={"age": {"margin": 1.5}, "race": {"temperature": 1.2}},
        training={"lr": 0.002, "stages": [[64, 3]], "images": 17_000}, metrics={"age_mae": 4.9},
    )  # fmt: skip
    saved.save(tmp_path, model := a_model())
    loaded, its_model = Checkpoint.load(tmp_path / "subject.json")
    assert json.loads(json.dumps(asdict(loaded))) == json.loads(json.dumps(asdict(saved)))
    assert (its_model.mean, its_model.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert model.n_parameters == its_model.n_parameters


def test_weights_are_float16_safetensors(tmp_path):
    a_checkpoint().save(tmp_path, model := a_model())
    assert sorted(f.name for f in tmp_path.iterdir()) == ["subject.json", "subject.safetensors"]  # and nothing half written
    content = (tmp_path / "subject.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])  # the format: the header's length, the header as JSON, the numbers
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)
    assert set(header) == set(model.state_dict())
    assert {entry["dtype"] for name, entry in header.items() if "num_batches_tracked" not in name} == {"F16"}
    assert len(content) < 2.1 * model.n_parameters + 100_000
    assert Checkpoint.load(tmp_path / "subject.json")[0].sha256 == hashlib.sha256(content).hexdigest()


def test_saving_does_not_change_the_model(tmp_path):
    model = a_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    a_checkpoint().save(tmp_path, model)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_what_float16_cannot_hold_stays_finite(tmp_path):
    model = a_model()
    variance = next(value for name, value in model.state_dict().items() if name.endswith("running_var"))
    variance[0] = 1e6
    a_checkpoint().save(tmp_path, model)
    _, loaded = Checkpoint.load(tmp_path / "subject.json")
    assert all(torch.isfinite(value).all() for value in loaded.state_dict().values())


def test_a_changed_description_keeps_the_weights(tmp_path):
    a_checkpoint().save(tmp_path, a_model())
    weights = (tmp_path / "subject.safetensors").read_bytes()
    checkpoint, _ = Checkpoint.load(tmp_path / "subject.json")
    checkpoint.metrics["age_mae"] = 4.5
    checkpoint.save_description(tmp_path)
    assert Checkpoint.load(tmp_path / "subject.json")[0].metrics == {"age_mae": 4.5}
    assert (tmp_path / "subject.safetensors").read_bytes() == weights


# ------------------------------------------------------------------------------------- damaged models


def describe(folder: Path, **changes) -> None:
    """Change fields of the description; a value of ... removes one."""
    fields = json.loads((folder / "subject.json").read_text()) | changes
    (folder / "subject.json").write_text(json.dumps({k: v for k, v in fields.items() if v is not ...}))


def cut(file: Path, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def swap(folder: Path) -> None:
    a_checkpoint("other").save(folder, a_model(seed=9))
    (folder / "other.safetensors").replace(folder / "subject.safetensors")


def other_heads(folder: Path) -> None:
    """Weights with a right checksum that do not fit the described model."""
    content = safetensors.torch.save({k: v.contiguous() for k, v in a_model((RACE,)).state_dict().items()})
    (folder / "subject.safetensors").write_bytes(content)
    describe(folder, sha256=hashlib.sha256(content).hexdigest())


def no_tensors(folder: Path) -> None:
    (folder / "subject.safetensors").write_bytes(b"not tensors")
    describe(folder, sha256=hashlib.sha256(b"not tensors").hexdigest())


DAMAGES = {
    "weights cut": lambda f: cut(f / "subject.safetensors", 0.7),
    "weights empty": lambda f: cut(f / "subject.safetensors", 0),
    "weights flipped": lambda f: flip(f / "subject.safetensors"),
    "weights missing": lambda f: (f / "subject.safetensors").unlink(),
    "weights swapped": swap,
    "weights of other heads": other_heads,
    "weights are no tensors": no_tensors,
    "description missing": lambda f: (f / "subject.json").unlink(),
    "description cut": lambda f: cut(f / "subject.json", 0.5),
    "description not JSON": lambda f: (f / "subject.json").write_bytes(b"\xff\xfe\x00"),
    "description a list": lambda f: (f / "subject.json").write_text("[1, 2]"),
    "field missing": lambda f: describe(f, backbone=...),
    "tasks missing": lambda f: describe(f, tasks=...),
    "checksum missing": lambda f: describe(f, sha256=...),
    "field unknown": lambda f: describe(f, colour="blue"),
    "task unknown": lambda f: describe(f, tasks=["gender", "glasses"]),
    "no tasks": lambda f: describe(f, tasks=[]),
    "backbone unknown": lambda f: describe(f, backbone="resnet1"),
    "backbone a number": lambda f: describe(f, backbone=18),
    "mean not numbers": lambda f: describe(f, mean=["a", "b", "c"]),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_model_is_refused_by_its_name(tmp_path, damage):
    a_checkpoint().save(tmp_path, a_model())
    damage(tmp_path)
    with pytest.raises(FaceMTLError, match=r"subject\.(json|safetensors)") as error:
        Checkpoint.load(tmp_path / "subject.json")
    assert "\n" not in str(error.value)


def test_a_pickle_is_never_opened(tmp_path):
    """The checksum is right and the content is what torch.save writes: it is refused all the same."""
    a_checkpoint().save(tmp_path, model := a_model())
    torch.save(model.state_dict(), tmp_path / "subject.safetensors")
    describe(tmp_path, sha256=hashlib.sha256((tmp_path / "subject.safetensors").read_bytes()).hexdigest())
    with pytest.raises(FaceMTLError, match=r"subject\.safetensors"):
        Checkpoint.load(tmp_path / "subject.json")


# ----------------------------------------------------------------------------------- ImageNet weights


@pytest.fixture
def imagenet(loopback, monkeypatch, tmp_path):
    """A server with weights for resnet18, where torchvision will look for them. Gives server and weights."""
    torch.manual_seed(7)
    weights = torchvision.models.resnet18().state_dict()
    torch.save(weights, file := loopback.folder / "weights")
    name = f"resnet18-{hashlib.sha256(file.read_bytes()).hexdigest()[:8]}.pth"  # torchvision checks the name's hash
    file.rename(loopback.folder / name)
    monkeypatch.setattr(torchvision.models.ResNet18_Weights.DEFAULT.value, "url", f"{loopback.url}/{name}")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return loopback, weights


def test_pretrained_weights_are_fetched_and_used(imagenet):
    server, weights = imagenet
    backbone = FaceModel(TASKS, "resnet18", pretrained=True).backbone.state_dict()
    assert [method for method, *_ in server.requests] == ["GET"]
    assert len(backbone) == len(weights) - 2  # all but the last layer's weight and bias
    for name, value in backbone.items():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=0)


def test_nothing_is_fetched_where_no_pretrained_weights_are_asked_for(imagenet):
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


def gone(server, monkeypatch):
    for file in server.folder.iterdir():
        file.unlink()


def breaks_off(server, monkeypatch):
    server.cuts = 100


@pytest.mark.parametrize("trouble", [unreachable, gone, breaks_off], ids=lambda f: f.__name__)
def test_without_the_weights_it_says_how_to_go_on(imagenet, monkeypatch, trouble):
    trouble(imagenet[0], monkeypatch)
    with pytest.raises(FaceMTLError, match="--no-pretrained"):
        FaceModel(TASKS, "resnet18", pretrained=True)


@pytest.mark.parametrize("backbone", OWN_BACKBONES)
def test_our_own_backbones_have_no_pretrained_weights_and_say_so(backbone):
    with pytest.raises(FaceMTLError, match="--no-pretrained"):
        FaceModel(TASKS, backbone, pretrained=True)
