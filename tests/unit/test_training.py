"""Training: batches, settings, learning, and resuming an interrupted run to the same result."""

import json
import re
import shutil
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock

from facemtl.cli import main
from facemtl.data.images import decode_images
from facemtl.data.reading import CALIBRATION, TRAIN, VALIDATION, read_images
from facemtl.errors import FaceMTLError
from facemtl.inference.predictor import LoadedModel
from facemtl.models.face_model import FaceModel
from facemtl.models.model_file import ModelInfo, load_model, load_weights
from facemtl.models.seen import has_seen, seen_text
from facemtl.tasks import AGE, GENDER, RACE, TASKS
from facemtl.training import train as training
from facemtl.training.callbacks import RunningMean, TaskMetric
from facemtl.training.config import Augmentation, TrainConfig
from facemtl.training.learner import face_learner
from facemtl.training.loader import FaceLoader
from facemtl.training.losses import JointLoss
from facemtl.training.train import find_learning_rate, fit, train
from tests import support
from tests.forks import Command
from tests.support import SMALL

pytestmark = pytest.mark.usefixtures("small_backbone")
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
TINY = TrainConfig(
    backbone=SMALL,
    pretrained=False,
    size=32,
    frozen_epochs=0,
    epochs=2,
    batch_size=32,
    lr=2e-3,
    head_lr=2e-3,
    seed=5,
)
SHORT = replace(TINY, epochs=1)
# The same for the command line, with both phases, long enough to interrupt, and with everything
# that a resumed run must restore.
ARGUMENTS = (
    "--backbone", SMALL, "--no-pretrained", "--size", "40", "--frozen-epochs", "1",
    "--epochs", "10", "--batch-size", "32", "--lr", "0.004", "--head-lr", "0.004", "--seed", "5",
    "--ema", "0.9", "--weighting", "uncertainty", "--erase", "0.3", "--blur", "0.2",
    "--tint", "0.1",
)  # fmt: skip
MODEL = "multitask"


@pytest.fixture(autouse=True)
def no_autocast_leaks():
    """A failed training must not leave autocast on: later computations in the process would use old
    weights.
    """
    yield
    left_on = torch.is_autocast_enabled("cpu")
    if left_on:  # so that other tests are not affected
        torch.set_autocast_enabled("cpu", False)
        torch.autocast_decrement_nesting()
        torch.clear_autocast_cache()
    assert not left_on


@pytest.fixture(scope="module")
def images(synthetic_faces) -> pd.DataFrame:
    return read_images(synthetic_faces)[0]


@pytest.fixture(scope="module")
def uninterrupted(synthetic_faces, tmp_path_factory) -> Path:
    """The output of a complete training."""
    output = tmp_path_factory.mktemp("uninterrupted")
    assert main(["train", "--data", str(synthetic_faces), "--output", str(output), *ARGUMENTS]) == 0
    return output


@pytest.fixture(scope="module")
def killed(synthetic_faces, tmp_path_factory) -> Path:
    """The output of the same training, killed three times in its first epochs. Copy it before use.

    It is killed during an epoch, or while its progress is written.
    """
    output, more = tmp_path_factory.mktemp("killed"), []
    progress = output / f"{MODEL}.resume.pt"

    def written() -> int:
        return progress.stat().st_mtime_ns if progress.exists() else 0

    for patience in (0, 0.02, 0.05):
        files, before = ["--data", synthetic_faces, "--output", output], written()
        command = Command("train", *files, *ARGUMENTS, *more, cwd=output)
        command.kill_once(lambda before=before: written() > before, patience)
        more = ["--resume"]
    return output


@pytest.fixture
def interrupted_output(killed, tmp_path) -> Path:
    return shutil.copytree(killed, tmp_path / "runs", ignore=shutil.ignore_patterns("*.lock"))


def resume(output: Path, data: Path, *more: str) -> int:
    return main(
        ["train", "--data", str(data), "--output", str(output), *ARGUMENTS, *more, "--resume"]
    )


def history(output: Path) -> pd.DataFrame:
    return pd.read_csv(output / f"{MODEL}.history.csv")


def weights(output: Path) -> dict[str, torch.Tensor]:
    return load_weights(output / f"{MODEL}.onnx")


def fitted(config: TrainConfig, images: pd.DataFrame, output: Path) -> dict[str, torch.Tensor]:
    """The weights after a training. No model file is written: that takes longer than training."""
    return fit(config, images, output, progress=False)[0].model.state_dict()


