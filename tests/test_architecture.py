"""The structure of the project, checked in its source: imports, libraries, no pickles."""

import ast
import gzip
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "facemtl"
SOURCES = [ROOT / "app.py", *sorted(PACKAGE.rglob("*.py"))]

# A module imports only from modules before it.
ORDER = [
    "errors", "escapes", "paths", "regular", "files", "outputs", "scratch", "processes",
    "label_sets", "metrics", "tasks", "data", "faces", "models", "training", "inference",
    "evaluation", "plots", "ui", "commands", "cli",
]  # fmt: skip
HOMES = {
    "gradio": {"ui"},
    "plotly": {"plots"},
    "fastai": {"training"},
    "torch": {"models", "training"},
    "onnxruntime": {"faces", "inference"},
    "onnx": {"faces", "inference", "models"},
}
# Libraries that must not be imported when prediction or the command line starts. The tests of the
# predictor look at the app, too.
TRAINS = {
    "fastai",
    "matplotlib",
    "onnx",
    "onnxscript",
    "safetensors",
    "scipy",
    "torch",
    "torchvision",
}
STARTS = {
    "ui.launch": {*TRAINS, "gradio"},
    "faces": {*TRAINS, "gradio"},
    "cli": {*TRAINS, "gradio", "plotly"},
}
PICKLERS = {"pickle", "cloudpickle", "dill", "joblib", "shelve"}
MAX_LINES = 400

every_source = pytest.mark.parametrize(
    "path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix()
)


def module_of(path: Path) -> str:
    """The module of a file, as named in ORDER: `tasks`, `ui` for all of ui/, or `app`."""
    return (
        path.relative_to(PACKAGE if path.is_relative_to(PACKAGE) else ROOT)
        .parts[0]
        .removesuffix(".py")
    )


def imports(source: str, package: str = "facemtl") -> set[str]:
    """The dotted, absolute names of everything that a file in `package` imports.

    Imports inside functions count. Imports under TYPE_CHECKING do not.
    """
    names, tree = set(), ast.parse(source)
    blocks = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    only_typed = {id(inner) for block in blocks for inner in ast.walk(block)}
    for node in ast.walk(tree):
        if id(node) in only_typed:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            names |= {f"{origin}.{alias.name}" for alias in node.names}
    return names


def imports_of(path: Path) -> set[str]:
    return imports(path.read_text("utf-8"), ".".join(path.parent.relative_to(ROOT).parts))


def picklers(imported: set[str]) -> set[str]:
    return PICKLERS & {name.split(".")[0] for name in imported}


def against_the_flow(module: str, imported: set[str]) -> set[str]:
    """Our modules that `module` imports, although they are not above it in ORDER."""
    known = {*ORDER, "__main__"}
    ours = {name.split(".")[1] for name in imported if name.startswith("facemtl.")} & known
    ours |= {"research"} & {name.split(".")[0] for name in imported}
    if module == "app":
        return ours - {*ORDER, "__main__"}
    if module == "__main__":
        return ours - {"cli"}
    above = {*ORDER[: ORDER.index(module)], module} if module in ORDER else set()
    if module == "ui":
        above -= {"training"}
    return ours - above


def away_from_home(module: str, imported: set[str]) -> set[str]:
    """The libraries that `module` imports, although their home is another module."""
    return {
        library
        for name in imported
        if module not in HOMES.get(library := name.split(".")[0], {module})
    }


def unpickled(source: str) -> list[str]:
    """The calls in `source` that may run code hidden in a data file."""
    found = []
    for node in ast.walk(ast.parse(source)):
        call = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        options = {
            word.arg: ast.unparse(word.value) for word in getattr(node, "keywords", []) if word.arg
        }
        if call == "torch.load" and options.get("weights_only") != "True":
            found.append(ast.unparse(node))
        if (
            call.split(".")[-1] in {"load_learner", "read_pickle"}
            or options.get("allow_pickle") == "True"
        ):
            found.append(ast.unparse(node))
    return found


