"""Reports: each number in a document is one of the measured tables."""

import re

import pytest

from facemtl.errors import FaceMTLError
from facemtl.report import SECTIONS, fill
from tests.support import ROOT

SHIPPED = ROOT / "assets" / "validation"
DOCUMENTS = [ROOT / "README.md", ROOT / "MODEL_CARD.md"]


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_is_one_table_without_gaps(name):
    lines = SECTIONS[name](SHIPPED).split("\n\n")[0].splitlines()
    assert len(lines) > 2
    assert len({line.count(" | ") for line in lines}) == 1
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b", "\n".join(lines))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_documents_hold_the_measured_tables(document):
    """Where this fails, run `python -m facemtl report`."""
    text = document.read_text("utf-8")
    assert "<!-- begin: results -->" in text
    assert fill(text, SHIPPED) == text


def test_every_table_is_in_the_model_card():
    assert set(re.findall(r"<!-- begin: ([\w-]+) -->", (ROOT / "MODEL_CARD.md").read_text("utf-8"))) == set(SECTIONS)


def test_what_is_not_marked_is_left_alone():
    text = "# Title\n\n| a | b |\n\n<!-- begin: costs -->\nold\n<!-- end: costs -->\nafter\n"
    filled = fill(text, SHIPPED)
    assert filled.startswith("# Title\n\n| a | b |\n\n<!-- begin: costs -->\n|") and filled.endswith(
        "\n<!-- end: costs -->\nafter\n"
    )
    assert "old" not in filled
    assert fill(filled, SHIPPED) == filled


def test_unknown_tables_and_missing_measurements_are_said(tmp_path):
    with pytest.raises(FaceMTLError, match=r"'alchemy'.*results, groups"):
        fill("<!-- begin: alchemy -->\n<!-- end: alchemy -->", SHIPPED)
    with pytest.raises(FaceMTLError, match="facemtl evaluate"):
        fill("<!-- begin: results -->\n<!-- end: results -->", tmp_path)
