"""Faults of real machines: killed processes, full disks, ports in use, damaged files."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pandas as pd
import pytest

from facemtl.cli import main
from facemtl.data.reading import VALIDATION, read_images
from facemtl.evaluation.validation import load_metrics, load_validation
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
    whole, files = (load_validation(out), load_metrics(out)), [*out.iterdir()]
    images, _ = read_images(support.COMPOSITES, progress=False)
    validated = images[images["split"] == VALIDATION]["sha256"].str[:16]
    assert set(whole[0]["image"]) == set(validated)
    for file in files:
        file.write_bytes(b"old")
    start().kill_once(lambda: any(out.glob(".*.partial")))
    old = [file for file in files if file.exists() and file.read_bytes() == b"old"]
    assert old in ([], files) or not {*out.glob("[!.]*.*")} - {*old}  # never old and new ones
    status, _, said = start().finish()
    assert status == 0, said
    assert support.contents(models) == untouched and not [*out.glob(".*")]
    for before, after in zip(whole, (load_validation(out), load_metrics(out)), strict=True):
        pd.testing.assert_frame_equal(before, after)


# ----------------------------------------------------------------------------------------- Ctrl-C


def test_an_interrupted_training_can_be_resumed(tmp_path, synthetic_faces):
    output = tmp_path / "runs"
    arguments = ["train", "--data", synthetic_faces, "--output", output, *TRAIN]
    command = Command(*arguments, cwd=tmp_path)
    command.interrupt_once((output / "age.resume.pt").exists)
    status, _, said = command.finish()
    assert status == 130 and one_sentence(said), said
    assert {file.name for file in output.iterdir()} == {"age.resume.pt", "age.history.csv"}
    status, _, said = Command(*arguments, "--resume", cwd=tmp_path).finish()
    assert status == 0, said
    LoadedModel.load(output / "age.onnx")


def test_an_interrupted_prediction_can_be_resumed(tmp_path):
    support.write_model(tmp_path / "models", TASKS, "multitask")
    files = ["--models", tmp_path / "models", "--csv", tmp_path / "out.csv"]
    arguments = ["predict", support.COMPOSITES, "--no-detect", *files]
    command, journal = Command(*arguments, cwd=tmp_path), tmp_path / ".out.csv.journal"
    command.interrupt_once(lambda: journal.exists() and journal.read_bytes().count(b"\n") > 4)
    status, _, said = command.finish()
    assert status == 130 and one_sentence(said), said
    assert [file.name for file in tmp_path.glob("*out.csv")] == []
    status, printed, said = Command(*arguments, cwd=tmp_path).finish()
    assert status == 0 and "140 images" in printed, said


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize(
    ("command", "ended_by"),
    [("predict", "SIGTERM"), ("robustness", "SIGTERM"), ("evaluate", "SIGHUP")],
)
def test_a_terminated_command_tidies_up(command, ended_by, tmp_path):
    """Some programs send the signal twice."""
    temporary, out = tmp_path / "temporary", tmp_path / "out"
    temporary.mkdir()
    given = ["--data", support.COMPOSITES, "--output", out]
    if command == "predict":
        given = [support.COMPOSITES, "--no-detect"]
    process = support.facemtl(command, *given, cwd=tmp_path, TMPDIR=str(temporary))
    until = time.monotonic() + 60
    while not any((*temporary.rglob(".*.journal"), *tmp_path.glob("out/.*.lock"))):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.002)
    time.sleep(1)  # in which it may import something
    for _ in range(2):
        process.send_signal(signal.Signals[ended_by])
    status, printed, said = support.finish(process)
    assert status == 130 and one_sentence(said) and not printed, said
    assert not [*temporary.iterdir()] and not out.exists()


def test_an_app_that_is_interrupted_while_it_starts_says_so(tmp_path):
    """It imports gradio and loads the models, each in a thread of its own."""
    process = support.facemtl("app", cwd=tmp_path, PYTHONUNBUFFERED="1")
    assert process.stdout.readline().startswith("Loading")
    process.send_signal(signal.SIGINT)
    status, _, said = support.finish(process)
    assert status == 130 and one_sentence(said), said


@pytest.mark.parametrize("is_shown", [False, True])
def test_an_unexpected_error_is_one_line_unless_more_is_asked_for(is_shown):
    broken = "import facemtl.cli, facemtl.__main__ as m; facemtl.cli._parser = None; exit(m.main())"
    environment = {**support.inherited(), **({"FACEMTL_TRACEBACK": "1"} if is_shown else {})}
    done = subprocess.run(
        [sys.executable, "-c", broken], cwd=support.ROOT, env=environment, stderr=-1, text=True
    )
    said = done.stderr.strip().splitlines()
    assert done.returncode == 1 and re.search("TypeError.*FACEMTL_TRACEBACK=1", said[-1]), said
    assert (len(said) > 1) is ("Traceback" in done.stderr) is is_shown


# -------------------------------------------------------------------------------------- a full disk


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Callable[[int], Path]]:
    """A function that makes a disk of so many bytes."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def make(size: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("only root can mount a small disk")
        return disk

    yield make
    subprocess.run(["umount", str(disk)], capture_output=True)


