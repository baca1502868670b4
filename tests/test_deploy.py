"""The installed app, and the files for its container and its Hugging Face Space."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pandas as pd
import pytest
from packaging.requirements import Requirement

from facemtl import cli
from tests import support
from tests.support import ROOT

PYPROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
REQUIREMENTS = {
    name: {
        requirement.name: requirement
        for line in (ROOT / f"{name}.txt").read_text("utf-8").splitlines()
        if line and not line.lstrip().startswith("#") and (requirement := Requirement(line))
    }
    for name in ("requirements", "requirements-app", "requirements-dev")
}
PINS = {
    name: str(each.specifier).removeprefix("==")
    for name, each in REQUIREMENTS["requirements"].items()
}
TRAINS = {"accelerate", "fastai", "onnx", "onnxscript", "safetensors", "torch", "torchvision"}
SCRIPTS = "Scripts" if sys.platform == "win32" else "bin"
# The lines of the Dockerfile, each as (instruction, arguments).
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
    """The scripts folder of an environment with the project's wheel and requirements-app.txt.

    Nothing else is installed, and the checkout is not in it. With FACEMTL_NEWEST, which
    `make newest` sets, it has the newest versions that pyproject.toml allows.
    """
    folder = tmp_path_factory.mktemp("installed")
    uv = [sys.executable, "-m", "uv", "--quiet"]
    run(*uv, "build", "--wheel", "--python", sys.executable, "--out-dir", folder, ROOT)
    run(sys.executable, "-m", "venv", "--without-pip", folder / "env")
    python = folder / "env" / SCRIPTS / "python"
    (wheel,) = folder.glob("*.whl")
    newest = "FACEMTL_NEWEST" in os.environ
    run(*uv, "pip", "install", *([] if newest else ["--no-deps"]), "--python", python, wheel)
    wheel.unlink()
    if not newest:
        site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        for requirement in REQUIREMENTS["requirements-app"].values():
            if requirement.marker is None or requirement.marker.evaluate():
                link_into(Path(site), requirement.name)
    yield folder / "env" / SCRIPTS
    shutil.rmtree(folder)  # it is large, because of the weights


def link_into(site: Path, name: str) -> None:
    """Link a library of this environment into another one, so that it is not downloaded again."""
    found = distribution(name)
    for top in {
        file.parts[0] for file in found.files if file.parts[0] not in ("..", "__pycache__")
    }:
        (site / top).symlink_to(found.locate_file(top))


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def environment() -> dict[str, str]:
    return {
        k: v
        for k, v in os.environ.items()
        if k != "PYTHONPATH" and not k.startswith(("FACEMTL_", "GRADIO_"))
    }


@pytest.fixture(scope="session")
def address(installed, tmp_path_factory) -> Iterator[str]:
    """The address of the installed app, started in another folder."""
    folder, port = tmp_path_factory.mktemp("elsewhere"), support.closed_port()
    with (folder / "log.txt").open("w") as log:
        command = [installed / "facemtl", "app", "--port", str(port)]
        process = subprocess.Popen(
            command, cwd=folder, env=environment(), stdout=log, stderr=subprocess.STDOUT
        )
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
    run(
        installed / "facemtl",
        "predict",
        "face.jpg",
        "--no-detect",
        "--csv",
        "out.csv",
        cwd=tmp_path,
    )
    table = pd.read_csv(tmp_path / "out.csv")
    assert list(table["model"].unique()) == [loaded.name for loaded in predictor.models]
    where = run(
        installed / "python",
        "-c",
        "import facemtl.paths as p; print(p.__file__, p.ASSETS, p.MODEL_CARD)",
        cwd=tmp_path,
    )
    assert str(ROOT) not in where and all(Path(path).exists() for path in where.split())


def test_training_libraries_are_not_installed_and_reported_as_missing(installed, tmp_path):
    code = (
        f"from importlib.util import find_spec; print(*[n for n in {sorted(TRAINS)} if"
        " find_spec(n)])"
    )
    assert run(installed / "python", "-c", code).split() == []
    support.write_pictures(tmp_path / "faces", 60)
    command = [installed / "facemtl", "train", "--data", tmp_path / "faces"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1
    assert (
        re.search(r"needs \w+, which is not installed", done.stderr)
        and "Traceback" not in done.stderr
    )


def test_the_wheel_holds_all_assets(installed):
    (inside,) = installed.parent.rglob("facemtl/assets")
    assert support.contents(inside) == support.contents(ROOT / "assets")


def test_the_installed_app_shows_its_page_and_all_tabs(address):
    page = urllib.request.urlopen(address, timeout=30).read().decode()
    assert re.search(r'"title": ?"facemtl"', page)
    config = urllib.request.urlopen(f"{address}config", timeout=30).read().decode()
    for tab in ("compare", "faces", "guess", "validation", "training", "dataset", "about"):
        assert f'"id": "{tab}"' in config or f'"id":"{tab}"' in config
    card = (ROOT / "MODEL_CARD.md").read_text("utf-8").split("\n")[0]
    assert re.search(rf'"value": ?"{re.escape(card)}', config)


# ------------------------------------------------------------------------------------ requirements


def named(part: str) -> set[str]:
    """The names of the libraries in a list of pyproject.toml, such as `dependencies`."""
    listed = re.search(rf"^{part} = \[(.*?)^\]", PYPROJECT, re.M | re.S)[1]
    return set(re.findall(r'^ {4}"([\w-]+)[><=]', listed, re.M))


@pytest.mark.parametrize(
    ("part", "whole"), [("requirements-app", "requirements"), ("requirements", "requirements-dev")]
)
def test_the_smaller_requirements_have_the_same_pins(part, whole):
    assert {str(each) for each in REQUIREMENTS[part].values()} < {
        str(each) for each in REQUIREMENTS[whole].values()
    }


def test_requirements_are_those_of_the_project():
    assert named("train") == TRAINS
    assert named("dependencies") <= REQUIREMENTS["requirements-app"].keys()
    assert named("dependencies") | TRAINS <= REQUIREMENTS["requirements"].keys()
    assert not TRAINS & REQUIREMENTS["requirements-app"].keys()


def test_make_installs_the_requirements_of_each_target():
    rules = dict(re.findall(r"^(\w+): (.*?) *##", (ROOT / "Makefile").read_text("utf-8"), re.M))
    assert rules["run"] == ".venv/requirements-app.stamp"
    assert rules["test"] == rules["lint"] == ".venv/requirements-dev.stamp"


@pytest.mark.parametrize("file", ["Makefile", "README.md"])
def test_all_files_name_the_same_python_versions(file):
    oldest, after = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', PYPROJECT).groups()
    text, wanted = (ROOT / file).read_text("utf-8"), f"3.{oldest} to 3.{int(after) - 1}"
    assert set(re.findall(r"Python (3\.\d+ to 3\.\d+)", text)) == {wanted}
    checks = re.findall(r"\((3, \d+)\) <= .* <= \((3, \d+)\)", text)
    assert checks or file != "Makefile"
    for low, high in checks:
        assert f"{low} to {high}".replace(", ", ".") == wanted


# --------------------------------------------------------------------------------------- container


def instructions(name: str, stage=DOCKER) -> list[str]:
    return [arguments for instruction, arguments in stage if instruction == name]


def test_files_that_the_image_copies_exist_and_are_not_ignored():
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert ignored[0] == "*"
    sent = {line[1:] for line in ignored if line.startswith("!")}
    sources = {
        word
        for line in instructions("COPY")
        if not line.startswith("--from")
        for word in shlex.split(line)[:-1]
    }
    assert sources == sent
    assert all((ROOT / source).exists() for source in sources)
    wanted = set(re.findall(r'^"([^"]+)" = "facemtl/', PYPROJECT, re.M)) | {
        "pyproject.toml",
        "facemtl",
        "requirements-app.txt",
    }
    assert sources >= wanted


def test_the_image_installs_the_requirements_of_the_app():
    copied = [word for line in instructions("COPY") for word in shlex.split(line)]
    installs = [line for line in instructions("RUN") if "pip install" in line]
    assert installs == ["pip install --requirement requirements-app.txt", "pip install --no-deps ."]
    assert "requirements-app.txt" in copied and "requirements.txt" not in copied


def test_the_container_runs_the_app_and_not_as_root():
    names = [name for name, _ in LAST_STAGE]
    (user,) = instructions("USER", LAST_STAGE)
    assert user not in ("root", "0") and any(
        user in line for line in instructions("RUN", LAST_STAGE) if "useradd" in line
    )
    assert names.index("USER") < names.index("CMD")
    (command,) = map(json.loads, instructions("CMD", LAST_STAGE))
    options = vars(parse(*command[1:]))
    assert command[0] == "facemtl" and "facemtl = " in PYPROJECT
    assert options["host"] == "0.0.0.0" and instructions("EXPOSE", LAST_STAGE) == [
        str(options["port"])
    ]


def test_the_health_check_fails_without_a_running_app(address):
    (line,) = instructions("HEALTHCHECK", LAST_STAGE)
    command = json.loads(line.split("CMD ", 1)[1])
    assert command[0] == "python"
    shown = "http://127.0.0.1:7860/"
    for url, healthy in ((address, True), (f"http://127.0.0.1:{support.closed_port()}/", False)):
        asked = [argument.replace(shown, url) for argument in command[1:]]
        assert asked != command[1:]
        assert (
            subprocess.run([sys.executable, *asked], capture_output=True, timeout=60).returncode
            == 0
        ) is healthy


# ------------------------------------------------------------------------------------------- Space


def test_the_settings_of_the_space_fit_the_project():
    head = (ROOT / "README.md").read_text("utf-8").split("---\n")[1]
    settings = {name: value.strip('"') for name, value in re.findall(r"^(\w+): (.+)$", head, re.M)}
    assert settings["sdk"] == "gradio" and settings["sdk_version"] == PINS["gradio"]
    assert (ROOT / settings["app_file"]).is_file() and (ROOT / settings["license_link"]).is_file()
    assert f"FROM python:{settings['python_version']}-slim" in (ROOT / "Dockerfile").read_text(
        "utf-8"
    )
    assert 0 < len(settings["short_description"]) <= 60 and settings["title"] and settings["emoji"]
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {settings["colorFrom"], settings["colorTo"]} <= colours


def test_the_app_listens_on_the_host_that_a_space_sets(monkeypatch):
    assert parse("app").host == "127.0.0.1"
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    assert parse("app").host == "0.0.0.0"
