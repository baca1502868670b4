"""The offer to download UTKFace: what it says, who may use it, and where there is none."""

import gradio as gr
import pytest

from facemtl.cli import main
from facemtl.data.background import FAILED, INSTALLED, READING, RUNNING, STOPPING, Status
from facemtl.ui import launch
from facemtl.ui.components.get_utkface import Offer, button_label, card
from tests.unit.ui_support import text


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True), ("127.8.0.1", True), ("localhost", True), ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False), ("::", False), ("192.168.0.7", False), ("example.org", False),
        ("", False), ("localhost.example.org", False), ("127.0.0.1.example.org", False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("option", [None, "--allow-download", "--no-allow-download"])
def test_only_an_app_of_this_machine_offers_it_unless_told_otherwise(
    host, local, option, monkeypatch
):
    made = {}
    monkeypatch.setattr(launch, "make_app", lambda *_, **settings: made.update(settings))
    monkeypatch.setattr(launch, "serve", lambda *_, **__: None)
    monkeypatch.setattr(launch, "checked_host", lambda host, port: host)  # most are of others
    assert main(["app", "--host", host, *([option] if option else [])]) == 0
    assert made["allow_download"] is {None: local, "--allow-download": True}.get(option, False)


def test_the_terms_come_before_the_download(tmp_path):
    said = text(card(Status(), tmp_path / "UTKFace"))
    for words in ("non-commercial research", "not pass", "owners", "Zhang", "py97/UTKFace-Cropped"):
        assert words in said
    assert str(tmp_path / "UTKFace") in said
    assert button_label(Status()) == "Get UTKFace (100 MB, research only)"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (Status(RUNNING, "Downloading"), "Connecting"),
        (Status(RUNNING, "Downloading", 45_000_000, 100_000_000), "45 of 100 MB (45 %)"),
        (Status(RUNNING, "Unpacking", 45_000_000, 60_000_000), "Unpacking: 75 %"),
        (Status(RUNNING, READING), "Reading the images"),
        (Status(STOPPING, "Downloading", 1, 2), "Stopping"),
        (Status(INSTALLED), "UTKFace is installed"),
        (Status(FAILED, error="No <network>."), "No &lt;network&gt;."),
        (Status(FAILED, error="Run `python <x>`."), "Run python &lt;x&gt; ."),
    ],
)
def test_the_card_says_how_far_it_is(status, words, tmp_path):
    assert words in text(card(status, tmp_path))
    assert ("<progress" in card(status, tmp_path)) is status.is_active


def test_the_button_says_what_a_click_does():
    assert button_label(Status(done=45_300_000)) == "Continue (45 MB are here)"
    assert button_label(Status(FAILED, error="No network.")) == "Try again"


def laid_out(offer: Offer) -> tuple[list[str], int]:
    """The types of the components of an offer, and the number of its events."""
    with gr.Blocks() as demo:
        offer.place()
        offer.connect(demo, lambda: None, [], [], {})
    return [type(block).__name__ for block in demo.blocks.values()], len(demo.fns)


def test_where_it_is_not_allowed_there_is_a_sentence_and_no_event(tmp_path):
    parts, n_events = laid_out(Offer(tmp_path / "none", lambda: None, allowed=False))
    assert parts.count("HTML") == 1 and "Button" not in parts and n_events == 0
    _, n_allowed = laid_out(Offer(tmp_path / "none", lambda: None, allowed=True))
    assert n_allowed > 0


@pytest.mark.parametrize("data", ["images", "own.csv"])
def test_there_is_no_offer_for_data_that_is_there(data, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1_0_0_1.jpg").write_bytes(b"")
    parts, n_events = laid_out(Offer(tmp_path / data, lambda: None, allowed=True))
    assert "HTML" not in parts and "Button" not in parts and n_events == 0
