"""The Training tab: history, findings, studies, and damaged files."""

import re

import gradio as gr
import pytest

from facemtl import cli
from facemtl.evaluation.compare import compare as compare_approaches
from facemtl.evaluation.studies import STUDIES_FILE
from facemtl.evaluation.validation import load_metrics
from facemtl.files import write_table
from facemtl.ui.tabs import training
from tests import support
from tests.unit.ui_support import MEASURED, text


def test_the_2018_errors_are_shown_beside_the_current_errors(results):
    metrics = load_metrics(MEASURED)
    errors = training.age_then_and_now(metrics).set_index(["experiment", "approach"])["value"]
    assert errors["2018"].to_dict() == {"single": 10.63, "multi": 5.47}
    measured = compare_approaches(results).set_index("task").loc["age"]
    assert errors["This app"].to_dict() == pytest.approx(
        {"single": measured["single"], "multi": measured["multi"]}, abs=1e-3
    )
    note = text(training.history_note(errors.reset_index()))
    assert "10.63 years for the single-task" in note and "5.47 years for the multi-task" in note
    assert "trainings" not in note, "one training has no other"
    note = text(training.history_note(errors.reset_index(), training.n_seeds(MEASURED)))
    assert "Its figures are of the first of 3 trainings" in note


def test_without_findings_there_is_one_training(tmp_path):
    assert training.n_seeds(tmp_path) == 1


def test_findings_mark_sensitive_text(tmp_path):
    for file in (MEASURED).iterdir():
        (tmp_path / file.name).symlink_to(file)
    lines = re.findall(r"<(?:li|p).*?</(?:li|p)>", training.findings(tmp_path))
    assert len(lines) > 4
    for line in lines:
        is_sensitive = line.startswith('<li class="sensitive">')
        assert bool(re.search(r"\b(gender|race)\b", line, re.IGNORECASE)) is is_sensitive


def test_a_damaged_history_removes_only_its_curves(predictor, tmp_path):
    for loaded in predictor.models:
        (tmp_path / f"{loaded.name}.history.csv").write_text("epoch,train_loss\n")
    with gr.Blocks() as demo, gr.Tab() as tab:
        training.build(predictor, tmp_path, load_metrics(MEASURED), MEASURED, tab)
    blocks = [block.value for block in demo.blocks.values() if isinstance(block, gr.HTML)]
    assert any("Cannot be shown" in html and "history.csv" in html for html in blocks)
    assert any("What is multi-task learning?" in html for html in blocks)


@pytest.mark.parametrize("content", ["study,seed\nseeds,", "", "\x00\x01"])
def test_a_damaged_studies_file_is_named_and_the_rest_is_shown(predictor, tmp_path, content):
    for file in MEASURED.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / STUDIES_FILE).unlink(missing_ok=True)
    (tmp_path / STUDIES_FILE).write_text(content)
    with gr.Blocks() as demo, gr.Tab() as tab:
        training.build(predictor, tmp_path, load_metrics(MEASURED), tmp_path, tab)
    blocks = [block.value for block in demo.blocks.values() if isinstance(block, gr.HTML)]
    assert any("Cannot be shown" in html and STUDIES_FILE in html for html in blocks)
    assert any("What is multi-task learning?" in html for html in blocks)


@pytest.mark.parametrize(
    ("left", "told", "not_told"),
    [
        (
            "study == 'equal-weights' or study == 'learned-weights'",
            "how the losses are weighted",
            "results vary between seeds",
        ),
        ("study == 'seeds'", "results vary between seeds", "how the losses are weighted"),
    ],
)
def test_only_the_measured_studies_are_shown(predictor, tmp_path, left, told, not_told):
    write_table(support.made_up_studies().query(left), tmp_path / STUDIES_FILE)
    with gr.Blocks() as demo, gr.Tab() as tab:
        training.build(predictor, tmp_path, load_metrics(MEASURED), tmp_path, tab)
    words = " ".join(block.value for block in demo.blocks.values() if isinstance(block, gr.HTML))
    assert told in words and not_told not in words


def test_the_command_line_accepts_the_commands_for_own_faces():
    lines = re.search(r"```sh\n(.*?)```", training.OWN_FACES, re.DOTALL)[1].splitlines()
    given = [line.removeprefix("python -m facemtl ") for line in lines if " -m facemtl " in line]
    assert [command.split()[0] for command in given] == ["train", "evaluate"]
    for command in given:
        cli._parser().parse_args(command.split())  # raises SystemExit if it is not valid
