"""The description of the dataset, compared with separate counts."""

import shutil

import pandas as pd
import pytest

from facemtl.cli import main
from facemtl.data import summary as description
from facemtl.data.reading import read_files, read_images, without_copies
from facemtl.tasks import TASKS
from tests import support

SHIPPED = support.ROOT / "assets" / "dataset"


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures: the first as three copies with different labels, the second with a copy with
    the same labels, the third with a badly named copy.
    """
    files = support.write_pictures(tmp_path / "faces", 12, seed=3)
    for i, labels in enumerate(("20_0_0", "24_1_0", "30_1_2")):
        shutil.copy(files[0], files[0].with_name(f"{labels}_{i}.jpg.chip.jpg"))
    files[0].unlink()
    labels = "_".join(files[1].name.split("_")[:3])
    shutil.copy(files[1], files[1].with_name(f"{labels}_7.jpg.chip.jpg"))
    shutil.copy(files[2], files[2].with_name("20_1_20990101.jpg.chip.jpg"))
    return tmp_path / "faces"


def test_every_image_is_counted_once(folder):
    images, _ = read_images(folder)
    counts = description.counts(images)
    assert counts["n"].sum() == len(images) == 11
    for row in counts.itertuples():
        same = (
            images[["age", "gender", "race", "split"]] == [row.age, row.gender, row.race, row.split]
        ).all(axis=1)
        assert same.sum() == row.n


def problems_of(folder) -> pd.DataFrame:
    files, findings = read_files(folder)
    without_copies(files, findings)
    return description.problems(files, findings)


def test_problems_match_hand_computed_counts(folder):
    found = problems_of(folder).set_index("problem")
    assert tuple(found.loc["left out: badly named"]) == (1, 16)
    assert tuple(found.loc["left out: unreadable"]) == (0, 16)
    assert tuple(found.loc["left out: copies with different labels"]) == (3, 16)
    assert tuple(found.loc["left out: further copies with the same labels"]) == (1, 16)
    # Pairs: 20_0_0 with 24_1_0, 20_0_0 with 30_1_2, 24_1_0 with 30_1_2, and the two identical ones.
    assert tuple(found.loc["gender differs"]) == (2, 4)
    assert tuple(found.loc["race differs"]) == (2, 4)
    assert tuple(found.loc["age differs by 5 years or more"]) == (2, 4)


def test_files_without_those_left_out_are_the_images(folder):
    for counts, problems in (
        (description.counts(read_images(folder)[0]), problems_of(folder)),
        description.load(SHIPPED),
    ):
        left_out = problems[problems["problem"].str.startswith(description.LEFT_OUT)]
        (n_files,) = set(left_out["of"])
        assert n_files - left_out["n"].sum() == counts["n"].sum()


def test_a_written_description_is_read_back_and_names_no_image(folder, tmp_path, capsys):
    assert main(["describe", "--data", str(folder), "--output", str(tmp_path / "out")]) == 0
    counts, problems = description.load(tmp_path / "out")
    pd.testing.assert_frame_equal(
        counts, description.counts(read_images(folder)[0]), check_dtype=False
    )
    pd.testing.assert_frame_equal(problems, problems_of(folder), check_dtype=False)
    written = b"".join(support.contents(tmp_path / "out").values()).decode()
    assert not any(
        file.stem.split("_")[-1].split(".")[0] in written
        for file in folder.iterdir()
        if "2099" in file.name
    )


def test_the_shipped_description_matches_the_validation_images(results):
    counts, _ = description.load(SHIPPED)
    validated = results.drop_duplicates("image")
    reported = counts[counts["split"] == "validation"]
    assert reported["n"].sum() == len(validated)
    for task in TASKS[:2]:
        assert dict(reported.groupby(task.column)["n"].sum()) == dict(
            validated[task.name].value_counts()
        )
