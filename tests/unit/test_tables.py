"""Tables on disk: identical bytes each time, complete writes, clear errors for damaged files."""

import csv
import gzip
import io
import multiprocessing
import re
from pathlib import Path

import pandas as pd
import pytest

from facemtl.errors import FaceMTLError
from facemtl.escapes import escaped
from facemtl.files import read_table, write_table, write_whole
from tests.support import ROOT

TYPES = {"image": str, "n": int, "value": float}
TABLE = pd.DataFrame(
    {"image": ["0012", "0e34"], "n": [1, 2], "value": [0.5, 1.25], "remark": [float("nan"), "x"]}
)


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz"])
def test_a_table_survives_being_written(tmp_path, name):
    file = tmp_path / "new" / name
    write_table(TABLE, file)
    pd.testing.assert_frame_equal(read_table(file, TYPES, "make it"), TABLE, check_dtype=False)
    first = file.read_bytes()
    write_table(TABLE, file)
    assert file.read_bytes() == first
    assert [f.name for f in file.parent.iterdir()] == [name]


@pytest.mark.parametrize(
    "label", ["None", "NA", "N/A", "null", "nan", "NaN", "#N/A", "-nan", "007"]
)
def test_any_label_survives_being_written(tmp_path, label):
    table = TABLE.assign(image=[label, "x"], remark=[float("nan"), label])
    write_table(table, tmp_path / "table.csv")
    found = read_table(tmp_path / "table.csv", {**TYPES, "remark": str}, "make it", ["remark"])
    pd.testing.assert_frame_equal(found, table, check_dtype=False)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "a\nb", "\\x3d1", "caf\udce9"])
def test_a_text_cannot_begin_a_formula_or_control_a_terminal(tmp_path, text):
    table = TABLE.assign(image=[text, "x"])
    write_table(table, tmp_path / "table.csv")
    cell = (tmp_path / "table.csv").read_text("utf-8").splitlines()[1].partition(",")[0]
    assert cell == escaped(text) and cell[0] not in "=+-@"
    found = read_table(tmp_path / "table.csv", TYPES, "make it")
    pd.testing.assert_frame_equal(found, table, check_dtype=False)


@pytest.mark.parametrize(
    "file", sorted((ROOT / "assets").rglob("*.csv*")), ids=lambda file: file.name
)
def test_shipped_tables_hold_no_text_that_must_be_escaped(file):
    content = file.read_bytes()
    content = gzip.decompress(content) if file.suffix == ".gz" else content
    cells = {cell for row in csv.reader(io.StringIO(content.decode())) for cell in row}
    texts = {cell for cell in cells if not re.fullmatch(r"-?[\d.]+(e-?\d+)?", cell)}
    assert {*map(escaped, texts)} == texts


def test_a_missing_table_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(FaceMTLError, match=r"no table.csv .* `make it`"):
        read_table(tmp_path / "table.csv", TYPES, "make it")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"image,n,value\n",
        b"image,n\n1,2\n",
        b"image,n,value\n1,2,\n",
        b"image,n,value\n1,2,3.25\n1,2,3",
        b"image,n,value\n1,two,3\n",
        b"\xff\xfe\x00",
        b"\x1f\x8b",
    ],
    ids=["empty", "no rows", "a column missing", "a value missing", "half a number", "no number",
        "not text", "half a gzip"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz"])
def test_a_damaged_file_is_reported(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FaceMTLError, match=r"damaged.*`make it`"):
        read_table(tmp_path / name, TYPES, "make it")


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz"])
def test_half_a_file_is_reported(tmp_path, name):
    write_table(TABLE, tmp_path / name)
    content = (tmp_path / name).read_bytes()
    for length in range(len(content)):
        (tmp_path / name).write_bytes(content[:length])
        if content[:length].endswith(b"\n") and content[:length].count(b"\n") > 1:
            continue  # whole lines
        with pytest.raises(FaceMTLError, match=r"damaged.*`make it`"):
            read_table(tmp_path / name, TYPES, "make it")


def test_a_file_that_lacks_necessary_lines_is_reported(tmp_path):
    write_table(TABLE, tmp_path / "table.csv")
    for name in TABLE["image"]:
        read_table(tmp_path / "table.csv", TYPES, "make it", rows=[{"image": name}])
    with pytest.raises(FaceMTLError, match="damaged"):
        rows = [{"image": "0012", "remark": "x"}]  # each is in another line
        read_table(tmp_path / "table.csv", TYPES, "make it", rows=rows)


CONTENTS = [bytes([byte]) * 8_000_000 for byte in (1, 2)]


def write_for_ever(file: Path) -> None:
    while True:
        for content in CONTENTS:
            write_whole(file, content)


def test_a_process_that_is_killed_while_it_writes_leaves_a_whole_file(tmp_path):
    file = tmp_path / "table.csv"
    for _ in range(3):
        process = multiprocessing.get_context("fork").Process(target=write_for_ever, args=(file,))
        process.start()
        while not file.exists() or not any(tmp_path.glob(".*partial")):
            assert process.is_alive()
        process.kill()
        process.join()
        assert file.read_bytes() in CONTENTS