@pytest.fixture(scope="module")
def plain(images, tmp_path_factory) -> SimpleNamespace:
    """The weights, the history and the output of a training with SHORT, to compare others with."""
    output = tmp_path_factory.mktemp("plain")
    weights = fitted(SHORT, images, output)
    return SimpleNamespace(weights=weights, history=history(output), output=output)


@pytest.fixture
def stopped(plain, tmp_path) -> Path:
    """A copy of the output of `plain`, which has written no model file yet."""
    return shutil.copytree(plain.output, tmp_path / "runs", ignore=shutil.ignore_patterns("*.lock"))


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture
def written(monkeypatch) -> dict[str, SimpleNamespace]:
    """What `train` would write, by file. Writing a model file takes longer than training."""
    found = {}

    def write(file: Path, model: FaceModel, info: ModelInfo) -> None:
        found[file.name] = SimpleNamespace(weights=model.state_dict(), info=info)

    monkeypatch.setattr(training, "write_model", write)
    return found


def info(output: Path, name: str = MODEL) -> ModelInfo:
    return LoadedModel.load(output / f"{name}.onnx").info


# ----------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tasks", ()), ("tasks", ("gender", "gender")), ("tasks", ("glasses",)),
        ("size", 31), ("epochs", 0), ("frozen_epochs", -1), ("share", 0), ("share", 1.1),
        ("head_lr", 0),
        ("batch_size", 1), ("batch_size", 0), ("batch_size", 10**6),
        ("lr", 0.0), ("lr", -0.001), ("lr", 2.0), ("lr", float("nan")), ("warmup", 0.0),
        ("warmup", 1.0),
        ("weight_decay", -0.1), ("weight_decay", float("nan")),
        ("dropout", -0.1), ("dropout", 1.0),
        ("grad_clip", 0.0), ("grad_clip", -1.0),
        ("label_smoothing", 1.0), ("sigma", 0.0), ("ema", 1.0), ("weighting", "fair"),
        ("seed", -1),
        ("tasks", "age"), ("tasks", None), ("backbone", None), ("start", 5), ("pretrained", 1),
        ("size", 40.5), ("size", "40"), ("epochs", 1.5), ("epochs", True), ("batch_size", 32.5),
        ("seed", 1.5), ("lr", "0.1"), ("lr", None), ("augmentation", None),
    ],
)  # fmt: skip
def test_contradictory_settings_are_refused_on_construction(field, value):
    with pytest.raises(FaceMTLError, match=field if value != ("glasses",) else "glasses"):
        TrainConfig(**{field: value})


@pytest.mark.parametrize("value", ["12", None, True, -1, float("nan")])
def test_an_impossible_augmentation_is_refused(value):
    with pytest.raises(FaceMTLError, match="rotation"):
        Augmentation(rotation=value)


def test_settings_may_be_numbers_of_numpy():
    """They can be stored."""
    config = TrainConfig(seed=np.int64(3), lr=np.float32(0.25), head_lr=1)
    assert config == TrainConfig(seed=3, lr=0.25, head_lr=1.0)
    assert TrainConfig.of_plain(json.loads(json.dumps(config.plain()))) == config


def test_a_model_is_named_after_its_tasks():
    names = {
        ("age",): "age",
        ("gender", "age"): "gender+age",
        ("gender", "race", "age"): "multitask",
    }
    for tasks, name in names.items():
        assert TrainConfig(tasks=tasks).name == name


def test_settings_survive_being_stored():
    config = replace(TINY, tasks=("race", "age"), augmentation=Augmentation(erase=0.2), warmup=0.1)
    assert TrainConfig.of_plain(json.loads(json.dumps(config.plain()))) == config