def test_the_map_names_every_module_once():
    modules = {module_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__", "__main__"}
    assert sorted(ORDER) == sorted(modules)


@every_source
def test_a_module_imports_only_from_modules_above_it(path):
    assert not against_the_flow(module_of(path), imports_of(path))


@pytest.mark.parametrize(
    ("module", "package", "source", "wrong"),
    [
        ("tasks", "facemtl", "from .data.reading import read_images", {"data"}),
        ("tasks", "facemtl", "def f():\n    from . import errors, plots", {"plots"}),
        ("data", "facemtl", "import facemtl.models", {"models"}),
        ("commands", "facemtl", "from .training import train\nfrom .ui.launch import serve", set()),
        ("ui", "facemtl.ui", "from ..training import train", {"training"}),
        (
            "training",
            "facemtl.training",
            "from .config import TrainConfig\nfrom ..plots import bars",
            {"plots"},
        ),
        (
            "ui",
            "facemtl.ui",
            "from . import theme\nfrom .compare import build\nfrom ..plots import bars",
            set(),
        ),
        ("__init__", "facemtl", "from .tasks import TASKS", {"tasks"}),
        ("errors", "facemtl", "from .__main__ import main", {"__main__"}),
        ("__main__", "facemtl", "from .training import train", {"training"}),
        ("cli", "facemtl", "from research.report import fill", {"research"}),
        ("app", "", "from facemtl.ui import build_app", set()),
    ],
)
def test_an_import_against_the_flow_is_seen(module, package, source, wrong):
    assert against_the_flow(module, imports(source, package)) == wrong


@every_source
def test_each_library_has_one_home(path):
    assert not away_from_home(module_of(path), imports_of(path))


@pytest.mark.parametrize("library", HOMES)
def test_a_library_away_from_home_is_seen(library):
    for source in (
        f"import {library}",
        f"import {library}.sub as s",
        f"def f():\n    from {library}.sub import name",
    ):
        assert away_from_home("tasks", imports(source)) == {library}
        assert all(not away_from_home(home, imports(source)) for home in HOMES[library])


@every_source
def test_nothing_is_unpickled(path):
    assert not picklers(imports_of(path))
    assert not unpickled(path.read_text("utf-8"))


def read_elsewhere(source: str) -> list[str]:
    """The calls in `source` that open a file for reading by its path.

    They would wait for a named pipe. `regular` opens files.
    """
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        modes = [ast.literal_eval(a) for a in node.args if isinstance(a, ast.Constant)]
        is_written = any({*str(mode)} & {*"wax"} for mode in modes)
        is_open = called == "open" or called.endswith(".open")
        is_open &= called.split(".")[0] not in ("Image", "os", "tarfile")  # given what is open
        is_read = called.endswith((".read_text", ".read_bytes", "np.load", "onnx.load"))
        is_read |= called == "pd.read_csv" and "BytesIO" not in ast.unparse(node)
        if is_read or (is_open and not is_written):
            found.append(ast.unparse(node))
    return found


@every_source
def test_files_are_opened_by_one_module(path):
    if path.stem != "regular":
        assert not read_elsewhere(path.read_text("utf-8"))


@pytest.mark.parametrize(
    "source",
    ["file.open()", "open(file, 'rb')", "file.read_bytes()", "pd.read_csv(file)", "np.load(file)"],
)
def test_a_file_that_is_opened_elsewhere_is_seen(source):
    assert read_elsewhere(source) and not read_elsewhere("file.open('wb')\nread_bytes(file)")


@pytest.mark.parametrize(
    "source",
    [
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "def f(): return load_learner(file)",
        "fastai.learner.load_learner(file)",
        "np.load(file, allow_pickle=True)",
        "pd.read_pickle(file)",
    ],
)
def test_unpickling_is_seen(source):
    assert unpickled(source)


def test_only_unpickling_is_seen():
    assert not unpickled(
        "torch.load(file, weights_only=True)\nnp.load(file)\nsafetensors.torch.load(content)"
    )
    assert picklers(imports("import pickle as p\ndef f():\n    from joblib import load")) == {
        "pickle",
        "joblib",
    }


@every_source
def test_a_file_is_read_in_one_sitting(path):
    assert len(path.read_text("utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("module", STARTS)
def test_what_starts_fast_does_not_wait_for(module):
    code = f"import sys, facemtl.{module}; print(*{STARTS[module]!r} & sys.modules.keys())"
    command = [sys.executable, "-c", code]
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True
    )
    assert result.stdout.split() == []


# What must not be in the repository ---------------------------------------------------------------

HOME_FOLDER = re.compile(r"(?<![\w.}])/(?:home|Users|root|work)/\w|\b[A-Z]:\\+Users\b")
# The timestamps in UTKFace's file names are of 2016 and 2017.
UTKFACE_NAME = re.compile(r"\b\d{1,3}_[01]_(?:[0-4]_)?201[67]\d{13}\b")
PICKLED = {".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib"}


def repository_files() -> list[Path]:
    """The files that git tracks or would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: nothing says which files belong to the project")
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def text_of(path: Path) -> str:
    """A file's name and text. For a binary file, only the name."""
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    return f"{path.name}\n" + ("" if b"\0" in content else content.decode("utf-8", "replace"))


@pytest.mark.parametrize(
    "pattern",
    [HOME_FOLDER, UTKFACE_NAME],
    ids=["a folder of one machine", "a file name of UTKFace"],
)
def test_no_file_holds(pattern):
    found = [
        (path.name, match.group())
        for path in repository_files()
        if (match := pattern.search(text_of(path)))
    ]
    assert not found


def test_what_no_file_may_hold_is_seen():
    for drive, slash, folder in (("", "/", "home"), ("", "/", "Users"), ("C:", "\\", "Users")):
        assert HOME_FOLDER.search(f'Path("{drive}{slash}{folder}{slash}ann{slash}facemtl")')
    assert not HOME_FOLDER.search("https://example.org/home/page and ../work/out")
    for labels in ("26_1_3", "39_1"):
        assert UTKFACE_NAME.search(f"{labels}_2017{0:013}.jpg.chip.jpg")
    assert not UTKFACE_NAME.search("26_1_3_composite001.jpg")


def test_weights_are_safetensors():
    assert not [path for path in repository_files() if path.suffix in PICKLED]


@pytest.mark.parametrize(
    "name", ["requirements.txt", "requirements-app.txt", "requirements-dev.txt"]
)
def test_requirements_are_pins_and_nothing_else(name):
    lines = [
        line
        for line in (ROOT / name).read_text("utf-8").splitlines()
        if line and not line.lstrip().startswith("#")
    ]
    # No addresses and no options.
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+( ; .+)?", line)] == []
    # torch brings its own, if it needs them.
    assert [line for line in lines if re.match(r"nvidia|cuda|triton", line)] == []
