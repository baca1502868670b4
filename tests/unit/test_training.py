"""Training: what the model is shown, and that an interrupted run ends as if it never was."""

import json
import shutil
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.callback.core import Callback, CancelFitException

from facemtl import training
from facemtl.augmentation import Augmentation
from facemtl.cli import main
from facemtl.data import CALIBRATION, TRAIN, VALIDATION, decode_images, read_folder
from facemtl.errors import FaceMTLError
from facemtl.losses import FixedScales
from facemtl.models import OWN_BACKBONES, Checkpoint, FaceModel
from facemtl.tasks import TASKS, task_named
from facemtl.training import TrainConfig, find_learning_rate, train
from facemtl.training.callbacks import Glance, KeepProgress, RunningMean, SharpnessAware, Teach
from facemtl.training.loader import FaceLoader
from tests import support

STILL = Augmentation(rotation=0, scale=0, shift=0, light=0, gray=0, erase=0)
TINY = TrainConfig(backbone="small", pretrained=False, stages=((32, 2),), batch_size=32, seed=5)
# The same for the command line, with two image sizes, time enough to be interrupted, and all that a resumed run must restore.
ARGUMENTS = [
    *("--backbone", "resnet10", "--no-pretrained", "--stages", "32x4", "40x2", "--batch-size", "32", "--lr", "0.004"),
    *("--seed", "5", "--ema", "0.9", "--mixup", "0.2", "--weighting", "uncertainty"),
    *("--erase", "0.3", "--blur", "0.2", "--tint", "0.1"),
]
MODEL = "multitask"


@pytest.fixture(scope="module", autouse=True)
def small_backbone():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(OWN_BACKBONES, "small", support.small_backbone)
        yield


@pytest.fixture(autouse=True)
def no_autocast_is_left():
    """A training that fails must not leave autocast on: what follows in the process would compute with old weights."""
    yield
    left_on = torch.is_autocast_enabled("cpu")
    if left_on:  # so that the other tests do not suffer
        torch.set_autocast_enabled("cpu", False)
        torch.autocast_decrement_nesting()
        torch.clear_autocast_cache()
    assert not left_on


@pytest.fixture(scope="module")
def images(synthetic_faces) -> pd.DataFrame:
    return read_folder(synthetic_faces)[0]


@pytest.fixture(scope="module")
def uninterrupted(synthetic_faces, tmp_path_factory) -> Path:
    """The output of a whole training."""
    output = tmp_path_factory.mktemp("uninterrupted")
    assert main(["train", "--data", str(synthetic_faces), "--output", str(output), *ARGUMENTS]) == 0
    return output


@pytest.fixture(scope="module")
def killed(synthetic_faces, tmp_path_factory) -> Path:
    """The output of the same training, as a killed process left it after its first epochs. Copy it."""
    output = tmp_path_factory.mktemp("killed")
    threads = str(torch.get_num_threads())  # sums depend on it
    process = support.facemtl(
        "train", "--data", synthetic_faces, "--output", output, *ARGUMENTS, cwd=output, OMP_NUM_THREADS=threads
    )
    support.kill_once(process, (output / f"{MODEL}.resume.pt").exists)
    assert process.returncode != 0
    return output


@pytest.fixture
def left_over(killed, tmp_path) -> Path:
    return shutil.copytree(killed, tmp_path / "runs")


def resume(output: Path, data: Path, *more: str) -> int:
    return main(["train", "--data", str(data), "--output", str(output), *ARGUMENTS, *more, "--resume"])


def history(output: Path) -> pd.DataFrame:
    return pd.read_csv(output / f"{MODEL}.history.csv")


def weights(output: Path) -> dict[str, torch.Tensor]:
    return Checkpoint.load(output / f"{MODEL}.json")[1].state_dict()


# ------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tasks", ()), ("tasks", ("gender", "gender")), ("tasks", ("glasses",)),
        ("stages", ()), ("stages", ((64, 0),)), ("stages", ((64, -1),)), ("stages", ((31, 2),)),
        ("batch_size", 1), ("batch_size", 0), ("batch_size", 10**6),
        ("lr", 0.0), ("lr", -0.001), ("lr", 2.0), ("lr", float("nan")), ("warmup", 0.0), ("warmup", 1.0),
        ("weight_decay", -0.1), ("weight_decay", float("nan")),
        ("dropout", -0.1), ("dropout", 1.0),
        ("grad_clip", 0.0), ("grad_clip", -1.0),
        ("mixup", -0.1), ("label_smoothing", 1.0), ("sigma", 0.0), ("ema", 1.0), ("sam", -0.1), ("weighting", "fair"),
        ("seed", -1),
    ],
)  # fmt: skip
def test_contradictory_settings_are_refused_at_birth(field, value):
    with pytest.raises(FaceMTLError, match=field if value != ("glasses",) else "glasses"):
        TrainConfig(**{field: value})