def test_every_setting_is_an_option_of_the_command_line(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    words = capsys.readouterr().out
    for setting in (*fields(TrainConfig), *fields(Augmentation)):
        if setting.name not in ("tasks", "augmentation"):
            option = setting.name.replace("_", "-")
            assert re.search(rf"--(no-)?{option}(?![\w-])", words), option


@pytest.mark.parametrize(
    "arguments",
    [["--size"], ["--epochs", "two"], ["--tasks", "glasses"], ["--batch-size", "many"]],
    ids=" ".join,
)
def test_invalid_arguments_are_refused_with_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as status:
        main(["train", *arguments])
    assert status.value.code == 2 and "usage" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--batch-size", "1"], ["--batch-size", "4000"], ["--lr", "5"], ["--size", "16"],
        ["--backbone", "resnet1"],
        ["--device", "abacus"], ["--seed", "-1"],
        pytest.param(["--device", "cuda"], marks=without_gpu),
    ],
    ids=" ".join,
)  # fmt: skip
def test_impossible_settings_give_a_one_line_error(arguments, synthetic_faces, tmp_path, capsys):
    assert (
        main(
            [
                "train",
                "--data",
                str(synthetic_faces),
                "--output",
                str(tmp_path / "runs"),
                "--no-pretrained",
                *arguments,
            ]
        )
        == 1
    )
    (line,) = (
        line for line in capsys.readouterr().err.splitlines() if line.startswith("facemtl: ")
    )
    assert arguments[0].removeprefix("--") in line.replace("_", "-")


# ------------------------------------------------------------------------------------------ batches


def loader(n=50, batch_size=8, seed=3, chosen=None) -> FaceLoader:
    """Images whose first pixel holds their row number, to identify the images of a batch."""
    pixels = torch.arange(n, dtype=torch.uint8)[:, None, None, None].repeat(1, 6, 6, 3)
    indices = np.arange(n) if chosen is None else np.asarray(chosen)
    return FaceLoader(
        pixels, [torch.arange(n), torch.arange(n) * 2], indices, batch_size, seed=seed
    )


def order(batches: FaceLoader, epoch: int = 0) -> list[int]:
    batches.epoch = epoch
    return [int(row) for _, rows, _ in batches for row in rows]


def test_images_and_targets_of_a_batch_belong_together():
    batches = list(loader(n=50, batch_size=8))
    assert len(batches) == 6
    for images, rows, twice in batches:
        assert images.shape == (8, 3, 6, 6) and images.dtype == torch.uint8
        np.testing.assert_array_equal(images[:, 0, 0, 0], rows)
        np.testing.assert_array_equal(twice, 2 * rows)


def test_an_epoch_shows_each_training_image_at_most_once():
    chosen = range(5, 45)
    found = order(loader(chosen=chosen, batch_size=7))
    assert (
        len(found) == len(set(found)) == 35
    )  # 5 batches of 7; the rest is left for the next shuffle
    assert set(found) <= set(chosen)


def test_validation_shows_every_image_once_and_in_order():
    assert order(loader(seed=None, chosen=range(4, 25))) == list(range(4, 25))


def test_the_order_depends_only_on_seed_and_epoch():
    first = order(loader(seed=3), epoch=2)
    np.random.seed(99)
    torch.manual_seed(99)
    again = loader(seed=3)
    order(again, epoch=0), order(again, epoch=1)
    assert order(again, epoch=2) == first
    assert order(loader(seed=3), epoch=3) != first and order(loader(seed=4), epoch=2) != first
    assert sorted(first) != first


# ----------------------------------------------------------------------------------------- training


def loss_of(model: FaceModel, images: pd.DataFrame, size: int, split: str) -> float:
    chosen = images[images["split"] == split]
    batch = torch.from_numpy(decode_images(chosen, size)).permute(0, 3, 1, 2).float() / 255
    targets = [torch.tensor(chosen[task.column].to_numpy()) for task in model.tasks]
    with torch.no_grad():
        return float(JointLoss(model.tasks)(model.eval()(batch), *targets))


def test_training_reduces_the_loss(uninterrupted, images):
    model = load_model(uninterrupted / f"{MODEL}.onnx", info(uninterrupted))
    torch.manual_seed(5)
    fresh = FaceModel(TASKS, SMALL)
    for split in (TRAIN, VALIDATION):
        assert loss_of(model, images, 40, split) < 0.8 * loss_of(fresh, images, 40, split)
    losses = history(uninterrupted)["train_loss"]
    assert losses.iloc[-1] < losses.iloc[0]


def test_training_never_uses_validation_labels(plain, images, tmp_path):
    """Other labels on validation images change neither weights nor history. Other labels on
    calibration images change only the history.
    """
    found = {}
    for split in (VALIDATION, CALIBRATION):
        labels = images.copy()
        labels.loc[labels["split"] == split, ["age", "gender", "race"]] = [1, 1, 1]
        assert same(fitted(SHORT, labels, tmp_path / split), plain.weights)
        found[split] = history(tmp_path / split).drop(columns="seconds")
    before = plain.history.drop(columns="seconds")
    assert before.equals(found[VALIDATION]) and not before.equals(found[CALIBRATION])


