"""A CSV file of the user's own faces: valid input and error messages."""

import math
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facemtl.data.images import load_image
from facemtl.data.labels_csv import csv_of, labelled_tasks, read_csv
from facemtl.data.reading import read_images, split_of
from facemtl.errors import FaceMTLError
from facemtl.tasks import AGE, GENDER, RACE, TASKS
from tests.support import jpeg, picture

NONE = {"age": math.nan, "gender": math.nan, "race": math.nan}


@pytest.fixture
def folder(tmp_path) -> Path:
    """Eight images, a.jpg to h.jpg, two of them in a subfolder."""
    (tmp_path / "faces" / "more").mkdir(parents=True)
    for i, name in enumerate(("a", "b", "c", "d", "e", "f", "more/g", "more/h")):
        content = jpeg(picture(30, 0, 0, np.random.default_rng(i)))
        (tmp_path / "faces" / f"{name}.jpg").write_bytes(content)
    return tmp_path / "faces"


def written(folder: Path, content: str | bytes, name: str = "labels.csv") -> Path:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def read(folder: Path, content: str | bytes) -> list[tuple[str, dict[str, float]]]:
    """The rows of a CSV file, with paths relative to the folder."""
    return [
        (file.relative_to(folder).as_posix(), labels)
        for file, labels in read_csv(written(folder, content))[0]
    ]


def same(found: dict[str, float], expected: dict[str, float]) -> bool:
    return found.keys() == expected.keys() and all(
        np.array_equal(found[k], expected[k], equal_nan=True) for k in found
    )


# ------------------------------------------------------------------------------------------ reading


def test_labels_are_words_in_any_case_or_indices_and_may_be_missing(folder):
    content = (
        "file,age,gender,race\na.jpg,31,female,White\nb.jpg,2.5,MALE,\nc.jpg,,1,4\n"
        "more/g.jpg,0,0.0,oThErS\nd.jpg,116,,\n"
    )
    expected = [
        ("a.jpg", (31, 1, 0)), ("b.jpg", (2.5, 0, math.nan)), ("c.jpg", (math.nan, 1, 4)),
        ("more/g.jpg", (0, 0, 4)),
        ("d.jpg", (116, math.nan, math.nan)),
    ]  # fmt: skip
    for (name, labels), (file, values) in zip(read(folder, content), expected, strict=True):
        assert name == file and same(labels, dict(zip(NONE, values, strict=True)))


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbffile,age\na.jpg,31\n",
        b"file;age\r\na.jpg;31\r\n",
        b"file\tage\na.jpg\t31",
        b"age,name,file\n31,Ann,a.jpg\n",
        b" File , AGE \n a.jpg , 31 \n",
        b'note,file,age\n"two\nlines, and a comma",a.jpg,31\n',
        b"file,age,gender,race\na.jpg,31\n",
        b"\nfile,age\n\na.jpg,31\n,\n\n",
        b"file;age\na.jpg;31,0\n",
        "file,age,naïve\na.jpg,31,é\n".encode(),
    ],
    ids=["byte order mark", "semicolons", "tabs", "other columns", "spaces",
        "quotes", "short lines", "blank lines",
         "decimal comma", "UTF-8"],
)  # fmt: skip
def test_one_face_written_in_many_ways(folder, content):
    ((name, labels),) = read(folder, content)
    assert name == "a.jpg" and same(labels, NONE | {"age": 31.0})


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_a_task_reads_its_own_words(task):
    for value in range(task.n_outputs):
        words = task.words(value).removesuffix(" years").removesuffix(" year")
        assert task.value(words) == task.value(words.upper()) == task.value(str(value)) == value
    for text in ("-1", str(task.n_outputs), "nan", "inf", "x", "", "1;2", "1_0", "0_1"):
        with pytest.raises(ValueError):
            task.value(text)


def test_only_whole_indices_are_labels():
    for task in (GENDER, RACE):
        with pytest.raises(ValueError):
            task.value("0.5")
    assert AGE.value("0.5") == 0.5


def test_paths_may_point_outside_the_folder(folder, tmp_path):
    file = written(
        tmp_path, f"file,age\n{folder / 'a.jpg'},31\nfaces/../faces/b.jpg,32\n", "elsewhere.csv"
    )
    assert [path.resolve() for path, _ in read_csv(file)[0]] == [
        (folder / n).resolve() for n in ("a.jpg", "b.jpg")
    ]