def test_a_model_is_named_after_its_tasks():
    names = {("age",): "age", ("gender", "age"): "gender+age", ("gender", "race", "age"): "multitask"}
    for tasks, name in names.items():
        assert TrainConfig(tasks=tasks).name == name


def test_settings_survive_being_stored():
    config = replace(TINY, tasks=("race", "age"), teachers=("a.json",), augmentation=Augmentation(erase=0.2), warmup=0.1)
    assert TrainConfig.of_plain(json.loads(json.dumps(config.plain()))) == config
    older = {name: value for name, value in config.plain().items() if name != "warmup"}
    assert TrainConfig.of_plain(older) == replace(config, warmup=TrainConfig().warmup)


def test_the_stages_give_each_epoch_its_size():
    assert TrainConfig(stages=((64, 2), (96, 1), (112, 3))).sizes == [64, 64, 96, 112, 112, 112]


@pytest.mark.parametrize(
    "arguments",
    [["--stages", "64"], ["--stages", "ax2"], ["--tasks", "glasses"], ["--batch-size", "many"]],
    ids=" ".join,
)
def test_arguments_that_make_no_sense_are_refused_with_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as status:
        main(["train", *arguments])
    assert status.value.code == 2 and "usage" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--batch-size", "1"], ["--batch-size", "4000"], ["--lr", "5"], ["--stages", "16x1"], ["--backbone", "resnet1"],
        ["--device", "abacus"], ["--seed", "-1"],
        pytest.param(["--device", "cuda"], marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")),
    ],
    ids=" ".join,
)  # fmt: skip
def test_settings_that_cannot_work_are_one_line(arguments, synthetic_faces, tmp_path, capsys):
    assert (
        main(["train", "--data", str(synthetic_faces), "--output", str(tmp_path / "runs"), "--no-pretrained", *arguments]) == 1
    )
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("facemtl: ")]
    assert len(lines) == 1


# ------------------------------------------------------------------------------------------- batches


def loader(n=50, batch_size=8, seed=3, chosen=None) -> FaceLoader:
    """Images whose first pixel is their row, so that a batch tells where it comes from."""
    pixels = torch.arange(n, dtype=torch.uint8)[:, None, None, None].repeat(1, 6, 6, 3)
    indices = np.arange(n) if chosen is None else np.asarray(chosen)
    return FaceLoader(pixels, {"row": torch.arange(n), "twice": torch.arange(n) * 2}, indices, batch_size, seed=seed)


def order(batches: FaceLoader, epoch: int = 0) -> list[int]:
    batches.epoch = epoch
    return [int(row) for _, targets in batches for row in targets["row"]]


def test_images_and_targets_of_a_batch_belong_together():
    for images, targets in loader():
        assert images.shape == (8, 3, 6, 6) and images.dtype == torch.uint8
        np.testing.assert_array_equal(images[:, 0, 0, 0], targets["row"])
        np.testing.assert_array_equal(targets["twice"], 2 * targets["row"])


def test_an_epoch_shows_each_training_image_at_most_once():
    chosen = range(5, 45)
    found = order(loader(chosen=chosen, batch_size=7))
    assert len(found) == len(set(found)) == 35  # 5 batches of 7; the rest waits for the next shuffle
    assert set(found) <= set(chosen)


def test_validation_shows_every_image_once_and_in_order():
    assert order(loader(seed=None, chosen=range(4, 25))) == list(range(4, 25))


def test_the_order_follows_from_seed_and_epoch_alone():
    first = order(loader(seed=3), epoch=2)
    np.random.seed(99)
    torch.manual_seed(99)
    again = loader(seed=3)
    order(again, epoch=0), order(again, epoch=1)
    assert order(again, epoch=2) == first
    assert order(loader(seed=3), epoch=3) != first and order(loader(seed=4), epoch=2) != first
    assert sorted(first) != first


# ------------------------------------------------------------------------------------------- training