def test_training_writes_only_a_checkpoint_and_a_history(uninterrupted, images):
    assert {f.name for f in uninterrupted.iterdir()} == {
        f"{MODEL}.{end}" for end in ("onnx", "history.csv")
    }
    found = info(uninterrupted)
    assert (found.name, found.backbone, found.size, found.tasks) == (MODEL, SMALL, 40, TASKS)
    assert found.training["seed"] == 5 and found.training["lr"] == 0.004
    assert found.training["images"] == (images["split"] == TRAIN).sum()
    assert found.is_calibrated
    for split, part in images.groupby("split"):
        assert {has_seen(found.seen, [each]) for each in part["sha256"]} == {split != VALIDATION}
    assert all(torch.isfinite(value).all() for value in weights(uninterrupted).values())
    rows = history(uninterrupted)
    assert list(rows["epoch"]) == list(range(1, 12))
    measured = [f"{task.name}_{task.metric.name}" for task in TASKS]
    assert {"train_loss", "valid_loss", "seconds", *measured} <= set(rows.columns)
    assert np.isfinite(rows.to_numpy(float)).all()


def test_a_single_task_model_comes_from_the_same_recipe(written, images, tmp_path):
    task = RACE
    made = train(replace(SHORT, tasks=(task.name,)), images, tmp_path, progress=False)
    assert written[f"{task.name}.onnx"].info == made
    assert made.name == task.name and made.tasks == (task,)
    settings = {name: made.training[name] for name in SHORT.plain()}
    assert TrainConfig.of_plain(settings) == replace(SHORT, tasks=(task.name,))


def test_too_few_images_give_one_message(images, tmp_path):
    with pytest.raises(FaceMTLError, match="batch"):
        train(TINY, images.head(20), tmp_path, progress=False)


def test_missing_calibration_images_give_one_message(images, tmp_path):
    with pytest.raises(FaceMTLError, match="no calibration images"):
        train(TINY, images[images["split"] == TRAIN], tmp_path, progress=False)


def test_an_error_in_the_model_does_not_affect_the_next_training(images, tmp_path, monkeypatch):
    config = replace(SHORT, tasks=("age",))

    def breaks(*_):
        raise ValueError("broken")

    with monkeypatch.context() as patch, pytest.raises(ValueError, match="broken"):
        patch.setattr(torch.nn.Dropout, "forward", lambda self, x: breaks() if self.training else x)
        fitted(config, images, tmp_path)
    assert all(values.isfinite().all() for values in fitted(config, images, tmp_path).values())


def test_an_image_size_that_does_not_fit_the_backbone_is_refused_before_training(images, tmp_path):
    with pytest.raises(FaceMTLError, match="vit_b_16 cannot take images of 32 px"):
        train(replace(TINY, backbone="vit_b_16"), images, tmp_path, progress=False)