@pytest.mark.parametrize(("listed", "saved"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_name_in_another_form_of_unicode_is_found(folder, listed, saved):
    there, named = (unicodedata.normalize(form, "ä/é.jpg") for form in (saved, listed))
    (folder / there).parent.mkdir()
    shutil.copy(folder / "a.jpg", folder / there)
    ((file, _),) = read_csv(written(folder, f"file,age\n{named},31\n"))[0]
    assert file.samefile(folder / there)


@pytest.mark.parametrize("line", ["{},31", "a.jpg,{}"])
def test_a_long_text_is_not_shown_in_full(folder, line):
    with pytest.raises(FaceMTLError, match=r"line 2, .*xxx") as error:
        read(folder, f"file,age\n{line.format('x' * 6000)}\n")
    assert len(str(error.value).replace(str(folder), "")) < 200
    with pytest.raises(FaceMTLError, match="first line") as error:
        read(folder, "x" * 6000)
    assert len(str(error.value).replace(str(folder), "")) < 300


def test_a_csv_is_found_by_its_path_or_its_folder(folder):
    assert csv_of(folder) is None
    file = written(folder, "file,age\na.jpg,31\n")
    assert csv_of(folder) == csv_of(file) == file
    assert csv_of(other := folder / "other.CSV") == other


def test_tasks_are_the_ones_with_labels(folder, synthetic_faces):
    assert labelled_tasks(synthetic_faces) == TASKS
    written(folder, "file,age,race,gender\na.jpg,31,,\nb.jpg,,,male\n")
    assert labelled_tasks(folder) == (GENDER, AGE)


# ------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("a.jpg,abc,,", ["line 3, age", "'abc'", "a number from 0 to 116"]),
        ("a.jpg,117,,", ["line 3, age", "'117'"]),
        ("a.jpg,-1,,", ["line 3, age", "'-1'"]),
        ("a.jpg,nan,,", ["line 3, age", "'nan'"]),
        ("a.jpg,,femail,", ["line 3, gender", "'femail'", "male, female, or 0 to 1"]),
        ("a.jpg,,2,", ["line 3, gender", "'2'"]),
        (
            "a.jpg,,,Martian",
            ["line 3, race", "'Martian'", "White, Black, Asian, Indian, Others, or 0 to 4"],
        ),
        ("a.jpg,,,-1", ["line 3, race", "'-1'"]),
        ("z.jpg,31,,", ["line 3, file", "'z.jpg'"]),
        ("more,31,,", ["line 3, file", "'more'"]),
        (f"{'x' * 300}.jpg,31,,", ["line 3, file"]),
        ("a.jpg,1_0,,", ["line 3, age", "'1_0'"]),
        ("a.jpg,,0_1,", ["line 3, gender", "'0_1'"]),
        (",31,,", ["line 3, file", "''"]),
        ("a.jpg,,,", ["line 3", "no label"]),
        ("a.jpg,31,male,White,more", ["line 3", "5 cells, expected 4"]),
    ],
)
def test_an_error_names_its_line(folder, line, says):
    with pytest.raises(FaceMTLError) as error:
        read(folder, f"file,age,gender,race\nb.jpg,20,,\n{line}\nc.jpg,20,,\n")
    assert all(part in str(error.value) for part in says)
    assert (
        "\n" not in str(error.value)
        and "line 2" not in str(error.value)
        and "line 4" not in str(error.value)
    )