def test_a_full_disk_is_named_and_gets_no_partial_files(small_disk, tmp_path):
    disk = small_disk(80_000)
    data, output = tmp_path / "faces", disk / "runs"
    support.write_pictures(data, 60)
    arguments = ["train", "--data", data, "--output", output, *TRAIN, "--epochs", "2"]
    status, _, said = Command(*arguments, cwd=tmp_path).finish()
    assert status == 1 and one_sentence(said), said
    assert re.search(rf"{disk}/.*: No space left on device\. Make room", said), said
    # No model, no progress and no half-written file is left.
    assert not [*output.glob("age.[or]*"), *output.glob(".*")]
    subprocess.run(["mount", "-o", "remount,size=10m", str(disk)], check=True)
    status, _, said = Command(*arguments, cwd=tmp_path).finish()
    assert status == 0, said
    LoadedModel.load(output / "age.onnx")


def test_a_training_goes_on_after_a_full_disk_as_its_message_says(small_disk, tmp_path):
    """There is room for the progress of the first epoch, but not for that of the second one."""
    disk = small_disk(10_000_000)
    support.write_pictures(data := tmp_path / "faces", 60)
    arguments = ["train", "--data", data, "--output", disk / "runs", *TRAIN]
    Command(*arguments, cwd=tmp_path).kill_once((disk / "runs" / "age.resume.pt").exists)
    size = (disk / "runs" / "age.resume.pt").stat().st_size
    shutil.rmtree(disk / "runs")
    subprocess.run(["mount", "-o", f"remount,size={size * 3 // 2}", str(disk)], check=True)
    status, _, said = Command(*arguments, cwd=tmp_path).finish()
    assert status == 1 and one_sentence(said), said
    assert re.search(r"runs/age\.resume\.pt: No space .* Add --resume", said), said
    subprocess.run(["mount", "-o", "remount,size=10m", str(disk)], check=True)
    status, _, said = Command(*arguments, "--resume", cwd=tmp_path).finish()
    assert status == 0, said
    LoadedModel.load(disk / "runs" / "age.onnx")


def test_a_training_without_space_for_decoded_images_goes_on(small_disk, tmp_path):
    """They take 233,000 bytes, beside the data."""
    disk = small_disk(140_000)
    (data := disk / "faces").mkdir()
    for file in support.write_pictures(tmp_path / "faces", 60):
        (data / file.name).symlink_to(file)
    arguments = ["train", "--data", data, "--output", tmp_path / "runs", *TRAIN, "--epochs", "1"]
    status, _, said = Command(*arguments, cwd=tmp_path).finish()
    assert status == 0, said
    assert re.search(rf"cannot be kept: {disk}/cache/.*: No space left on device\.", said), said
    assert not [*(disk / "cache").iterdir()]
    LoadedModel.load(tmp_path / "runs" / "age.onnx")


needs_full_device = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="only Linux has a full device"
)
PREDICT = "predict faces --no-detect --models models"