def test_the_learning_rate_finder_suggests_a_valid_rate(images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rate = find_learning_rate(replace(TINY, batch_size=8), images)
    assert replace(TINY, lr=rate).lr == rate  # TrainConfig refuses rates that are out of range
    assert list(tmp_path.iterdir()) == []  # it writes no files


# --------------------------------------------------------------------------- interrupting, resuming


@pytest.fixture(scope="module")
def resumed(killed, synthetic_faces, tmp_path_factory) -> Path:
    """The output of the killed training after a second process finished it."""
    output = shutil.copytree(killed, tmp_path_factory.mktemp("resumed") / "runs")
    assert (
        1 <= len(history(output)) < 11 and not (output / f"{MODEL}.onnx").exists()
    )  # it was stopped before the end
    # The stored settings are used; they are not given again.
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


def test_another_seed_gives_other_weights(plain, images, tmp_path):
    """This shows that the comparison above can fail."""
    one, other = plain.weights, fitted(replace(SHORT, seed=6), images, tmp_path)
    assert all((one[key] - other[key]).abs().max() > 1e-3 for key in one if key.endswith("weight"))


@pytest.mark.parametrize(
    ("setting", "arguments"),
    {
        "lr": ["--lr", "0.001"], "seed": ["--seed", "6"], "epochs": ["--epochs", "9"],
        "batch_size": ["--batch-size", "16"],
        "frozen_epochs": ["--frozen-epochs", "0"], "size": ["--size", "48"],
        "share": ["--share", "0.5"],
        "backbone": ["--backbone", "resnet18"], "dropout": ["--dropout", "0.5"],
        "augmentation": ["--erase", "0"],
        "ema": ["--ema", "0.5"], "weighting": ["--weighting", "equal"],
        "weight_decay": ["--weight-decay", "0.1"],
    }.items(),
    ids=lambda v: v if isinstance(v, str) else "",
)  # fmt: skip
def test_resuming_with_other_settings_is_refused_by_their_name(
    interrupted_output, synthetic_faces, capsys, setting, arguments
):
    before = support.contents(interrupted_output)
    assert resume(interrupted_output, synthetic_faces, *arguments) == 1
    assert f"({setting})" in capsys.readouterr().err.splitlines()[-1]
    assert support.contents(interrupted_output) == before


@pytest.mark.parametrize("other", ["images", "labels", "words"])
def test_resuming_with_other_data_is_refused(other, images, stopped, monkeypatch):
    """The model would not say that it has seen the first ones."""
    before = support.contents(stopped)
    if other == "images":
        images = images.drop(images.index[images["split"] == TRAIN][0])
    elif other == "labels":
        images = images.assign(age=images["age"].where(images["split"] != CALIBRATION, 1))
    else:
        monkeypatch.setitem(vars(GENDER), "labels", GENDER.labels[::-1])
    with pytest.raises(FaceMTLError, match=r"other images or labels.*resume\.pt to start again"):
        fit(SHORT, images, stopped, resume=True, progress=False)
    assert support.contents(stopped) == before


def test_resuming_does_not_depend_on_images_that_are_not_used(images, stopped):
    unused = images["split"] == VALIDATION
    for others in (images[~unused], images.assign(age=images["age"].mask(unused))):
        fit(SHORT, others, stopped, resume=True, progress=False)


def test_a_resumed_training_has_seen_what_its_start_had_seen(images, tmp_path, monkeypatch):
    """Its start may be gone, or another model may have taken its place."""
    monkeypatch.setattr(training, "seen_by_model", lambda *_: "of start")
    fitted(SHORT, images, tmp_path)
    monkeypatch.setattr(training, "seen_by_model", lambda *_: "of another")
    _, keeper = fit(SHORT, images, tmp_path, resume=True, progress=False)
    assert keeper.seen == "of start"


@pytest.mark.parametrize("tasks", [TASKS, (AGE,)], ids=["the same tasks", "one of its tasks"])
def test_a_training_starts_from_a_trained_model(tasks, uninterrupted, images):
    """From its backbone, and from the heads of its tasks."""
    names, start = tuple(task.name for task in tasks), str(uninterrupted / f"{MODEL}.onnx")
    config = replace(SHORT, tasks=names, start=start, size=40)
    after = face_learner(images, config, device="cpu").model.state_dict()
    heads = {name.split(".")[1] for name in after if name.startswith("heads.")}
    assert heads == {*names}
    before = {
        name: value
        for name, value in weights(uninterrupted).items()
        if name.split(".")[1] in heads or name.startswith("backbone.")
    }
    assert before and all(torch.equal(after[name], before[name]) for name in before)


def test_a_start_with_another_backbone_is_refused(uninterrupted, images, tmp_path):
    with pytest.raises(FaceMTLError, match="another backbone"):
        train(
            replace(SHORT, start=str(uninterrupted / f"{MODEL}.onnx"), backbone="resnet18"),
            images,
            tmp_path,
            progress=False,
        )


def test_a_start_file_that_is_not_a_model_is_refused(images, tmp_path):
    with pytest.raises(FaceMTLError, match="cannot be read"):
        train(
            replace(TINY, start=str(tmp_path / "none.onnx")),
            images,
            tmp_path / "runs",
            progress=False,
        )
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(FaceMTLError, match="is not a model"):
        train(
            replace(TINY, start=str(tmp_path / "text.onnx")),
            images,
            tmp_path / "runs",
            progress=False,
        )


def test_a_resumed_training_loads_no_pretrained_weights(images, tmp_path, monkeypatch):
    asked = []

    class Asked(Exception):
        pass

    def spy(*arguments, pretrained, **settings):
        asked.append(pretrained)
        raise Asked

    monkeypatch.setattr("facemtl.training.learner.FaceModel", spy)
    for resume in (False, True):
        with pytest.raises(Asked):
            train(replace(TINY, pretrained=True), images, tmp_path, resume=resume, progress=False)
    assert asked == [True, False]


def test_resuming_without_an_interrupted_training_is_refused(synthetic_faces, tmp_path, capsys):
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
def test_a_damaged_resume_file_is_refused_by_its_name(
    interrupted_output, synthetic_faces, capsys, damage
):
    file = interrupted_output / f"{MODEL}.resume.pt"
    damage(file)
    assert resume(interrupted_output, synthetic_faces) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("facemtl: ") and file.name in last


class Harmful:
    def __reduce__(self):
        return (Path.touch, (Path("harm-was-done"),))


def test_code_in_a_resume_file_is_not_executed(
    interrupted_output, synthetic_faces, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    file = interrupted_output / f"{MODEL}.resume.pt"
    torch.save(torch.load(file) | {"rows": Harmful()}, file)
    assert resume(interrupted_output, synthetic_faces) == 1
    assert not (tmp_path / "harm-was-done").exists()


def test_a_training_stopped_after_its_last_epoch_resumes_too(
    plain, written, images, tmp_path, monkeypatch
):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "write_model", interrupted)
        train(SHORT, images, tmp_path / "stopped", progress=False)
    train(SHORT, images, tmp_path / "stopped", progress=False, resume=True)
    assert same(written[f"{MODEL}.onnx"].weights, plain.weights)
    assert len(history(tmp_path / "stopped")) == 1


def test_a_training_stopped_during_its_calibration_is_calibrated_when_it_resumes(
    synthetic_faces, tmp_path, monkeypatch
):
    def interrupted(*_):
        raise KeyboardInterrupt

    files = ["--data", str(synthetic_faces), "--output", str(tmp_path)]
    with monkeypatch.context() as patch:
        patch.setattr("facemtl.evaluation.calibration.calibrate_files", interrupted)
        assert main(["train", *files, *ARGUMENTS, "--epochs", "1"]) == 130
    assert not info(tmp_path).is_calibrated and (tmp_path / f"{MODEL}.resume.pt").exists()
    before = weights(tmp_path)
    assert main(["train", *files, "--resume"]) == 0
    assert info(tmp_path).is_calibrated and same(before, weights(tmp_path))
    assert {f.name for f in tmp_path.iterdir()} == {f"{MODEL}.onnx", f"{MODEL}.history.csv"}


def test_a_second_training_in_a_folder_is_refused_at_its_start(
    interrupted_output, synthetic_faces, images, capsys
):
    """Before it reads an image; also from Python. The first one's files stay as they are."""
    before = support.contents(interrupted_output)
    with FileLock(lock := interrupted_output / f".{MODEL}.resume.pt.lock"):
        assert resume(interrupted_output, synthetic_faces) == 1
        printed, said = capsys.readouterr()
        assert re.fullmatch(r"facemtl: Another process is writing .*\n", said) and not printed
        with pytest.raises(FaceMTLError, match="Another process"):
            train(TINY, images, interrupted_output, resume=True, progress=False)
    lock.unlink()
    assert support.contents(interrupted_output) == before


def test_what_a_model_has_seen_includes_what_its_start_has_seen(tmp_path, images):
    for seen in (seen_text(["0" * 64]), ""):  # the latter: it is not known
        start = support.write_model(tmp_path, [AGE], "start", seen=seen)
        config = replace(SHORT, start=str(start))
        found = training.seen_by_model(config, images["sha256"])
        assert has_seen(found, ["0" * 64]) == has_seen(found, images["sha256"]) == bool(seen)


def test_an_interrupted_training_is_not_overwritten_by_a_new_one(
    interrupted_output, synthetic_faces, images, capsys
):
    arguments = [
        "--data",
        str(synthetic_faces),
        "--output",
        str(interrupted_output),
        *ARGUMENTS,
        "--epochs",
        "1",
    ]
    before = support.contents(interrupted_output)
    assert main(["train", *arguments]) == 1
    assert "--resume, or delete the file" in capsys.readouterr().err.splitlines()[-1]
    assert support.contents(interrupted_output) == before
    (interrupted_output / f"{MODEL}.resume.pt").unlink()
    fitted(SHORT, images, interrupted_output)
    assert len(history(interrupted_output)) == 1


# ---------------------------------------------------------------------------- options of the recipe


def test_the_running_mean_of_the_weights_is_kept():
    """The weights are 0, 1, 2, 3. The decays are 1/11, 2/12 and 1/5 (the set maximum, instead of
    3/13). So the means are 10/11, 20/11 and 4/11 + 12/5.
    """
    model = torch.nn.Linear(1, 1, bias=False)
    mean = RunningMean(0.2)
    mean.learn = SimpleNamespace(model=model)

    def set_weight(value: float) -> None:
        with torch.no_grad():
            model.weight.fill_(value)

    set_weight(0)
    mean.before_fit()
    for value in (1.0, 2.0, 3.0):
        set_weight(value)
        mean.after_step()
    mean.before_validate()
    assert model.weight.item() == pytest.approx(4 / 11 + 12 / 5)
    mean.after_validate()
    assert model.weight.item() == 3
    mean.keep(SimpleNamespace(model=model))
    assert model.weight.item() == pytest.approx(4 / 11 + 12 / 5)


def test_without_a_decay_the_last_weights_are_kept():
    """Through two phases, with the events of fastai."""
    model = torch.nn.Linear(1, 1, bias=False)
    mean = RunningMean(0.0)
    mean.learn = SimpleNamespace(model=model)
    for value in (1.0, 2.0):
        mean("before_fit")
        with torch.no_grad():
            model.weight.fill_(value)
        for event in ("after_step", "before_validate", "after_validate", "after_fit"):
            mean(event)
    mean.keep(SimpleNamespace(model=model))
    assert model.weight.item() == 2


@pytest.mark.parametrize(
    "change",
    [
        {"ema": 0.0},
        {"label_smoothing": 0.3},
        {"sigma": 6.0},
        {"weighting": "equal"},
        {"frozen_epochs": 1},
        {"share": 0.5},
    ],
)
def test_each_setting_changes_the_weights(change, plain, images, tmp_path):
    changed = fitted(replace(SHORT, **change), images, tmp_path)
    assert any((value - changed[key]).abs().max() > 1e-3 for key, value in plain.weights.items())
    assert all(torch.isfinite(value).all() for value in changed.values())


def test_loss_weights_are_learned_without_weight_decay(synthetic_faces, images):
    config = replace(TINY, weighting="uncertainty", weight_decay=1.0, lr=1e-2)
    learner = face_learner(images, config, device="cpu")
    with learner.no_bar(), learner.no_logging():
        learner.fit(1, 1e-2, wd=1.0)
    (parameter,) = learner.loss_func.parameters()
    assert (parameter != 0).all()
    assert learner.opt.state[parameter]["do_wd"] is False


# -------------------------------------------------------------------------------- from face weights


def test_frozen_epochs_train_only_the_heads(images):
    learner = face_learner(images, replace(TINY, frozen_epochs=1), device="cpu")
    start = {name: value.clone() for name, value in learner.model.named_parameters()}

    def changed() -> set[str]:
        now = dict(learner.model.named_parameters())
        return {name.split(".")[0] for name in start if not torch.equal(start[name], now[name])}

    with learner.no_bar(), learner.no_logging():
        learner.freeze()
        learner.fit_one_cycle(1, [1e-3, 1e-3])
        assert changed() == {"heads"}
        learner.unfreeze()
        learner.fit_one_cycle(1, [1e-3, 1e-3])
        assert changed() == {"heads", "backbone"}


def test_training_from_face_weights_writes_no_normalisations(images):
    config = replace(
        SHORT, backbone="face-resnet", pretrained=True, size=112, batch_size=8, share=0.1
    )
    learner = face_learner(images, config, device="cpu")
    assert any("norm" in name for name, _ in learner.model.backbone.named_parameters())
    with learner.no_bar(), learner.no_logging():
        learner.fit(1, 1e-4)
    found = learner.model.for_export().state_dict()
    assert not any(".norm." in name for name in found)
    shipped = FaceModel(TASKS, pretrained=True).state_dict()
    backbone = [name for name in shipped if name.startswith("backbone.")]
    assert {*backbone} == {name for name in found if name.startswith("backbone.")}
    # After a few steps, the weights are close to the initial weights, but not equal.
    off = [
        float((found[name] - shipped[name]).norm() / shipped[name].norm())
        for name in backbone
        if name.endswith("weight")
    ]
    assert 0 < np.median(off) < 0.5


def test_every_model_gets_the_same_share_of_the_images(images):
    rows = {}
    for tasks in (("age",), ("gender", "race", "age")):
        learner = face_learner(images, replace(TINY, tasks=tasks, share=0.3), device="cpu")
        rows[tasks] = list(learner.dls.train.indices)
    one, all_ = rows.values()
    assert one == all_ and len(one) == round(0.3 * (images["split"] == TRAIN).sum())


# -------------------------------------------------------------------------------- impossible tables


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("age", 500), ("age", -5), ("age", np.inf), ("age", "old"),
        ("race", 7), ("race", 0.5), ("race", -1), ("race", "White"), ("gender", [1]),
    ],
)  # fmt: skip
def test_an_impossible_label_is_refused(column, value, images, tmp_path):
    wrong = images.astype({column: object})
    wrong.at[3, column] = value
    expected = rf"column {column} must be .*found '?{re.escape(str(value))}"
    for work in (face_learner, lambda images, config: train(config, images, tmp_path / "runs")):
        with pytest.raises(FaceMTLError, match=expected):
            work(wrong, SHORT)
    other = next(task.name for task in TASKS if task.column != column)
    face_learner(wrong, replace(SHORT, tasks=(other,)), device="cpu")  # it does not see the label
    assert not [*tmp_path.iterdir()]