def loss_of(model: FaceModel, images: pd.DataFrame, size: int, split: str) -> float:
    chosen = images[images["split"] == split]
    batch = torch.from_numpy(decode_images(chosen["file"], size)).permute(0, 3, 1, 2).float() / 255
    targets = {task.name: torch.tensor(chosen[task.column].to_numpy()) for task in model.tasks}
    with torch.no_grad():
        return float(FixedScales(model.tasks)(model.eval()(batch), targets))


def test_training_learns(uninterrupted, images):
    _, model = Checkpoint.load(uninterrupted / f"{MODEL}.json")
    torch.manual_seed(5)
    fresh = FaceModel(TASKS, "resnet10")
    for split in (TRAIN, VALIDATION):
        assert loss_of(model, images, 40, split) < 0.8 * loss_of(fresh, images, 40, split)
    losses = history(uninterrupted)["train_loss"]
    assert losses.iloc[-1] < losses.iloc[0]


def test_training_never_looks_at_what_is_reported_on(images, tmp_path):
    """Other labels on validation images change neither weights nor history; those on calibration images change the history."""
    short = replace(TINY, stages=((32, 1),))
    found = {}
    for split in ("none", VALIDATION, CALIBRATION):
        labels = images.copy()
        labels.loc[labels["split"] == split, ["age", "gender", "race"]] = [1, 1, 1]
        train(short, labels, tmp_path / split, progress=False)
        rows = pd.read_csv(tmp_path / split / f"{MODEL}.history.csv").drop(columns="seconds")
        found[split] = Checkpoint.load(tmp_path / split / f"{MODEL}.json")[0].sha256, rows
    (weights_, rows), (weights_v, rows_v), (weights_c, rows_c) = found.values()
    assert weights_ == weights_v == weights_c
    assert rows.equals(rows_v) and not rows.equals(rows_c)


def test_training_leaves_checkpoint_and_history_and_nothing_else(uninterrupted, images):
    assert {f.name for f in uninterrupted.iterdir()} == {f"{MODEL}.{end}" for end in ("json", "safetensors", "history.csv")}
    checkpoint, model = Checkpoint.load(uninterrupted / f"{MODEL}.json")
    assert (checkpoint.name, checkpoint.backbone, checkpoint.image_size) == (MODEL, "resnet10", 40)
    assert checkpoint.tasks == tuple(task.name for task in TASKS)
    assert checkpoint.training["seed"] == 5 and checkpoint.training["lr"] == 0.004
    assert checkpoint.training["images"] == (images["split"] == TRAIN).sum()
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    rows = history(uninterrupted)
    assert list(rows["epoch"]) == list(range(1, 7)) and list(rows["size"]) == [32] * 4 + [40] * 2
    measured = [f"{task.name}_{task.metric.name}" for task in TASKS]
    assert {"train_loss", "valid_loss", "seconds", *measured} <= set(rows.columns)
    assert np.isfinite(rows.to_numpy(float)).all()


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_every_single_task_model_comes_from_the_same_recipe(task, images, tmp_path):
    config = replace(TINY, tasks=(task.name,), stages=((32, 1),))
    checkpoint = train(config, images, tmp_path, progress=False)
    loaded, model = Checkpoint.load(tmp_path / f"{task.name}.json")
    assert checkpoint.name == loaded.name == task.name and model.tasks == (task,)
    assert loaded.training["stages"] == [[32, 1]] and loaded.training["dropout"] == TINY.dropout


def test_too_few_images_are_one_message(images, tmp_path):
    with pytest.raises(FaceMTLError, match="batch"):
        train(TINY, images.head(20), tmp_path, progress=False)


def test_without_calibration_images_it_is_one_message(images, tmp_path):
    with pytest.raises(FaceMTLError, match="no calibration images"):
        train(TINY, images[images["split"] == TRAIN], tmp_path, progress=False)


def test_an_error_in_the_model_does_no_harm_to_the_next_training(images, tmp_path, monkeypatch):
    config = replace(TINY, tasks=("age",), stages=((32, 1),))

    def breaks(*_):
        raise ValueError("broken")

    with monkeypatch.context() as patch, pytest.raises(ValueError, match="broken"):
        patch.setattr(torch.nn.Dropout, "forward", lambda self, x: breaks() if self.training else x)
        train(config, images, tmp_path, progress=False)
    train(config, images, tmp_path, progress=False)
    assert (tmp_path / "age.safetensors").is_file()