@pytest.fixture
def shell(tmp_path) -> Callable[..., subprocess.CompletedProcess]:
    """A function that runs a command in a shell, beside models, a face and a damaged image."""
    support.write_model(tmp_path / "models", TASKS, "multitask")
    (tmp_path / "faces").mkdir()
    shutil.copy(support.composites(1)[0], tmp_path / "faces")
    (tmp_path / "faces" / "broken.jpg").write_text("hello")

    def run(command: str, stderr: int = -1, **environment: str) -> subprocess.CompletedProcess:
        environment = {**support.inherited(), "PYTHONPATH": str(support.ROOT), **environment}
        command = f"exec '{sys.executable}' -m facemtl {command}"
        return subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, stdout=-1, stderr=stderr, text=True
        )

    return run


@needs_full_device
@pytest.mark.parametrize("command", ["describe --data faces --output counts", PREDICT])
def test_output_to_a_full_disk_is_reported(command, shell):
    done = shell(f"{command} >/dev/full")
    assert done.returncode == 1 and one_sentence(done.stderr), done.stderr
    assert "The output: No space left on device" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("stderr", ["full", "closed", "a pipe that nobody reads"])
def test_messages_that_cannot_be_shown_do_not_end_the_work(stderr, unbuffered, shell, tmp_path):
    redirected, writer = {"full": "2>/dev/full", "closed": "2>&-"}.get(stderr, ""), -1
    if not redirected:
        reader, writer = os.pipe()
        os.close(reader)
    elif stderr == "full" and not Path("/dev/full").exists():
        pytest.skip("only Linux has a full device")
    done = shell(f"{PREDICT} --csv out.csv {redirected}", writer, PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 0 and "1 image left out" in done.stdout
    assert len(pd.read_csv(tmp_path / "out.csv")) == len(TASKS)
    if writer >= 0:
        os.close(writer)


# ---------------------------------------------------------------------------------- closed outputs


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
@pytest.mark.parametrize(("closed", "lines"), [(1, ["", "facemtl: "]), (2, ["Loading ", ""])])
def test_a_command_runs_without_an_output(closed, lines):
    command = f"exec '{sys.executable}' -m facemtl app --port 0 {closed}>&-"
    done = subprocess.run(command, shell=True, cwd=support.ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    for said, line in zip((done.stdout, done.stderr), lines, strict=True):
        assert said.startswith(line) and said.count("\n") == bool(line), said


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_predictions_that_would_be_lost_are_not_made(shell, tmp_path):
    done = shell(f"{PREDICT} >&-")
    assert done.returncode == 1 and "output is closed" in done.stderr
    assert shell(f"{PREDICT} --csv out.csv >&-").returncode == 0
    assert len(pd.read_csv(tmp_path / "out.csv")) == len(TASKS)


@pytest.mark.skipif(os.name == "nt", reason="Windows deletes no folder that is in use")
@pytest.mark.parametrize("command", ["predict x.jpg --csv out.csv", "download --data new"])
def test_a_deleted_working_folder_is_named(command, tmp_path):
    (here := tmp_path / "here").mkdir()
    started = f"cd '{here}' && rmdir '{here}' && exec '{sys.executable}' -m facemtl {command}"
    environment = {**support.inherited(), "PYTHONPATH": str(support.ROOT)}
    done = subprocess.run(started, shell=True, env=environment, stderr=-1, text=True)
    assert done.returncode == 1 and one_sentence(done.stderr), done.stderr
    assert "The working folder: No such file" in done.stderr


def test_an_output_that_nobody_reads_is_reported_and_leaves_no_journal(tmp_path):
    support.write_model(tmp_path / "models", TASKS, "multitask")
    files = ["--models", tmp_path / "models", "--csv", tmp_path / "out.csv"]
    arguments = ["predict", support.composites(1)[0], "--no-detect", *files]
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "facemtl", *map(str, arguments)]
    done = subprocess.run(command, cwd=support.ROOT, stdout=writer, stderr=-1, text=True)
    os.close(writer)
    assert done.returncode == 1 and one_sentence(done.stderr), done.stderr
    assert done.stderr.count("facemtl: ") == 1 and "output was closed" in done.stderr
    assert {file.name for file in tmp_path.iterdir()} == {"models", "out.csv"}


# ---------------------------------------------------------------------------------- an unknown user


def test_a_user_without_a_name_and_a_home_can_download(tmp_path):
    """As in a container with a random user. The capability lets it read the installation."""
    read = "+dac_read_search"
    user = ["--reuid", "12345", "--regid", "12345", "--clear-groups"]
    become = ["setpriv", *user, f"--inh-caps={read}", f"--ambient-caps={read}"]
    if (
        not shutil.which("setpriv")
        or subprocess.run([*become, "true"], capture_output=True).returncode
    ):
        pytest.skip("only root can become another user")
    environment = {k: v for k, v in support.inherited().items() if k not in ("HOME", "USER")}
    environment |= {"HF_ENDPOINT": f"http://127.0.0.1:{support.closed_port()}"}
    command = [sys.executable, "-m", "facemtl", "download", "--data", "/tmp/facemtl-unknown-user"]
    done = subprocess.run(
        [*become, *command], cwd=support.ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1 and one_sentence(done.stderr), done.stderr
    assert "Check the network" in done.stderr


def test_training_without_a_home_prints_nothing_of_it(tmp_path):
    """Matplotlib would tell where its cache is."""
    process = support.facemtl("train", "--data", tmp_path, cwd=tmp_path, HOME=os.devnull)
    status, _, said = support.finish(process)
    assert status == 1 and one_sentence(said) and said.count("\n") == 1, said


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


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--port", "99999"], "--port must be .* 65535; found 99999"),
        (["--port", "0"], "--port must be"),
        (["--port", "-5"], "--port must be"),
        (["--host", "no such host"], "no such host.*--host"),
        (["--host", "a" * 300], "--host"),
    ],
)
def test_an_address_that_cannot_be_is_reported_at_once(arguments, named, capsys):
    assert main(["app", *arguments]) == 1
    said = capsys.readouterr().err
    assert one_sentence(said) and re.search(named, said), said


