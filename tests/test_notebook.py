"""The notebook runs from top to bottom, with composites and a short training."""

import re

import nbformat
import pytest
from nbclient import NotebookClient

from tests import support

NOTEBOOK = support.ROOT / "notebooks" / "multitask_faces.ipynb"
SMALL = "DATA = '../assets/faces'\nIMAGES, SIZE, BATCH, EPOCHS, SEEDS = 24, 104, 2, 1, 2"


@pytest.fixture(scope="module")
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_runs(notebook, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(support.ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (parameters,) = (c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    parameters.source = SMALL
    folder = {"metadata": {"path": str(NOTEBOOK.parent)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=folder).execute()
    said = "".join(str(cell.outputs) for cell in notebook.cells if cell.cell_type == "code")
    assert "140 different images" in said and "ten times that" in said


def test_the_notebook_has_fewer_than_40_short_cells():
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert 0 < len(cells) < 40
    assert all(len(cell.source.splitlines()) <= 20 for cell in cells)


def test_its_saved_outputs_show_no_file_name_of_utkface_and_no_path():
    saved = NOTEBOOK.read_text("utf-8")
    assert saved.count("image/png") >= 6  # the outputs are saved
    assert not re.search(r"\d+_[01]_[0-4]_\d{8,}", saved)
    assert not re.search(r"/(home|root|tmp|work|Users)/", saved)
