"""The app installed, and what can be seen of its container and of its Space without either."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from facemtl import cli
from tests import support
from tests.support import ROOT

PYPROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
PINS = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "requirements.txt").read_text("utf-8"), re.M))
SCRIPTS = "Scripts" if sys.platform == "win32" else "bin"
# (instruction, its arguments as text) of each line of the Dockerfile
DOCKER = [
    tuple(line.split(" ", 1))
    for line in (ROOT / "Dockerfile").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
]
LAST_STAGE = DOCKER[max(i for i, (name, _) in enumerate(DOCKER) if name == "FROM") :]


def parse(*arguments: str):
    return cli._parser().parse_args(arguments)


# --------------------------------------------------------------------------------------- installed


@pytest.fixture(scope="session")
def installed(tmp_path_factory) -> Path:
    """The scripts of an environment into which the project's wheel is installed, without the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    uv = [sys.executable, "-m", "uv", "--quiet"]
    run(*uv, "build", "--wheel", "--python", sys.executable, "--out-dir", folder, ROOT)
    run(sys.executable, "-m", "venv", "--without-pip", folder / "env")
    python = folder / "env" / SCRIPTS / "python"
    (wheel,) = folder.glob("*.whl")
    run(*uv, "pip", "install", "--no-deps", "--python", python, wheel)
    wheel.unlink()
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    Path(site, "libraries.pth").write_text(sysconfig.get_path("purelib"))  # not fetched again
    yield folder / "env" / SCRIPTS
    shutil.rmtree(folder)  # the weights are large


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k != "PYTHONPATH" and not k.startswith(("FACEMTL_", "GRADIO_"))}


@pytest.fixture(scope="session")
def address(installed, tmp_path_factory) -> Iterator[str]:
    """Of the installed app, started from another folder."""
    folder, port = tmp_path_factory.mktemp("elsewhere"), support.closed_port()
    with (folder / "log.txt").open("w") as log:
        command = [installed / "facemtl", "app", "--port", str(port)]
        process = subprocess.Popen(command, cwd=folder, env=environment(), stdout=log, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + 300
        while "Running on" not in (log := (folder / "log.txt").read_text()):
            assert process.poll() is None and time.monotonic() < until, log
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(30)


def test_installed_models_predict_in_any_folder(installed, tmp_path, predictor):
    face = support.composites(140)[70]
    shutil.copy(face, tmp_path / "face.jpg")
    run(installed / "facemtl", "predict", "face.jpg", "--no-detect", "--csv", "out.csv", cwd=tmp_path)
    table = pd.read_csv(tmp_path / "out.csv")
    assert list(table["model"].unique()) == [loaded.name for loaded in predictor.models]
    where = run(
        installed / "python", "-c", "import facemtl.places as p; print(p.__file__, p.ASSETS, p.MODEL_CARD)", cwd=tmp_path
    )
    assert str(ROOT) not in where and all(Path(path).exists() for path in where.split())


def test_the_wheel_holds_all_assets(installed):
    (inside,) = installed.parent.rglob("facemtl/assets")
    assert support.contents(inside) == support.contents(ROOT / "assets")


def test_the_installed_app_shows_its_page_and_all_tabs(address):
    page = urllib.request.urlopen(address, timeout=30).read().decode()
    assert "facemtl" in page
    config = urllib.request.urlopen(f"{address}config", timeout=30).read().decode()
    for tab in ("compare", "random", "guess", "validation", "dataset", "training", "about"):
        assert f'"id": "{tab}"' in config or f'"id":"{tab}"' in config
    assert "Model card" in config or "model card" in config


# --------------------------------------------------------------------------------------- container


def instructions(name: str, stage=DOCKER) -> list[str]:
    return [arguments for instruction, arguments in stage if instruction == name]


def test_what_the_image_copies_exists_and_is_sent_to_the_builder():
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert ignored[0] == "*"
    sent = {line[1:] for line in ignored if line.startswith("!")}
    sources = {word for line in instructions("COPY") if not line.startswith("--from") for word in shlex.split(line)[:-1]}
    assert sources == sent
    assert all((ROOT / source).exists() for source in sources)
    wanted = set(re.findall(r'^"([^"]+)" = "facemtl/', PYPROJECT, re.M)) | {"pyproject.toml", "facemtl", "requirements.txt"}
    assert sources >= wanted


def test_the_image_installs_what_the_project_needs_but_for_what_trains():
    needed = set(re.findall(r'^ {4}"([\w-]+)[><=]', PYPROJECT.split("dependencies = [")[1].split("]")[0], re.M))
    (line,) = [line for line in instructions("RUN") if "--constraint" in line]
    assert set(shlex.split(line)[4:]) == needed - {"fastai"}
    (of_torch,) = [line for line in instructions("RUN") if "download.pytorch.org/whl/cpu" in line]
    pattern = re.search(r"'(.+?)' requirements.txt", of_torch)[1].replace("^", r"(?m)^")
    found = [match.group() for match in re.finditer(pattern, (ROOT / "requirements.txt").read_text("utf-8"))]
    assert sorted(found) == [f"torch=={PINS['torch']}", f"torchvision=={PINS['torchvision']}"]


def test_the_container_is_not_root_and_runs_what_there_is():
    names = [name for name, _ in LAST_STAGE]
    (user,) = instructions("USER", LAST_STAGE)
    assert user not in ("root", "0") and any(user in line for line in instructions("RUN", LAST_STAGE) if "useradd" in line)
    assert names.index("USER") < names.index("CMD")
    (command,) = map(json.loads, instructions("CMD", LAST_STAGE))
    options = vars(parse(*command[1:]))
    assert command[0] == "facemtl" and "facemtl = " in PYPROJECT
    assert options["host"] == "0.0.0.0" and instructions("EXPOSE", LAST_STAGE) == [str(options["port"])]


def test_the_health_check_tells_a_running_app_from_none(address):
    (line,) = instructions("HEALTHCHECK", LAST_STAGE)
    command = json.loads(line.split("CMD ", 1)[1])
    assert command[0] == "python"
    shown = "http://127.0.0.1:7860/"
    for url, healthy in ((address, True), (f"http://127.0.0.1:{support.closed_port()}/", False)):
        asked = [argument.replace(shown, url) for argument in command[1:]]
        assert asked != command[1:]
        assert (subprocess.run([sys.executable, *asked], capture_output=True, timeout=60).returncode == 0) is healthy


# ------------------------------------------------------------------------------------------- Space


def test_the_settings_of_the_space_fit_the_project():
    head = (ROOT / "README.md").read_text("utf-8").split("---\n")[1]
    settings = {name: value.strip('"') for name, value in re.findall(r"^(\w+): (.+)$", head, re.M)}
    assert settings["sdk"] == "gradio" and settings["sdk_version"] == PINS["gradio"]
    assert (ROOT / settings["app_file"]).is_file() and (ROOT / settings["license_link"]).is_file()
    assert f"FROM python:{settings['python_version']}-slim" in (ROOT / "Dockerfile").read_text("utf-8")
    assert 0 < len(settings["short_description"]) <= 60 and settings["title"] and settings["emoji"]
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {settings["colorFrom"], settings["colorTo"]} <= colours


def test_the_host_is_the_one_that_a_space_sets(monkeypatch):
    assert parse("app").host == "127.0.0.1"
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    assert parse("app").host == "0.0.0.0"