def test_many_wrong_lines_are_counted(folder):
    lines = "\n".join(f"a.jpg,{n}" for n in range(110, 130))  # 117 to 129 are wrong
    with pytest.raises(FaceMTLError) as error:
        read(folder, f"file,age\n{lines}\n")
    assert [
        f"line {2 + n - 110}, age: found '{n}'" in str(error.value) for n in range(116, 123)
    ] == [False] + [True] * 5 + [False]
    assert "and 8 more" in str(error.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("age,gender\n31,male\n", "column file"),
        ("file,name\na.jpg,Ann\n", "at least one of gender, race, age"),
        ("file,age,age\na.jpg,31,32\n", "each once"),
        ("", "column file"),
        ("file,age\n", "no images"),
        ("file,age\na.jpg,31\n".encode("utf-16"), "UTF-8"),
        ("file,age,name\na.jpg,31,é\n".encode("latin-1"), "UTF-8"),
        (f"file,age,name\na.jpg,31,{'x' * 200_000}\n", "line 2: field larger than"),
        (f'file,age\n"a.jpg,31\n{"b.jpg,31 " * 20_000}', "quotation mark"),
    ],
    ids=[
        "no file",
        "no label",
        "twice",
        "empty",
        "no line",
        "UTF-16",
        "Latin-1",
        "long cell",
        "open quote",
    ],
)
def test_an_unusable_csv_gives_a_one_line_error(folder, content, says):
    with pytest.raises(FaceMTLError, match=says) as error:
        read(folder, content)
    assert "labels.csv" in str(error.value) and "\n" not in str(error.value)


def test_a_missing_csv_gives_a_one_line_error(tmp_path):
    with pytest.raises(FaceMTLError, match=r"none\.csv"):
        read_images(tmp_path / "none.csv")


# ---------------------------------------------------------------------------------------- the table


def test_the_table_has_the_utkface_columns_with_missing_labels(folder):
    written(folder, "file,gender,age\na.jpg,female,31.5\nmore/h.jpg,,7\nb.jpg,0,\n")
    images, findings = read_images(folder, verify=True)
    assert list(images["sha256"]) == sorted(images["sha256"]) and list(images["split"]) == [
        *map(split_of, images["sha256"])
    ]
    by = images.set_index(images["file"].map(lambda f: Path(f).name))
    assert by["race"].isna().all() and findings.images == len(images) == 3
    assert by.loc["a.jpg", ["age", "gender"]].tolist() == [31.5, 1]
    assert by.loc["h.jpg", "age"] == 7 and np.isnan(by.loc["h.jpg", "gender"])
    assert by.loc["b.jpg", "gender"] == 0 and np.isnan(by.loc["b.jpg", "age"])
    assert findings.unlabelled == {"gender": 1, "race": 3, "age": 1}
    assert "1 of gender and 3 of race and 1 of age" in str(findings)


def test_columns_that_no_task_uses_are_reported(folder):
    written(folder, "Mood,file,AGE,glasses\nglad,a.jpg,31,with\n")
    _, report = read_images(folder)
    assert report.unused_columns == ["Mood", "glasses"]
    assert str(report).splitlines()[-1].endswith("Mood, glasses: no task has this name")


def test_copies_are_merged_unless_their_labels_contradict(folder):
    for name, original in (("a2", "a"), ("b2", "b"), ("c2", "c")):
        (folder / f"{name}.jpg").write_bytes((folder / f"{original}.jpg").read_bytes())
    written(
        folder,
        "file,age,gender\na.jpg,31,\na2.jpg,,male\nb.jpg,20,male\nb2.jpg,21,\nc.jpg,5,\nc2.jpg,5,\nd.jpg,9,\n",
    )
    images, findings = read_images(folder)
    labels = {Path(row.file).name: (row.age, row.gender) for row in images.itertuples()}
    assert set(labels) == {"a.jpg", "c.jpg", "d.jpg"} and labels["a.jpg"] == (31, 0)
    assert (findings.copy_groups, findings.copy_files) == (3, 6)
    assert (findings.contradictory_groups, findings.contradictory_files) == (1, 2)


def test_an_unreadable_image_is_reported_and_left_out(folder):
    (folder / "a.jpg").write_bytes(b"no image at all")
    written(folder, "file,age\na.jpg,31\nb.jpg,32\n")
    images, findings = read_images(folder, verify=True)
    assert findings.unreadable == ["a.jpg: damaged"] and [Path(f).name for f in images["file"]] == [
        "b.jpg"
    ]


def test_a_rectangular_image_is_cropped_to_its_upright_centre_square(tmp_path):
    image = picture(30, 1, 3, np.random.default_rng(0), size=60)
    wide = np.zeros((60, 100, 3), np.uint8)
    wide[:, 20:80] = np.asarray(image)
    exif = Image.Exif()
    exif[0x112] = 6  # rotate by 90 degrees clockwise
    Image.fromarray(wide).rotate(90, expand=True).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(load_image(tmp_path / "turned.png", 60), np.asarray(image))
