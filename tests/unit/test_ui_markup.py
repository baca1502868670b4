"""HTML of the page: text is escaped wherever it comes in."""

import json
import subprocess
import sys

import gradio as gr
import pytest

from facemtl.ui.components.markup import HTML, html, joined, with_code
from tests import support

HOSTILE = "\"><img src=x onerror='alert(1)'>"
SAFE = "&#34;&gt;&lt;img src=x onerror=&#39;alert(1)&#39;&gt;"
BOLD = html("<b>{}</b>", "1 < 2")


def test_values_are_escaped_and_html_is_not():
    assert BOLD == "<b>1 &lt; 2</b>"
    assert html('<i title="{name}">{}</i>', BOLD, name=HOSTILE) == f'<i title="{SAFE}">{BOLD}</i>'
    assert joined([BOLD, HOSTILE], by="<") == f"{BOLD}&lt;{SAFE}"
    assert f"{BOLD}{SAFE}" == "" + BOLD + HOSTILE


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Run `ls <b>`, `pip list`.", "Run <code>ls &lt;b&gt;</code>, <code>pip list</code>."),
        (f"{HOSTILE} and ` alone", f"{SAFE} and ` alone"),
        ("`all`", "<code>all</code>"),
        ("", ""),
    ],
)
def test_commands_between_backticks_are_code(text, shown):
    assert with_code(text) == shown


def test_a_component_shows_text_as_text_however_often_it_is_sent():
    shown = HTML()
    for value, expected in ((f"<b>{HOSTILE}</b>", f"&lt;b&gt;{SAFE}&lt;/b&gt;"), (BOLD, BOLD)):
        sent = shown.postprocess(value)
        assert sent == expected == shown.postprocess(sent) == HTML(value).value
        assert json.loads(json.dumps(sent)) == expected
    assert shown.postprocess(None) is None


def test_the_app_shows_html_by_this_component_only():
    found = [
        f"{file.name}:{number}"
        for file in (support.ROOT / "facemtl").rglob("*.py")
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if "gr.HTML(" in line.replace("class HTML(gr.HTML)", "")
    ]
    assert not found


def test_the_component_is_html_in_the_browser():
    with gr.Blocks() as demo:
        HTML("")
    assert [part["type"] for part in demo.get_config_file()["components"]] == ["html"]


@pytest.mark.parametrize("made", ['f"<b>{x}</b>"', '"<b>" + x', "x", '"<b>{}</b>".format(x)'])
def test_the_linter_refuses_html_that_is_not_constant(made):
    code = (
        "from .components.markup import html\n\n\ndef show(x: str) -> str:\n    return html({})\n"
    )
    for source, is_refused in ((made, True), ('"<b>{}</b>", x', False)):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", "check", "--stdin-filename", "facemtl/ui/shown.py", "-"],
            cwd=support.ROOT, input=code.format(source), capture_output=True, text=True,
        )  # fmt: skip
        assert ("S704" in done.stdout) is is_refused is bool(done.returncode), done.stdout
