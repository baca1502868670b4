"""Tables on disk: identical bytes each time, complete writes, clear errors for damaged files."""

import pandas as pd
import pytest

from facemtl.errors import FaceMTLError
from facemtl.files import read_table, write_table

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
        b"image,n,value\n1,two,3\n",
        b"\xff\xfe\x00",
        b"\x1f\x8b",
    ],
    ids=["empty", "no rows", "a column missing", "a value missing", "no number",
        "not text", "half a gzip"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz"])
def test_a_damaged_file_is_reported(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FaceMTLError, match=r"damaged.*`make it`"):
        read_table(tmp_path / name, TYPES, "make it")


def test_an_interrupted_write_leaves_the_old_table(tmp_path, monkeypatch):
    file = tmp_path / "table.csv"
    write_table(TABLE, file)
    before = file.read_bytes()

    def fail(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="No space"):
        write_table(TABLE.head(1), file)
    assert file.read_bytes() == before
