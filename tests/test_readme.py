"""README and docs: commands and files exist, links work, and numbers match the measured ones."""

import ast
import doctest
import re
import shlex

import pytest

from facemtl import cli
from tests.support import ROOT

README = (ROOT / "README.md").read_text()


def _commands(text: str) -> list[str]:
    blocks = re.findall(r"```(?:sh|console)\n(.*?)```", text, re.DOTALL)
    return [
        line.split("  #")[0].strip()
        for block in blocks
        for line in block.splitlines()
        if line.strip()
    ]


DOCUMENTS = [ROOT / "README.md", ROOT / "MODEL_CARD.md", ROOT / "CONTRIBUTING.md"]
DOCUMENTS += sorted((ROOT / "docs").glob("*.md"))
COMMANDS = _commands(README)
COMMANDS_OF_DOCS = [
    command
    for file in sorted((ROOT / "docs").glob("*.md"))
    for command in _commands(file.read_text())
]


@pytest.mark.parametrize("file", ["facemtl/__init__.py", "docs/python.md"])
def test_examples_print_what_they_show(file, monkeypatch):
    monkeypatch.chdir(ROOT)
    text = (ROOT / file).read_text("utf-8")
    if file.endswith(".py"):
        text = ast.get_docstring(ast.parse(text))
    test = doctest.DocTestParser().get_doctest(text, {}, file, file, 0)
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0


def test_the_two_main_commands_come_first():
    assert COMMANDS[:2] == ["make run", "make test"]
    assert README.index("make test") < 1500


def some(found: list[str]) -> list[str]:
    """The list itself. Without this check, pytest would skip a test that has no parameters."""
    assert found
    return found


@pytest.mark.parametrize(
    "command",
    some([c for c in COMMANDS + COMMANDS_OF_DOCS if "-m facemtl" in c or c.startswith("facemtl ")]),
)
def test_the_command_line_accepts_the_documented_commands(command):
    arguments = shlex.split(command.split("facemtl", 1)[1])
    try:
        cli._parser().parse_args(arguments)
    except SystemExit:
        pytest.fail("the command line does not accept this command")


@pytest.mark.parametrize("command", some([c for c in COMMANDS if c.startswith("make ")]))
def test_targets_of_make_exist(command):
    assert re.search(rf"^{command.split()[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    "command", some([c for c in COMMANDS if "pip install -r" in c or "app.py" in c])
)
def test_files_that_commands_name_exist(command):
    files = [word for word in shlex.split(command) if word.endswith((".txt", ".py"))]
    assert files and all((ROOT / file).is_file() for file in files)


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: file.name)
def test_link_targets_exist(file):
    text = file.read_text("utf-8")
    targets = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text)
    targets += [(name, "") for name in re.findall(r'(?:src|srcset)="(?!https?:)([^"]+)"', text)]
    for name, anchor in targets:
        target = file.parent / name if name else file
        assert target.exists(), name
        headings = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.M) if anchor else []
        anchors = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings]
        assert not anchor or anchor in anchors, (name, anchor)