def test_a_backbone_that_takes_only_one_size_is_refused_before_the_training(images, tmp_path):
    with pytest.raises(FaceMTLError, match="vit_b_16 cannot take images of 32 px"):
        train(replace(TINY, backbone="vit_b_16"), images, tmp_path, progress=False)


def test_the_finder_suggests_a_rate_that_can_be_used(images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rate = find_learning_rate(TINY, images)
    assert 0 < rate < 1
    assert replace(TINY, lr=rate).lr == rate
    assert list(tmp_path.iterdir()) == []  # it leaves nothing where it was started


# ----------------------------------------------------------------------------------- interrupted, resumed


@pytest.fixture(scope="module")
def resumed(killed, synthetic_faces, tmp_path_factory) -> Path:
    """The output of the killed training, after a second process finished it."""
    output = shutil.copytree(killed, tmp_path_factory.mktemp("resumed") / "runs")
    assert 1 <= len(history(output)) < 6 and not (output / f"{MODEL}.json").exists()  # it was stopped midway
    # What was set is known, and need not be said again.
    assert main(["train", "--data", str(synthetic_faces), "--output", str(output), "--resume"]) == 0
    return output


def test_a_killed_training_resumes_to_the_same_weights(resumed, uninterrupted):
    straight = weights(uninterrupted)
    for name, value in weights(resumed).items():
        torch.testing.assert_close(value, straight[name], rtol=1e-3, atol=1e-4)
    assert {f.name for f in resumed.iterdir()} == {f.name for f in uninterrupted.iterdir()}


def test_a_killed_training_resumes_to_the_same_history(resumed, uninterrupted):
    expected, found = history(uninterrupted), history(resumed)
    assert list(found.columns) == list(expected.columns) and len(found) == len(expected)
    for column in expected.columns.drop("seconds"):
        np.testing.assert_allclose(found[column], expected[column], rtol=2e-4, err_msg=column)


def test_another_seed_would_have_ended_elsewhere(images, tmp_path):
    """So the comparison above can fail."""
    for seed in (5, 6):
        train(replace(TINY, stages=((32, 1),), seed=seed), images, tmp_path / str(seed), progress=False)
    one, other = (weights(tmp_path / str(seed)) for seed in (5, 6))
    assert all((one[key] - other[key]).abs().max() > 1e-3 for key in one if key.endswith("weight"))


@pytest.mark.parametrize(
    ("setting", "arguments"),
    {
        "lr": ["--lr", "0.001"], "seed": ["--seed", "6"], "stages": ["--stages", "40x6"], "batch_size": ["--batch-size", "16"],
        "backbone": ["--backbone", "resnet18"], "dropout": ["--dropout", "0.5"],
        "mixup": ["--mixup", "0.5"], "ema": ["--ema", "0.5"], "weighting": ["--weighting", "equal"],
        "weight_decay": ["--weight-decay", "0.1"],
    }.items(),
    ids=lambda v: v if isinstance(v, str) else "",
)  # fmt: skip
def test_resuming_with_other_settings_is_refused_by_their_name(left_over, synthetic_faces, capsys, setting, arguments):
    before = support.contents(left_over)
    assert resume(left_over, synthetic_faces, *arguments) == 1
    assert f"({setting})" in capsys.readouterr().err.splitlines()[-1]
    assert support.contents(left_over) == before


def test_the_stages_ahead_and_the_augmentation_may_be_changed_and_it_is_noted(left_over, synthetic_faces):
    done = len(torch.load(left_over / f"{MODEL}.resume.pt", weights_only=True)["rows"])
    assert 0 < done < 5
    assert resume(left_over, synthetic_faces, "--stages", "32x4", "40x1", "--erase", "0.5") == 0
    assert list(pd.read_csv(left_over / f"{MODEL}.history.csv")["size"]) == [32] * 4 + [40]
    checkpoint, _ = Checkpoint.load(left_over / f"{MODEL}.json")
    assert checkpoint.training["augmentation"]["erase"] == 0.5
    (earlier,) = checkpoint.training["earlier"]
    assert (earlier["epochs"], earlier["stages"], earlier["augmentation"]["erase"]) == (done, [[32, 4], [40, 2]], 0.3)
    assert earlier.keys() == {"epochs", "stages", "augmentation"}


def test_a_training_starts_from_a_trained_model_and_says_which(uninterrupted, images, tmp_path):
    start = uninterrupted / f"{MODEL}.json"
    first, _ = Checkpoint.load(start)
    config = replace(TINY, start=str(start), backbone="resnet18", stages=((40, 1),), lr=1e-6)  # too small to learn or forget
    checkpoint = train(config, images, tmp_path, keep_progress=True, progress=False)
    assert checkpoint.training["started_from"]["sha256"] == first.sha256
    assert checkpoint.training["started_from"]["stages"] == first.training["stages"]
    assert checkpoint.training["seconds"] >= first.training["seconds"]
    assert list(history(tmp_path)["epoch"]) == list(range(1, 8)) and list(history(tmp_path)["size"]) == [32] * 4 + [40] * 3
    before, after = weights(uninterrupted), weights(tmp_path)
    assert all(torch.allclose(before[name], after[name], atol=1e-3) for name in before if name.endswith("weight"))

    start.rename(hidden := start.with_name("elsewhere"))  # what is resumed needs no start any more
    try:
        longer = train(replace(config, stages=((40, 2),)), images, tmp_path, resume=True, progress=False)
    finally:
        hidden.rename(start)
    assert len(history(tmp_path)) == 8 and longer.training["started_from"] == checkpoint.training["started_from"]


def test_a_start_that_is_no_model_is_refused(images, tmp_path):
    with pytest.raises(FaceMTLError, match="no description"):
        train(replace(TINY, start=str(tmp_path / "none.json")), images, tmp_path / "runs", progress=False)


def test_a_finished_training_can_be_made_longer(images, tmp_path):
    config = replace(TINY, stages=((32, 1),))
    short = train(config, images, tmp_path, keep_progress=True, progress=False)
    assert (tmp_path / f"{MODEL}.resume.pt").exists()
    longer = train(replace(config, stages=((32, 3),)), images, tmp_path, resume=True, progress=False)
    assert list(history(tmp_path)["epoch"]) == [1, 2, 3] and longer.sha256 != short.sha256
    assert longer.training["earlier"] == [{"epochs": 1, "stages": [[32, 1]]}]
    assert not (tmp_path / f"{MODEL}.resume.pt").exists()


def test_an_older_file_is_resumed_with_the_defaults_of_younger_settings(left_over, synthetic_faces, capsys):
    file = left_over / f"{MODEL}.resume.pt"
    state = torch.load(file, weights_only=True)
    del state["config"]["sigma"]
    torch.save(state, file)
    assert resume(left_over, synthetic_faces, "--sigma", "4") == 1
    assert "(sigma)" in capsys.readouterr().err
    assert resume(left_over, synthetic_faces) == 0


def test_a_resumed_training_fetches_no_weights_that_it_would_overwrite(images, tmp_path, monkeypatch):
    asked = []

    class Asked(Exception):
        pass

    def spy(*arguments, pretrained, **settings):
        asked.append(pretrained)
        raise Asked

    monkeypatch.setattr("facemtl.training.FaceModel", spy)
    for resume in (False, True):
        with pytest.raises(Asked):
            train(replace(TINY, pretrained=True), images, tmp_path, resume=resume, progress=False)
    assert asked == [True, False]


def test_there_may_be_nothing_to_resume(synthetic_faces, tmp_path, capsys):
    assert resume(tmp_path / "runs", synthetic_faces) == 1
    assert "nothing to resume" in capsys.readouterr().err.splitlines()[-1]


def write(content: bytes):
    return lambda file: file.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        write(b""),
        write(b"garbage"),
        lambda file: file.write_bytes(file.read_bytes()[:-5000]),
        lambda file: torch.save({}, file),
        lambda file: torch.save([1, 2], file),
        lambda file: torch.save(torch.load(file) | {"optimizer": {}}, file),
        lambda file: torch.save(torch.load(file) | {"model": {}}, file),
    ],
    ids=["empty", "garbage", "cut", "no settings", "a list", "no optimizer", "no weights"],
)
def test_a_damaged_resume_file_is_refused_by_its_name(left_over, synthetic_faces, capsys, damage):
    file = left_over / f"{MODEL}.resume.pt"
    damage(file)
    assert resume(left_over, synthetic_faces) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("facemtl: ") and file.name in last