def test_what_is_no_table_of_images_is_refused(images, synthetic_faces, tmp_path):
    tables = {"str": str(synthetic_faces), "NoneType": None, type(tmp_path).__name__: tmp_path}
    tables |= {name: images.drop(columns=name) for name in ("file", "sha256", "split", "age")}
    for name, table in tables.items():
        for work in (face_learner, lambda images, config: train(config, images, tmp_path / "runs")):
            with pytest.raises(FaceMTLError, match=rf"(found|no column) {name}\."):
                work(table, SHORT)
    assert not [*tmp_path.iterdir()]


# ----------------------------------------------------------------------------------- missing labels


@pytest.fixture
def gaps(images) -> pd.DataFrame:
    """The images without every second age and every third gender."""
    found = images.astype({"age": float, "gender": float})
    found.loc[::2, "age"], found.loc[::3, "gender"] = np.nan, np.nan
    return found


def test_a_single_task_is_learned_from_its_labelled_images(gaps, tmp_path):
    config = replace(SHORT, tasks=("age",))
    learner, _ = fit(config, gaps, tmp_path / "gaps", progress=False)
    labelled = gaps.dropna(subset="age", ignore_index=True)
    assert same(learner.model.state_dict(), fitted(config, labelled, tmp_path / "labelled"))
    n = (gaps["split"].eq(TRAIN) & gaps["age"].notna()).sum()
    assert len(learner.dls.train.indices) == n


