"""Gradio's stub files: the app does not open them. A test fails when gradio itself stops opening
them.
"""

import inspect
import subprocess
import sys

from tests import support

SCRIPT = """
import sys
opened = []
sys.addaudithook(lambda event, args: event == "open" and opened.append(str(args[0])))
import {module}
stubs = [file for file in opened if file.endswith(".pyi")]
print(len(stubs))
"""


def stubs_opened_by(module: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(module=module)],
        cwd=support.ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(done.stdout)


def test_the_app_opens_no_stub_file():
    assert stubs_opened_by("facemtl.ui.app") == 0
    assert not list((support.ROOT / "facemtl").rglob("*.pyi"))


def test_gradio_by_itself_opens_stub_files():
    """If this fails, gradio no longer writes stubs: delete facemtl/ui/no_stubs.py and this file."""
    assert stubs_opened_by("gradio") > 20


def test_inspect_finds_the_files_of_gradio_classes_again():
    import gradio

    from facemtl.ui import no_stubs

    assert inspect.getfile(gradio.Image).endswith("image.py")
    assert inspect.getfile is not no_stubs._no_file_of_components