class Harmful:
    def __reduce__(self):
        return (Path.touch, (Path("harm-was-done"),))


def test_a_resume_file_is_not_executed(left_over, synthetic_faces, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = left_over / f"{MODEL}.resume.pt"
    torch.save(torch.load(file) | {"rows": Harmful()}, file)
    assert resume(left_over, synthetic_faces) == 1
    assert not (tmp_path / "harm-was-done").exists()


def test_a_training_stopped_after_its_last_epoch_resumes_too(images, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    config = replace(TINY, stages=((32, 1),))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoint, "save", interrupted)
        train(config, images, tmp_path / "stopped", progress=False)
    train(config, images, tmp_path / "stopped", progress=False, resume=True)
    train(config, images, tmp_path / "straight", progress=False)
    for name, value in weights(tmp_path / "stopped").items():
        torch.testing.assert_close(value, weights(tmp_path / "straight")[name], rtol=1e-3, atol=1e-4)
    assert len(history(tmp_path / "stopped")) == 1


def test_an_interrupted_training_is_not_overwritten_by_a_new_one(left_over, synthetic_faces, capsys):
    arguments = ["--data", str(synthetic_faces), "--output", str(left_over), *ARGUMENTS, "--stages", "32x1"]
    before = support.contents(left_over)
    assert main(["train", *arguments]) == 1
    assert "--resume, or delete it" in capsys.readouterr().err.splitlines()[-1]
    assert support.contents(left_over) == before
    (left_over / f"{MODEL}.resume.pt").unlink()
    assert main(["train", *arguments]) == 0
    assert len(history(left_over)) == 1 and not (left_over / f"{MODEL}.resume.pt").exists()


# ----------------------------------------------------------------------------------------- real images


def test_training_on_real_images_learns_and_survives_an_interruption(utkface_images, tmp_path, monkeypatch):
    parts = ((TRAIN, 480), (CALIBRATION, 160))
    few = pd.concat([utkface_images[utkface_images["split"] == split].head(n) for split, n in parts], ignore_index=True)
    config = replace(TINY, backbone="resnet10", stages=((32, 3), (48, 3)), lr=3e-3, seed=1)
    calls = []

    def stops_before_the_third(keeper):
        calls.append(keeper)
        if len(calls) == 3:
            raise KeyboardInterrupt
        keeper.started = time.perf_counter()

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(KeepProgress, "before_epoch", stops_before_the_third)
        train(config, few, tmp_path, cache=tmp_path / "cache", progress=False)
    assert len(torch.load(tmp_path / f"{MODEL}.resume.pt", weights_only=True)["rows"]) == 2
    train(config, few, tmp_path, cache=tmp_path / "cache", resume=True, progress=False)
    rows = history(tmp_path)
    assert list(rows["epoch"]) == [1, 2, 3, 4, 5, 6]
    assert rows["train_loss"].iloc[-1] < 0.97 * rows["train_loss"].iloc[0]
    assert rows["valid_loss"].iloc[-1] < 0.98 * rows["valid_loss"].iloc[0]


# ------------------------------------------------------------------------------- what the recipe may add


def test_the_running_mean_is_what_is_kept(images, tmp_path):
    """Of weights that went 1, 2, 3 with a decay of a half at most: the early steps count less than they would."""
    model = torch.nn.Linear(1, 1, bias=False)
    mean = RunningMean(0.5)
    mean.learn = SimpleNamespace(model=model)

    def put(value: float) -> None:
        with torch.no_grad():
            model.weight.fill_(value)

    put(0)
    mean.before_fit()
    expected = 0.0
    for step, value in enumerate((1.0, 2.0, 3.0), start=1):
        put(value)
        mean.after_step()
        decay = min(0.5, step / (step + 10))
        expected = decay * expected + (1 - decay) * value
    mean.before_validate()
    assert model.weight.item() == pytest.approx(expected)
    mean.after_validate()
    assert model.weight.item() == 3
    mean.after_fit()
    assert model.weight.item() == pytest.approx(expected) and expected < 3


def test_without_a_decay_nothing_is_averaged():
    assert not RunningMean(0.0).run and RunningMean(0.9).run


@pytest.mark.parametrize(
    "change", [{"ema": 0.9}, {"sam": 0.1}, {"mixup": 0.4}, {"label_smoothing": 0.3}, {"sigma": 6.0}, {"weighting": "equal"}]
)
def test_each_setting_changes_what_is_learned(change, images, tmp_path):
    for name, config in (("plain", TINY), ("changed", replace(TINY, **change))):
        train(replace(config, stages=((32, 1),)), images, tmp_path / name, progress=False)
    plain, changed = (weights(tmp_path / name) for name in ("plain", "changed"))
    assert any((plain[key] - changed[key]).abs().max() > 1e-3 for key in plain)
    assert all(torch.isfinite(value).all() for value in changed.values())


def test_sharpness_aware_steps_see_the_gradient_uphill_and_leave_all_else(images):
    """By hand: the gradient at w + 0.5 g / |g|, where g is the one at w; the weights and running statistics are those of w."""
    config = replace(TINY, sam=0.5, dropout=0.0, augmentation=STILL)
    seen = {}

    class Look(Callback):
        order = SharpnessAware.order + 1

        def before_step(self):
            seen.update(grads=[p.grad.clone() for p in self.model.parameters()], state=deepcopy(self.model.state_dict()))
            seen.update(xb=self.xb, yb=self.yb)
            raise CancelFitException

    learner = training._learner(config, images, None, torch.device("cpu"))
    model, before = learner.model, deepcopy(learner.model.state_dict())
    with learner.no_bar(), learner.no_logging():
        learner.fit(1, 1e-3, cbs=Look())
    model.train().load_state_dict(before)

    def gradient() -> list[torch.Tensor]:
        model.zero_grad()
        outputs = {name: values.float() for name, values in model(*seen["xb"]).items()}
        learner.loss_func(outputs, *seen["yb"]).backward()
        return [p.grad.clone() for p in model.parameters()]

    here = gradient()
    statistics = {key: value.clone() for key, value in model.state_dict().items() if "running" in key}
    length = torch.stack([g.norm() for g in here]).norm()
    with torch.no_grad():
        for parameter, g in zip(model.parameters(), here, strict=True):
            parameter += 0.5 * g / length
    there = gradient()
    flat, plain, found = (torch.cat([g.flatten() for g in each]) for each in (there, here, seen["grads"]))
    torch.testing.assert_close(found, flat, rtol=1e-2, atol=1e-3 * float(flat.abs().max()))
    assert (plain - flat).norm() > 0.1 * flat.norm()  # so the comparison above can fail
    for key in (key for key in before if "num_batches" not in key):
        torch.testing.assert_close(seen["state"][key], statistics.get(key, before[key]), rtol=1e-4, atol=1e-6)


def test_learned_weights_of_losses_are_learned_and_not_decayed(synthetic_faces, images):
    config = replace(TINY, weighting="uncertainty", weight_decay=1.0, lr=1e-2)
    learner = training._learner(config, images, None, torch.device("cpu"))
    with learner.no_bar(), learner.no_logging():
        learner.fit(1, 1e-2, wd=1.0)
    (parameter,) = learner.loss_func.parameters()
    assert (parameter != 0).all()
    assert learner.opt.state[parameter]["do_wd"] is False


# ------------------------------------------------------------------------------------------- teachers

SHORT = replace(TINY, stages=((32, 1),))


@pytest.fixture(scope="module")
def teacher(images, tmp_path_factory) -> str:
    """The description of a model that answers age and gender."""
    folder = tmp_path_factory.mktemp("teacher")
    train(replace(SHORT, tasks=("gender", "age"), seed=7), images, folder, progress=False)
    return str(folder / "gender+age.json")


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_who_learns_from_teachers_alone_never_looks_at_labels(teacher, images, tmp_path, mixup):
    config = replace(SHORT, tasks=("age",), teachers=(teacher,), teacher_weight=1.0, mixup=mixup)
    for name, labels in (("right", images), ("wrong", images.assign(age=100 - images["age"]))):
        train(config, labels, tmp_path / name, progress=False)
    right, wrong = (Checkpoint.load(tmp_path / name / "age.json")[0] for name in ("right", "wrong"))
    assert right.sha256 == wrong.sha256
    assert right.training["teachers"] == [teacher]


def test_teachers_without_weight_change_nothing(teacher, images, tmp_path):
    for name, change in (("plain", {}), ("taught", {"teachers": (teacher,), "teacher_weight": 0.0})):
        train(replace(SHORT, **change), images, tmp_path / name, progress=False)
    plain, taught = (weights(tmp_path / name) for name in ("plain", "taught"))
    for key in plain:
        torch.testing.assert_close(plain[key], taught[key], atol=1e-4, rtol=1e-3)


def test_the_mean_of_several_teachers_is_taught(teacher, images):
    """Each is asked at its own size, of the batch as the model sees it."""
    _, model = Checkpoint.load(Path(teacher))
    seen = []
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
    callback = Teach([(model, 32), (model, 48)], (task_named("race"), task_named("age")), 0.5)
    batch, targets = torch.rand(4, 3, 32, 32), {"age": torch.zeros(4)}
    callback.learn = SimpleNamespace(xb=(batch,), yb=(targets,), training=True)
    callback.before_batch()
    assert seen == [(4, 3, 32, 32), (4, 3, 48, 48)]
    found, others, share, taught, weight = callback.learn.yb
    assert (found, others, share, weight) == (targets, None, 1.0, 0.5)
    assert set(taught) == {"age"}, "no teacher answers race"
    with torch.no_grad():
        both = [model(batch)["age"], model(torch.nn.functional.interpolate(batch, size=48, mode="bilinear"))["age"]]
    torch.testing.assert_close(taught["age"], torch.stack(both).softmax(dim=2).mean(dim=0))
    callback.learn = SimpleNamespace(xb=(batch,), yb=(targets,), training=False)
    callback.before_batch()
    assert callback.learn.yb == (targets,), "validation knows no teachers"


def test_teachers_that_cannot_teach_are_one_message(teacher, images, tmp_path):
    with pytest.raises(FaceMTLError, match="None of the teachers answers race"):
        train(replace(SHORT, tasks=("race",), teachers=(teacher,)), images, tmp_path, progress=False)
    with pytest.raises(FaceMTLError, match="nobody has no description"):
        train(replace(SHORT, teachers=(str(tmp_path / "nobody.json"),)), images, tmp_path, progress=False)


# ------------------------------------------------------------------------------------- missing labels


@pytest.fixture
def gaps(images) -> pd.DataFrame:
    """The images without the age of every other one, and without the gender of every third."""
    found = images.astype({"age": float, "gender": float})
    found.loc[::2, "age"], found.loc[::3, "gender"] = np.nan, np.nan
    return found


def test_one_task_is_learned_from_the_images_that_have_its_label(gaps, tmp_path):
    config = replace(SHORT, tasks=("age",))
    for name, table in (("gaps", gaps), ("labelled", gaps.dropna(subset="age", ignore_index=True))):
        train(config, table, tmp_path / name, progress=False)
    one, other = (Checkpoint.load(tmp_path / name / "age.json")[0] for name in ("gaps", "labelled"))
    assert one.sha256 == other.sha256 and one.training["images"] == (gaps["split"].eq(TRAIN) & gaps["age"].notna()).sum()


@pytest.mark.parametrize("weighting", ["fixed", "equal", "uncertainty"])
def test_several_tasks_are_learned_from_what_labels_there_are(weighting, gaps, tmp_path):
    config = replace(TINY, weighting=weighting, mixup=0.2)
    train(config, gaps, tmp_path, progress=False)
    rows = pd.read_csv(tmp_path / f"{MODEL}.history.csv")
    assert np.isfinite(rows.to_numpy(float)).all()
    assert all(values.isfinite().all() for values in weights(tmp_path).values())


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_a_glance_is_the_metric_over_all_labelled_images(task):
    """Of batches that have many labels, few, or none."""
    generator, glance, labels, answers = torch.Generator().manual_seed(0), Glance(task), [], []
    glance.reset()
    for known in (range(8), [3], []):
        outputs = torch.randn(8, task.n_outputs, generator=generator)
        target = torch.full((8,), torch.nan)
        target[[*known]] = torch.randint(0, task.n_outputs, (len(known),), generator=generator).float()
        glance.accumulate(SimpleNamespace(yb=({task.name: target},), pred={task.name: outputs}))
        labels += target[[*known]].tolist()
        answers += task.decode(task.probabilities(outputs))["prediction"][[*known]].tolist()
    assert len(labels) == 9 and glance.value == pytest.approx(task.metric(labels, answers))
    assert glance.name == f"{task.name}_{task.metric.name}"


@pytest.mark.parametrize("split", [TRAIN, CALIBRATION])
@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_a_task_without_labels_is_refused_by_its_column(task, split, images, tmp_path):
    none = images.astype({task.column: float})
    none.loc[none["split"] == split, task.column] = np.nan
    with pytest.raises(FaceMTLError, match=rf"{split} images has a label in the column {task.column}\b"):
        train(SHORT, none, tmp_path, progress=False)
