"""Faults of real machines: killed processes, full disks, ports in use, damaged files."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pandas as pd
import pytest

from facemtl.cli import main
from facemtl.data.reading import VALIDATION, read_images
from facemtl.errors import FaceMTLError
from facemtl.evaluation.validation import (
    METRICS_FILE,
    PREDICTIONS_FILE,
    load_metrics,
    load_validation,
)
from facemtl.inference.predictor import LoadedModel
from facemtl.tasks import TASKS
from tests import support
from tests.forks import Command
from tests.support import SMALL

MODELS = support.ROOT / "assets" / "models"
TRAIN = (
    "--tasks", "age", "--backbone", SMALL, "--no-pretrained", "--size", "32",
    "--frozen-epochs", "0", "--epochs", "6", "--batch-size", "32",
)  # fmt: skip


def one_sentence(said: str) -> bool:
    """Whether the last line is a message of facemtl, and there is no traceback."""
    return said.strip().splitlines()[-1].startswith("facemtl: ") and "Traceback" not in said


# --------------------------------------------------------------------------------- killed processes


def test_a_killed_evaluation_leaves_no_partial_results(tmp_path):
    models, out = tmp_path / "models", tmp_path / "out"
    for task in TASKS:
        support.write_model(models, [task])
    support.write_model(models, TASKS, "multitask")
    untouched = support.contents(models)

    def start() -> Command:
        files = ["--data", support.COMPOSITES, "--models", models, "--output", out]
        return Command("evaluate", *files, cwd=tmp_path)

    status, printed, said = start().finish()
    assert status == 0, said
    for task in TASKS:
        assert re.search(rf"^{task.name}\b.*difference", printed, re.MULTILINE)
    whole = load_validation(out), load_metrics(out)
    images, _ = read_images(support.COMPOSITES, progress=False)
    validated = images[images["split"] == VALIDATION]["sha256"].str[:16]
    assert set(whole[0]["image"]) == set(validated)
    first = (out / METRICS_FILE).stat().st_mtime_ns
    start().kill_once(lambda: (out / METRICS_FILE).stat().st_mtime_ns > first)
    assert not (out / PREDICTIONS_FILE).exists()
    with pytest.raises(FaceMTLError, match="facemtl evaluate"):
        load_validation(out)
    status, _, said = start().finish()
    assert status == 0, said
    assert support.contents(models) == untouched and not [*out.glob(".*")]
    for before, after in zip(whole, (load_validation(out), load_metrics(out)), strict=True):
        pd.testing.assert_frame_equal(before, after)


# -------------------------------------------------------------------------------------- a full disk


@pytest.mark.parametrize(
    "most", [100_000, 280_000], ids=["no room for decoded images", "no room for progress"]
)
def test_a_full_disk_is_reported_and_leaves_no_partial_files(most, tmp_path):
    """As on a full disk, no file can grow beyond `most` bytes."""
    data, output = tmp_path / "faces", tmp_path / "runs"
    support.write_pictures(data, 60)  # decoded, they take 233,000 bytes
    arguments = ["train", "--data", data, "--output", output, *TRAIN, "--epochs", "2"]
    status, _, said = Command(*arguments, cwd=tmp_path, most=most).finish()
    assert status == 1 and one_sentence(said), said
    # No model, no progress and no half-written file is left.
    assert not [*output.glob("age.[or]*"), *output.glob(".*")]
    status, _, said = Command(*arguments, cwd=tmp_path).finish()
    assert status == 0, said
    LoadedModel.load(output / "age.onnx")


# --------------------------------------------------------------------------------- starting the app


def test_a_port_in_use_is_reported(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FACEMTL_DATA", str(tmp_path / "no-dataset"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["app", "--port", str(port)]) == 1
    said = capsys.readouterr().err
    assert one_sentence(said), said
    assert str(port) in said and "--port" in said


def swapped(models: Path) -> None:
    shutil.copy(models / "race.onnx", models / "age.onnx")


def cut_off(models: Path) -> None:
    content = (models / "age.onnx").read_bytes()
    (models / "age.onnx").write_bytes(content[: len(content) // 2])


def gone(models: Path) -> None:
    (models / "age.onnx").unlink()


@pytest.mark.parametrize(
    ("damage", "named"), [(swapped, r"\bage\b"), (cut_off, r"age\.onnx"), (gone, r"\bage\b")]
)
def test_the_app_does_not_start_with_wrong_or_damaged_models(damage, named, tmp_path, capsys):
    models = shutil.copytree(MODELS, tmp_path / "models")
    damage(models)
    assert main(["app", "--models", str(models)]) == 1
    said = capsys.readouterr().err
    assert one_sentence(said), said
    assert re.search(named, said.splitlines()[-1])


def test_the_app_does_not_start_without_models(tmp_path):
    """In a process of its own, for the exit status of app.py."""
    command = [sys.executable, "app.py", "--models", str(tmp_path / "models")]
    done = subprocess.run(command, cwd=support.ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and one_sentence(done.stderr), done.stderr
    assert "models" in done.stderr.splitlines()[-1]


def app_without(missing: str, copy: Path) -> dict[str, str]:
    """Copy the app, but not the file or folder `missing`. Returns its environment."""
    for name in ("facemtl", "assets"):
        shutil.copytree(
            support.ROOT / name,
            copy / name,
            copy_function=os.symlink,
            ignore=shutil.ignore_patterns("*.py"),
        )
    for file in [
        "app.py",
        "MODEL_CARD.md",
        *(f.relative_to(support.ROOT) for f in support.ROOT.glob("facemtl/**/*.py")),
    ]:
        shutil.copy(support.ROOT / file, copy / file)
    shutil.rmtree(copy / missing) if (copy / missing).is_dir() else (copy / missing).unlink()
    return {"FACEMTL_DATA": str(copy / "no-dataset"), "PYTHONPATH": str(copy)}


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("assets/faces", "There are no images in {}."),
        ("assets/app.css", "{}: No such file"),
        ("MODEL_CARD.md", "{}: No such file"),
    ],
)
def test_the_app_does_not_start_without_these_assets(missing, message, tmp_path):
    environment = {**os.environ, **app_without(missing, tmp_path)}
    done = subprocess.run(
        [sys.executable, "app.py", "--port", str(support.closed_port())],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1 and one_sentence(done.stderr), done.stderr
    assert message.format(tmp_path / missing) in done.stderr.splitlines()[-1]


def test_the_app_starts_without_a_description_or_history(tmp_path):
    """Their two cards are independent: each says what is missing."""
    copy, log = tmp_path / "copy", tmp_path / "log.txt"
    environment = app_without("assets/dataset", copy)
    shutil.rmtree(copy / "assets" / "history")
    with support.running_app(log, environment=environment, cwd=copy) as address:
        assert httpx.get(address, timeout=60).status_code == 200
        page = httpx.get(f"{address}/config", timeout=60).text
    assert "Not described yet" in page
    assert "Make it with `git checkout assets/history/2018.csv`" in page
    assert "Traceback" not in log.read_text()
