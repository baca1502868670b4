"""Damaged results: one line says what is wrong, and the page has everything else."""

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from facemtl.errors import FaceMTLError
from facemtl.evaluation.findings import FINDINGS_FILE
from facemtl.evaluation.validation import METRICS_FILE, PREDICTIONS_FILE
from facemtl.inference.predictor import MODELS
from facemtl.ui.launch import make_app
from facemtl.ui.measured import findings, results
from tests.unit.ui_support import MEASURED


@pytest.fixture
def folder(tmp_path) -> Path:
    copy = tmp_path / "results"
    copy.mkdir()
    for name in (FINDINGS_FILE, METRICS_FILE, PREDICTIONS_FILE):
        shutil.copy(MEASURED / name, copy)
    return copy


def test_the_shipped_results_are_whole(folder):
    table, metrics = results(folder)
    told = {row["task"] for row in findings(folder)["tasks"]}
    assert {*table["task"]} == {*metrics["task"]} == told


CHOSEN: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "one row": lambda rows: rows[:1],
    "the first half": lambda rows: rows[: len(rows) // 2],
    "the second half": lambda rows: rows[len(rows) // 2 :],
    "a row twice": lambda rows: rows + rows[:1],
}


@pytest.mark.parametrize("name", [PREDICTIONS_FILE, METRICS_FILE])
@pytest.mark.parametrize("which", CHOSEN)
def test_a_table_without_some_rows_is_refused(folder, name, which):
    if (name, which) == (METRICS_FILE, "a row twice"):
        return  # it does no harm
    file = folder / name
    content = file.read_bytes()
    is_packed = file.suffix == ".gz"
    head, *rows = (gzip.decompress(content) if is_packed else content).splitlines(keepends=True)
    content = head + b"".join(CHOSEN[which](rows))
    file.write_bytes(gzip.compress(content) if is_packed else content)
    with pytest.raises(FaceMTLError, match="do not fit together"):
        results(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"tasks": [{}]}, {"tasks": []}, {"tasks": None}, {"tasks": [{"task": "height"}]},
        {"cost_share": {"milliseconds": 50}}, {"cost_share": [1]},
    ],
)  # fmt: skip
def test_damaged_findings_are_refused(folder, change):
    file = folder / FINDINGS_FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(FaceMTLError, match="is damaged"):
        findings(folder)


def test_the_app_starts_with_damaged_results(folder, capsys):
    (folder / FINDINGS_FILE).write_text('{"tasks": [{}], "cost_share": null}')
    metrics = (folder / METRICS_FILE).read_bytes().splitlines(keepends=True)
    (folder / METRICS_FILE).write_bytes(b"".join([metrics[0], *metrics[40:]]))
    demo = make_app(MODELS, folder, folder / "no faces")
    page = str(demo.get_config_file())
    assert "No results yet" in page and "The answer" not in page
    said = capsys.readouterr().err
    assert "do not fit together" in said and "findings.json" in said and "Traceback" not in said