@pytest.mark.parametrize(("name", "given"), [("SERVER_PORT", "x"), ("NUM_PORTS", "abc")])
def test_a_variable_of_gradio_that_is_no_number_is_reported(name, given, monkeypatch, capsys):
    monkeypatch.setenv(f"GRADIO_{name}", given)
    assert main(["app"]) == 1
    said = capsys.readouterr().err
    assert one_sentence(said) and f"GRADIO_{name} must be a number" in said, said


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


def copied_app(copy: Path) -> dict[str, str]:
    """Copy the app to `copy`. Returns the environment in which the copy runs."""
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
    return {"FACEMTL_DATA": str(copy / "no-dataset"), "PYTHONPATH": str(copy)}


# What an app says that starts without a file or a folder.
MISSING = {"assets/faces": "There are no images in {}.", "MODEL_CARD.md": "{}: No such file"}
# Starts the app without each of them, then without a description and a history. All in one process,
# because importing gradio takes seconds.
START_WITHOUT = f"""
import os, shutil, sys
from facemtl.__main__ import main
for missing in {[*MISSING]}:
    os.rename(missing, "away")
    assert main(["app", *sys.argv[1:]]) == 1, missing
    os.rename("away", missing)
    print("next", file=sys.stderr)
for missing in ("dataset", "history"):
    shutil.rmtree(f"assets/{{missing}}")
sys.exit(main(["app", *sys.argv[1:]]))
"""


def test_the_app_does_not_start_without_its_assets_but_without_a_description_or_history(tmp_path):
    """The two cards of the latter are independent: each says what is missing."""
    copy, log = tmp_path / "copy", tmp_path / "log.txt"
    environment, program = copied_app(copy), ("-c", START_WITHOUT)
    with support.running_app(log, environment=environment, cwd=copy, program=program) as address:
        assert httpx.get(address, timeout=60).status_code == 200
        page = httpx.get(f"{address}/config", timeout=60).text
    assert "No counts yet" in page
    assert "Make it with <code>git checkout assets/history/2018.csv</code>" in page
    assert "Traceback" not in log.read_text()
    *all_said, _ = log.read_text().split("next\n")
    for (missing, message), said in zip(MISSING.items(), all_said, strict=True):
        assert one_sentence(said), said
        assert message.format(copy / missing) in said.splitlines()[-1]