def test_several_tasks_are_learned_from_the_available_labels(gaps, tmp_path):
    config = replace(TINY, weighting="uncertainty")
    state, rows = fitted(config, gaps, tmp_path), history(tmp_path)
    assert np.isfinite(rows.to_numpy(float)).all()
    assert rows["train_loss"].iloc[-1] < 0.97 * rows["train_loss"].iloc[0]
    assert all(values.isfinite().all() for values in state.values())


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_a_task_metric_is_the_metric_over_all_labelled_images(task):
    """On batches with many labels, few labels or none."""
    generator, metric, labels, answers = (
        torch.Generator().manual_seed(0),
        TaskMetric(task, 1),
        [],
        [],
    )
    metric.reset()
    for known in (range(8), [3], []):
        outputs = torch.randn(8, task.n_outputs, generator=generator)
        target = torch.full((8,), torch.nan)
        target[[*known]] = torch.randint(
            0, task.n_outputs, (len(known),), generator=generator
        ).float()
        metric.accumulate(SimpleNamespace(yb=(torch.zeros(8), target), pred={task.name: outputs}))
        labels += target[[*known]].tolist()
        answers += task.decode(task.probabilities(outputs.numpy()))["prediction"][[*known]].tolist()
    assert len(labels) == 9 and metric.value == pytest.approx(task.metric(labels, answers))
    assert metric.name == f"{task.name}_{task.metric.name}"


@pytest.mark.parametrize("split", [TRAIN, CALIBRATION])
@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_a_task_without_labels_is_refused_by_column_name(task, split, images, tmp_path):
    none = images.astype({task.column: float})
    none.loc[none["split"] == split, task.column] = np.nan
    with pytest.raises(
        FaceMTLError, match=rf"{split} images has a label in the column {task.column}\b"
    ):
        train(SHORT, none, tmp_path, progress=False)
