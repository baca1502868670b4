"""UTKFace from archive and hub to a table: accepted, refused and remaining files."""

import multiprocessing
import os
import random
import re
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from facemtl.data import images
from facemtl.data.download import HUB_FILE, _fetch, download, is_missing, unpack
from facemtl.data.images import decode_images, load_image
from facemtl.data.reading import (
    CALIBRATION,
    TRAIN,
    VALIDATION,
    FolderReport,
    contradicting_copies,
    read_images,
    split_of,
)
from facemtl.errors import FaceMTLError
from facemtl.faces.photo import as_image
from facemtl.files import written_whole
from tests import support
from tests.support import contents, jpeg, pack, picture

PATTERN = "{age}_{gender}_{race}_20990101000000{n:03d}.jpg.chip.jpg"


@pytest.fixture(autouse=True)
def own_lock(tmp_path_factory, monkeypatch):
    """`download` locks a file in the temporary folder, which all test workers share."""
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("temporary")))
    monkeypatch.setattr(tempfile, "tempdir", None)


def image_bytes(seed: int = 0) -> bytes:
    return jpeg(picture(30, 0, 0, np.random.default_rng(seed)))


def name(n: int = 0, age: int = 30, gender: int = 0, race: int = 0) -> str:
    return PATTERN.format(age=age, gender=gender, race=race, n=n)


def folder_of(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir()
    for file_name, content in files.items():
        (folder / file_name).write_bytes(content)
    return folder


@pytest.fixture
def good_archive(tmp_path, synthetic_faces) -> Path:
    """An archive like the published one: the images are in a folder of their own."""
    return pack(
        tmp_path / "good.tar.gz", {f"UTKFace/{n}": c for n, c in contents(synthetic_faces).items()}
    )


def is_clean(folder: Path) -> bool:
    """The target does not exist, and no partial folder is beside it."""
    return not folder.exists() and not [f for f in folder.parent.iterdir() if folder.name in f.name]


# -------------------------------------------------------------------------------------------- split


def test_the_split_follows_the_published_rule():
    for i in range(300):
        digest = sha256(str(i).encode())
        # 16 has remainder 1, so a number has the remainder of the sum of its hexadecimal digits.
        remainder = sum(int(digit, 16) for digit in digest.hexdigest()) % 15
        expected = {0: CALIBRATION, 5: VALIDATION, 10: VALIDATION}.get(remainder, TRAIN)
        assert split_of(digest.hexdigest()) == expected


def test_the_split_has_its_proportions():
    n = 6000
    counts = Counter(split_of(sha256(str(i).encode()).hexdigest()) for i in range(n))
    for split, share in ((TRAIN, 12 / 15), (VALIDATION, 2 / 15), (CALIBRATION, 1 / 15)):
        deviation = (n * share * (1 - share)) ** 0.5
        assert abs(counts[split] - n * share) < 4 * deviation


def test_the_split_depends_on_nothing_but_the_bytes(tmp_path, synthetic_faces):
    before, _ = read_images(synthetic_faces)
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    for i, file in enumerate(sorted(synthetic_faces.iterdir(), reverse=True)):
        (renamed / name(i % 1000, age=99)).write_bytes(file.read_bytes())
    after, _ = read_images(renamed)
    assert dict(zip(before["sha256"], before["split"], strict=True)) == dict(
        zip(after["sha256"], after["split"], strict=True)
    )


# ------------------------------------------------------------------------------------------ reading


def test_reading_gives_hash_labels_and_split_of_every_image(synthetic_faces):
    images, findings = read_images(synthetic_faces)
    assert set(images.columns) == {"file", "sha256", "age", "gender", "race", "split"}
    assert len(images) == findings.images == 240
    for row in images.itertuples():
        file = Path(row.file)
        assert row.sha256 == sha256(file.read_bytes()).hexdigest()
        assert [str(v) for v in (row.age, row.gender, row.race)] == file.name.split("_")[:3]
        assert row.split == split_of(row.sha256)
    assert list(images["sha256"]) == sorted(images["sha256"])
    assert (images.index == range(240)).all()


@pytest.mark.parametrize(
    "file_name",
    [
        "1_0_0_20990101000000000.jpg.chip.jpg",
        "116_1_4_20990101000000000.jpg.chip.jpg",
        "24_0_1_20990101000000000 .jpg.chip.jpg",  # one published name contains a space
        "55_0_0_20990101000000000jpg.chip.jpg",  # one lacks a dot
        "28_1_2_209901010000000001.jpg.chip.jpg",  # one has an extra digit
        "26_1_3_composite068.jpg",  # a composite
        "26_1_3_Zoë-at work (2).jpg",  # a name from a user
    ],
)
def test_names_that_are_accepted(tmp_path, file_name):
    images, findings = read_images(folder_of(tmp_path / "f", {file_name: image_bytes()}))
    assert not findings.badly_named
    assert images.loc[0, ["age", "gender", "race"]].astype(str).tolist() == file_name.split("_")[:3]


@pytest.mark.parametrize(
    "file_name",
    [
        "39_1_20990101000000000.jpg.chip.jpg",  # three published names lack the race
        "117_0_0_20990101000000000.jpg.chip.jpg",  # older than any task's range
        "999_0_0_20990101000000000.jpg.chip.jpg",
        "30_2_0_20990101000000000.jpg.chip.jpg",
        "30_0_5_20990101000000000.jpg.chip.jpg",
        "-3_0_0_20990101000000000.jpg.chip.jpg",
        "30_0__20990101000000000.jpg.chip.jpg",
        "holiday.jpg",
        "x30_0_0_20990101000000000.jpg.chip.jpg",
    ],
)
def test_invalid_names_are_skipped_and_reported(tmp_path, file_name):
    folder = folder_of(tmp_path / "f", {file_name: image_bytes(1), name(): image_bytes(2)})
    images, findings = read_images(folder)
    assert findings.badly_named == [file_name]
    assert len(images) == findings.images == 1
    assert file_name in str(findings)


def test_copies_are_kept_once_and_contradicting_copies_are_dropped(tmp_path):
    once, twice, thrice, torn = (image_bytes(i) for i in range(4))
    folder = folder_of(
        tmp_path / "f",
        {
            name(0): once,
            name(1): twice, name(2): twice,
            name(3): thrice, name(4): thrice, name(5): thrice,
            name(6, age=20): torn, name(7, age=21): torn,
        },
    )  # fmt: skip
    images, findings = read_images(folder)
    assert set(images["sha256"]) == {sha256(c).hexdigest() for c in (once, twice, thrice)}
    assert (findings.images, findings.copy_groups, findings.copy_files) == (3, 3, 7)
    assert (findings.contradictory_groups, findings.contradictory_files) == (1, 2)


@pytest.mark.parametrize(
    "other", [{"age": 31}, {"gender": 1}, {"race": 2}], ids=lambda other: next(iter(other))
)
def test_a_difference_in_any_label_is_a_contradiction(tmp_path, other):
    same = image_bytes()
    images, findings = read_images(
        folder_of(tmp_path / "f", {name(0): same, name(1, **other): same, name(2): image_bytes(9)})
    )
    assert len(images) == 1 and findings.contradictory_files == 2


def test_contradicting_copies_are_the_files_skipped_by_reading(tmp_path):
    torn, also_torn, twice = (image_bytes(i) for i in range(3))
    contradicting = {
        name(0, age=20): torn, name(1, age=21): torn, name(2, age=20): torn,
        name(3): also_torn, name(4, gender=1, race=3): also_torn,
    }  # fmt: skip
    copies = contradicting_copies(
        folder_of(tmp_path / "f", {**contradicting, name(5): twice, name(6): twice, "a.jpg": torn})
    )
    assert set(copies.columns) == {"file", "sha256", "age", "gender", "race"}
    assert {Path(file).name for file in copies["file"]} == set(contradicting)
    assert list(copies["sha256"]) == sorted(copies["sha256"])
    for row in copies.itertuples():
        assert row.sha256 == sha256(contradicting[Path(row.file).name]).hexdigest()
        assert [str(v) for v in (row.age, row.gender, row.race)] == Path(row.file).name.split("_")[
            :3
        ]


def test_a_dataset_without_contradicting_copies_gives_an_empty_table(tmp_path, synthetic_faces):
    assert contradicting_copies(synthetic_faces).empty
    with pytest.raises(FaceMTLError, match="facemtl download"):
        contradicting_copies(tmp_path)


def test_the_counts_add_up_to_all_files(tmp_path):
    rng = random.Random(0)
    pool = [image_bytes(i) for i in range(12)]
    files = {name(i, age=rng.choice([30, 30, 30, 31])): rng.choice(pool) for i in range(30)}
    files |= {"wrong.jpg": image_bytes(77), name(40): b"no image at all"}
    images, f = read_images(folder_of(tmp_path / "f", files), verify=True)
    spare = (f.copy_files - f.contradictory_files) - (f.copy_groups - f.contradictory_groups)
    assert len(images) + spare + f.contradictory_files + len(f.badly_named) + len(
        f.unreadable
    ) == len(files)


@pytest.mark.parametrize(
    "damage",
    [b"", b"this is text", image_bytes(5)[:600], image_bytes(5)[:-400]],
    ids=["empty", "text", "short", "cut"],
)
def test_verifying_finds_unreadable_files(tmp_path, damage):
    folder = folder_of(tmp_path / "f", {name(0): image_bytes(1), name(1): damage})
    images, findings = read_images(folder, verify=True)
    assert findings.unreadable == [f"{name(1)}: damaged"]
    assert len(images) == 1
    assert name(1) in str(findings)


@pytest.mark.parametrize("make", [lambda f: None, lambda f: f.mkdir()], ids=["missing", "empty"])
def test_a_folder_without_images_names_the_download_command(tmp_path, make):
    make(folder := tmp_path / "f")
    with pytest.raises(FaceMTLError, match="facemtl download") as error:
        read_images(folder)
    assert str(folder) in str(error.value)


def test_findings_give_every_count(tmp_path):
    words = str(FolderReport(21_111, ["a.jpg", "b.jpg"], ["c.jpg"], 375, 765, 259, 530))
    for part in ("21,111", "2 (a.jpg, b.jpg)", "1 (c.jpg)", "375", "765", "259", "530"):
        assert part in words


def test_the_counts_add_up_for_the_real_images(utkface):
    n_files = len(list(utkface.glob("*.jpg")))
    images, f = read_images(utkface)
    spare = (f.copy_files - f.contradictory_files) - (f.copy_groups - f.contradictory_groups)
    assert (
        len(images) + spare + f.contradictory_files + len(f.badly_named) + len(f.unreadable)
        == n_files
    )
    assert images["sha256"].is_unique and len(f.badly_named) < 10
    assert images["age"].between(0, 116).all()
    assert set(images["gender"]) == {0, 1} and set(images["race"]) == {0, 1, 2, 3, 4}
    shares = images["split"].value_counts(normalize=True)
    for split, share in ((TRAIN, 12 / 15), (VALIDATION, 2 / 15), (CALIBRATION, 1 / 15)):
        assert abs(shares[split] - share) < 4 * (share * (1 - share) / len(images)) ** 0.5
    assert load_size(images["file"][0]) == (200, 200)


def test_the_contradicting_copies_of_the_real_images(utkface):
    """Counted from the bytes: in all 23,708 published files, 259 groups have different labels."""
    labels, files = defaultdict(set), list(utkface.glob("*.jpg"))
    for file in files:
        if file.name.count("_") == 3:  # three names lack the race
            labels[file.read_bytes()].add(tuple(file.name.split("_")[:3]))
    groups = sum(len(different) > 1 for different in labels.values())
    copies = contradicting_copies(utkface)
    assert copies["sha256"].nunique() == groups
    assert groups == 259 or (groups < 259 and len(files) < 23_708)
    assert (copies.groupby("sha256")[["age", "gender", "race"]].nunique().max(axis=1) > 1).all()


def load_size(file: str) -> tuple[int, int]:
    with Image.open(file) as image:
        return image.size


# ------------------------------------------------------------------------------------------- images


def table_of(files: Iterable[Path | str]) -> pd.DataFrame:
    """The columns of `read_images` that `decode_images` needs."""
    files = [*map(str, files)]
    return pd.DataFrame({"file": files, "sha256": map(hash_of, files)})


def hash_of(file: Path | str) -> str:
    return sha256(Path(file).read_bytes()).hexdigest()


def test_decoding_reduces_each_image_as_pillow_does(synthetic_faces):
    files = sorted(map(str, synthetic_faces.iterdir()))[:5]
    decoded = decode_images(table_of(files), 36)
    assert decoded.shape == (5, 36, 36, 3) and decoded.dtype == np.uint8
    for file, pixels in zip(files, decoded, strict=True):
        with Image.open(file) as image:
            np.testing.assert_array_equal(
                pixels, np.asarray(image.convert("RGB").resize((36, 36), Image.Resampling.BILINEAR))
            )


def test_a_gray_image_is_decoded_too(tmp_path):
    file = tmp_path / name()
    Image.new("L", (48, 48), 90).save(file)
    assert (abs(decode_images(table_of([file]), 48)[0].astype(int) - 90) <= 1).all()


def test_images_are_decoded_once_with_a_cache(tmp_path, monkeypatch):
    files = table_of(support.write_pictures(tmp_path / "f", 6))
    first = decode_images(files, 36, tmp_path / "cache")
    monkeypatch.delattr(images, "load_image")  # decoding again would fail
    np.testing.assert_array_equal(decode_images(files, 36, tmp_path / "cache"), first)
    assert len(list((tmp_path / "cache").iterdir())) == 1  # and no partial file


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_names_of_images_need_not_be_utf_8(tmp_path):
    (file,) = support.write_pictures(tmp_path / "f", 1)
    odd = file.rename(file.with_name(os.fsdecode(b"30_0_0_caf\xe9.jpg")))
    table, _ = read_images(tmp_path / "f", progress=False)
    assert list(table["file"]) == [str(odd)]
    assert decode_images(table, 36, tmp_path / "cache").shape == (1, 36, 36, 3)


def test_a_name_cannot_add_a_line_to_the_report(tmp_path):
    (file,) = support.write_pictures(tmp_path, 1)
    file.with_name("x\nimages             9.jpg").write_bytes(b"")
    file.with_name("1_0_0_x\nimages             9.jpg").write_bytes(b"")
    (tmp_path / "own.csv").write_text(f'file,age,"a\nimages   9"\n{file.name},30,x\n')
    for data in (tmp_path, tmp_path / "own.csv"):
        report = read_images(data, verify=True, progress=False)[1]
        lines = str(report).splitlines()
        assert sum(line.startswith("images ") for line in lines) == 1, lines
        assert len(report.warning.splitlines()) < 2


def shorten(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    file.write_bytes(content)


def make_a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [shorten, flip_a_bit, make_a_pipe, empty])
def test_a_damaged_cache_is_made_again(tmp_path, damage, capsys):
    files = table_of(support.write_pictures(tmp_path / "f", 6))
    first = decode_images(files, 36, tmp_path / "cache")
    (kept,) = (tmp_path / "cache").iterdir()
    whole = kept.read_bytes()
    damage(kept)
    np.testing.assert_array_equal(decode_images(files, 36, tmp_path / "cache"), first)
    assert f"The cache {kept} was damaged" in capsys.readouterr().err
    assert kept.read_bytes() == whole and len(list((tmp_path / "cache").iterdir())) == 1


def decode_as_a_stranger(files: pd.DataFrame, cache: Path) -> None:
    if os.geteuid() == 0:
        os.setuid(12_345)  # root writes into every folder
    assert decode_images(files, 36, cache).shape == (6, 36, 36, 3)
    os._exit(7)


def test_without_a_place_for_a_cache_images_are_decoded_each_time(capfd):
    # In a process of its own, which may become another user. Others cannot see pytest's folders.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        files = table_of(support.write_pictures(Path(folder) / "f", 6))
        Path(folder).chmod(0o555)
        child = multiprocessing.get_context("fork").Process(
            target=decode_as_a_stranger, args=(files, Path(folder) / "cache")
        )
        child.start()
        child.join()
        Path(folder).chmod(0o700)
    assert child.exitcode == 7 and "cannot be kept" in capfd.readouterr().err


def a_folder(kept: Path) -> None:
    kept.mkdir(parents=True)
    (kept / "mine.txt").touch()


def a_dangling_link(kept: Path) -> None:
    kept.parent.mkdir()
    kept.symlink_to(kept.parent / "none" / "x")


def a_file_as_cache(kept: Path) -> None:
    kept.parent.write_text("mine")


def a_dangling_link_as_cache(kept: Path) -> None:
    kept.parent.symlink_to("none")


@pytest.mark.parametrize(
    "make", [a_folder, a_dangling_link, a_file_as_cache, a_dangling_link_as_cache]
)
def test_a_cache_that_cannot_be_used_is_said_in_one_line(tmp_path, make, capsys):
    """Nothing is deleted, and the images are decoded each time."""
    files, cache = table_of(support.write_pictures(tmp_path / "f", 6)), tmp_path / "cache"
    expected = decode_images(files, 36, tmp_path / "usable")
    make(cache / next((tmp_path / "usable").iterdir()).name)
    before = sorted(tmp_path.rglob("*"))
    for _ in range(2):
        capsys.readouterr()
        np.testing.assert_array_equal(decode_images(files, 36, cache), expected)
        said = [line for line in capsys.readouterr().err.splitlines() if "facemtl: " in line]
        assert len(said) == 1 and re.search(f"cannot be kept: {cache}.*: [A-Z]", said[0]), said
    assert sorted(tmp_path.rglob("*")) == before


def test_what_killed_trainings_left_in_the_cache_is_deleted(tmp_path):
    """What a living process writes stays, and so do files of others."""
    files, cache = table_of(support.write_pictures(tmp_path / "f", 6)), tmp_path / "cache"
    cache.mkdir()
    left, foreign = cache / ".0123-45px.npy.0123abcd.partial", cache / ".mine.0123abcd.partial"
    for is_made in (False, True):  # also if the cache is there already
        for file in (left, foreign):
            file.write_bytes(b"half")
        with written_whole(cache / "4567-45px.npy"):
            decode_images(files, 36, cache)
            assert len([*cache.glob(".4567*.partial")]) == 1, is_made
        assert not left.exists() and foreign.exists(), is_made


def test_the_cache_distinguishes_sizes_and_files(tmp_path):
    files = table_of(support.write_pictures(tmp_path / "f", 6))
    for chosen, size in ((files, 36), (files, 40), (files[:3], 36), (files[::-1], 36)):
        np.testing.assert_array_equal(
            decode_images(chosen, size, tmp_path / "cache"), decode_images(chosen, size)
        )


def test_the_cache_is_not_used_for_other_images_of_the_same_name_size_and_time(tmp_path):
    """Archives and containers may give all files one time."""
    file = tmp_path / "f" / f"{name()}.bmp"
    file.parent.mkdir()
    for colour in ((200, 30, 30), (30, 30, 200)):
        Image.new("RGB", (48, 48), colour).save(file)
        os.utime(file, (10**9, 10**9))
        images = table_of([file])
        np.testing.assert_array_equal(
            decode_images(images, 36, tmp_path / "cache"), decode_images(images, 36)
        )


def test_the_cache_is_used_for_the_same_images_in_another_place(tmp_path, monkeypatch):
    files = support.write_pictures(tmp_path / "f", 6)
    first = decode_images(table_of(files), 36, tmp_path / "cache")
    moved = [file.replace(tmp_path / f"{i}.jpg") for i, file in enumerate(files)]
    monkeypatch.delattr(images, "load_image")  # decoding again would fail
    np.testing.assert_array_equal(decode_images(table_of(moved), 36, tmp_path / "cache"), first)


def test_an_image_that_changed_after_it_was_read_is_refused(tmp_path):
    files = support.write_pictures(tmp_path / "f", 6)
    table, _ = read_images(tmp_path / "f", progress=False)
    files[3].write_bytes(files[2].read_bytes())
    with pytest.raises(FaceMTLError, match=f"{files[3].name} has changed"):
        decode_images(table, 36, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_an_image_that_cannot_be_decoded_is_named(tmp_path):
    files = support.write_pictures(tmp_path / "f", 4)
    files[2].write_bytes(files[2].read_bytes()[:500])
    with pytest.raises(FaceMTLError, match=files[2].name):
        decode_images(table_of(files), 36)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("wrong", [[np.nan], [np.inf], [-np.inf], [3e38, -3e38]])
def test_pixels_that_are_no_finite_numbers_are_refused(tmp_path, wrong):
    """Predicting from them would give confident answers. Without them, the image is used."""
    pixels = np.random.default_rng(0).uniform(-9, 9, (48, 48)).astype(np.float32)
    images, files = [], []
    for n, values in enumerate(([0], wrong)):
        pixels[3, : len(values)] = values
        images.append(Image.fromarray(pixels.copy()))
        files.append(tmp_path / f"30_0_0_{n}.jpg")
        images[-1].save(files[-1], "TIFF")
    report = read_images(tmp_path, verify=True, progress=False)[1]
    assert report.images == 1 and report.unreadable == [f"{files[1].name}: damaged"]
    for read in (as_image, lambda file: load_image(file, 48)):
        assert np.asarray(read(files[0])).shape == (48, 48, 3)
    assert as_image(images[0]).mode == "RGB"
    for given in (files[1], images[1]):
        with pytest.raises(FaceMTLError, match=r"^Some pixels are .* not numbers"):
            as_image(given)
    with pytest.raises(FaceMTLError, match=rf"{files[1].name} .*not numbers"):
        load_image(files[1], 48)


# ----------------------------------------------------------------------------------------- archives


def test_unpacking_gives_identical_image_bytes(tmp_path, good_archive, synthetic_faces):
    unpack(good_archive, tmp_path / "a" / "b" / "UTKFace")  # parent folders are created
    assert contents(tmp_path / "a" / "b" / "UTKFace") == contents(synthetic_faces)
    assert [f.name for f in (tmp_path / "a" / "b").iterdir()] == ["UTKFace"]


def test_other_files_are_not_unpacked(tmp_path):
    members = {
        f"UTKFace/{name()}": image_bytes(),
        f"UTKFace/._{name()}": b"a Mac's resource fork",
        "README.txt": b"hello",
        "run.sh": b"#!/bin/sh",
        "UTKFace/.DS_Store": b"...",
    }
    unpack(pack(tmp_path / "x.tar.gz", members), tmp_path / "UTKFace")
    assert contents(tmp_path / "UTKFace") == {name(): image_bytes()}


def test_an_empty_folder_is_filled(tmp_path, good_archive):
    (tmp_path / "UTKFace").mkdir()
    unpack(good_archive, tmp_path / "UTKFace")
    assert len(contents(tmp_path / "UTKFace")) == 240


def foreign(path: Path) -> Path:
    return pack(path, {"photos/cat.jpg": image_bytes(), "photos/notes.txt": b"meow"})


def with_member(member: str, content: bytes | object = b"evil"):
    return lambda path: pack(path, {f"UTKFace/{name()}": image_bytes(), member: content})


def text(path: Path) -> Path:
    path.write_text("this is no archive " * 100)
    return path


def zero(path: Path) -> Path:
    path.write_bytes(b"")
    return path


BAD_ARCHIVES = {
    "foreign": foreign,
    "upwards": with_member("../evil.jpg"),
    "upwards, deeper": with_member("UTKFace/../../evil.jpg"),
    "absolute": with_member("/tmp/facemtl-evil.jpg"),
    "symbolic link": with_member("UTKFace/" + name(1), support.link(b"2", "/etc/passwd")),
    "hard link": with_member("UTKFace/" + name(1), support.link(b"1", "/etc/passwd")),
    "device": with_member("UTKFace/" + name(1), support.link(b"3", "")),
    "two of one name": with_member("more/" + name(0)),
    "no members": lambda path: pack(path, {}),
    "no archive": text,
    "no bytes": zero,
    "missing": lambda path: path,
}


@pytest.mark.parametrize("make", BAD_ARCHIVES.values(), ids=BAD_ARCHIVES)
@pytest.mark.parametrize("target", ["absent", "empty"])
def test_a_bad_archive_is_refused_and_leaves_nothing(tmp_path, make, target):
    archive, folder = make(tmp_path / "bad.tar.gz"), tmp_path / "here" / "UTKFace"
    folder.parent.mkdir()
    if target == "empty":
        folder.mkdir()
    with pytest.raises(FaceMTLError, match=r"bad\.tar\.gz") as error:
        unpack(archive, folder)
    assert "\n" not in str(error.value)
    assert is_clean(folder) if target == "absent" else list(folder.parent.rglob("*")) == [folder]
    assert not list(tmp_path.rglob("*evil*")) and not Path("/tmp/facemtl-evil.jpg").exists()


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9, 0.999])
def test_a_truncated_archive_is_refused_and_leaves_nothing(tmp_path, good_archive, share):
    whole = good_archive.read_bytes()
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(FaceMTLError, match=r"cut\.tar\.gz"):
        unpack(cut, tmp_path / "UTKFace")
    assert is_clean(tmp_path / "UTKFace")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_an_archive_with_a_flipped_bit_is_refused_and_leaves_nothing(tmp_path, good_archive, share):
    content = bytearray(good_archive.read_bytes())
    content[int(len(content) * share)] ^= 0x10
    good_archive.write_bytes(content)
    with pytest.raises(FaceMTLError, match=r"good\.tar\.gz"):  # gzip detects this with a checksum
        unpack(good_archive, tmp_path / "UTKFace")
    assert is_clean(tmp_path / "UTKFace")


@pytest.mark.parametrize(
    ("name", "says"),
    [("file", "file is a file"), ("file/UTKFace", "UTKFace cannot be made")],
    ids=["the folder is a file", "its parent is a file"],
)
def test_an_uncreatable_folder_gives_one_message(tmp_path, good_archive, name, says):
    (tmp_path / "file").write_text("keep me")
    with pytest.raises(FaceMTLError, match=says) as error:
        unpack(good_archive, tmp_path / name)
    assert "\n" not in str(error.value)
    assert (tmp_path / "file").read_text() == "keep me"
    assert {f.name for f in tmp_path.iterdir()} == {"file", good_archive.name}


def test_an_interruption_leaves_nothing(tmp_path, good_archive, monkeypatch):
    copied = []

    def interrupted(source, target):
        copied.append(target.write(source.read()))
        if len(copied) == 100:
            raise KeyboardInterrupt

    monkeypatch.setattr("shutil.copyfileobj", interrupted)
    with pytest.raises(KeyboardInterrupt):
        unpack(good_archive, tmp_path / "UTKFace")
    assert len(copied) == 100 and is_clean(tmp_path / "UTKFace")


@pytest.fixture
def unpacking(tmp_path, synthetic_faces):
    """A process that unpacks images, with a slow last image, and its target folder."""
    long = {f"UTKFace/{n}": c for n, c in list(contents(synthetic_faces).items())[:20]}
    slow = pack(tmp_path / "slow.tar.gz", long | {f"UTKFace/{name(99)}": bytes(300_000_000)})
    folder = tmp_path / "here" / "UTKFace"
    folder.parent.mkdir()
    return support.facemtl("download", "--archive", slow, "--data", folder, cwd=tmp_path), folder


def test_after_a_killed_unpacking_the_next_one_cleans_up(unpacking, good_archive, synthetic_faces):
    process, folder = unpacking
    support.kill_once(
        process, lambda: any(folder.parent.glob("*/*.jpg")) or any(folder.parent.glob(".*/*.jpg"))
    )
    assert process.returncode != 0
    assert not folder.exists() and list(
        folder.parent.iterdir()
    )  # no target, but a partial folder of the killed process

    download(folder, good_archive)
    assert contents(folder) == contents(synthetic_faces)
    assert list(folder.parent.iterdir()) == [folder]


def test_parallel_downloads_do_not_interfere(unpacking, good_archive, synthetic_faces):
    """The second download reports the first and changes nothing. It can run after the first is done
    or killed.
    """
    process, folder = unpacking

    def is_refused_meanwhile() -> bool:
        if not any(folder.parent.glob(".*/*.jpg")):
            return False
        with pytest.raises(FaceMTLError, match="another process"):
            download(folder, good_archive)
        assert any(folder.parent.glob(".*/*.jpg")), "what the first has unpacked is left alone"
        return True

    support.kill_once(process, is_refused_meanwhile)
    download(folder, good_archive)
    assert contents(folder) == contents(synthetic_faces)


def test_progress_grows_to_the_size_of_the_archive(tmp_path, good_archive, capsys):
    size, reports = good_archive.stat().st_size, []
    unpack(good_archive, tmp_path / "UTKFace", lambda *report: reports.append(report))
    done = [done for _, done, _ in reports]
    assert len(done) >= 240 and done == sorted(done) and 0 < done[-1] <= size
    assert {(step, total) for step, _, total in reports} == {("Unpacking", size)}
    assert capsys.readouterr().err == ""


def test_unpacking_can_be_stopped_and_leaves_nothing(tmp_path, good_archive):
    def stop(step: str, done: int, total: int) -> None:
        if done:
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        unpack(good_archive, tmp_path / "UTKFace", stop)
    assert is_clean(tmp_path / "UTKFace")


@pytest.mark.parametrize(
    ("make", "is_so"),
    [
        (lambda data: None, True),
        (lambda data: data.mkdir(), True),
        (lambda data: folder_of(data, {"other.txt": b"dear"}), False),
        (lambda data: folder_of(data, {name(): image_bytes()}), False),
        (lambda data: folder_of(data, {"labels.csv": b"file,age"}), False),
        (lambda data: data.write_text("a file"), False),
    ],
    ids=["no folder", "empty", "other files", "images", "own faces", "a file"],
)
def test_utkface_is_missing_where_it_could_be_unpacked(tmp_path, make, is_so):
    make(tmp_path / "data")
    assert is_missing(tmp_path / "data") is is_so


def test_own_faces_are_never_taken_for_a_missing_dataset(tmp_path):
    assert not is_missing(tmp_path / "own.csv")


# --------------------------------------------------------------------------------- download command


def test_a_folder_with_images_is_not_changed(tmp_path, synthetic_faces):
    before = contents(synthetic_faces)
    download(synthetic_faces, tmp_path / "this archive does not exist.tar.gz")
    assert contents(synthetic_faces) == before


def test_a_folder_with_other_files_is_not_changed(tmp_path, good_archive):
    folder = folder_of(tmp_path / "letters", {"love.txt": b"dear"})
    with pytest.raises(FaceMTLError, match="letters"):
        download(folder, good_archive)
    assert contents(folder) == {"love.txt": b"dear"}


def test_the_command_prints_what_it_found(tmp_path):
    same, torn = image_bytes(1), image_bytes(2)
    members = {
        name(0): image_bytes(0), name(1): same, name(2): same, name(3, age=1): torn,
        name(4, age=2): torn,
        "39_1_20990101000000000.jpg.chip.jpg": image_bytes(3), name(5): b"not a JPEG",
    }  # fmt: skip
    archive = pack(tmp_path / "UTKFace.tar.gz", {f"UTKFace/{n}": c for n, c in members.items()})
    status, out, err = support.finish(
        support.facemtl("download", "--archive", archive, cwd=tmp_path)
    )
    assert status == 0, err
    assert {f.name for f in (tmp_path / "data" / "UTKFace").iterdir()} == set(members)
    lines = {
        line.split("  ")[0]: line.split("  ", 1)[1].strip()
        for line in out.splitlines()
        if "  " in line
    }
    assert lines["images"].startswith("2 ")
    assert lines["badly named"].startswith("1 (39_1_20990101000000000.jpg.chip.jpg)")
    assert lines["unreadable"].startswith(f"1 ({name(5)}: damaged)")
    assert lines["identical copies"].startswith("4 files in 2 groups")
    assert lines["contradictory"].startswith("2 of these files, in 1 groups")


# ---------------------------------------------------------------------------------------------- hub


@pytest.fixture
def hub(loopback, good_archive):
    """A server that stands in for the Hugging Face hub, with the archive at its URL."""
    support.put_on_hub(loopback, good_archive)
    return loopback


@pytest.fixture
def big_hub(loopback, tmp_path, synthetic_faces):
    """The same with 3 MB, of which the server sends half before it breaks off."""
    members = {"padding.bin": random.Random(0).randbytes(3_000_000)}
    members |= {f"UTKFace/{n}": c for n, c in contents(synthetic_faces).items()}
    support.put_on_hub(loopback, pack(tmp_path / "big.tar.gz", members))
    return loopback


def resumed_at(range_header: str | None) -> int:
    """The first requested byte."""
    return int(range_header.removeprefix("bytes=").rstrip("-")) if range_header else 0


def start_download(tmp_path: Path, url: str):
    return support.facemtl(
        "download",
        cwd=tmp_path,
        HF_ENDPOINT=url,
        HF_HOME=str(tmp_path / "hf"),
        HF_HUB_DISABLE_TELEMETRY="1",
    )


def test_without_a_local_archive_the_download_uses_the_hub(tmp_path, hub, synthetic_faces):
    status, out, err = support.finish(start_download(tmp_path, hub.url))
    assert status == 0, err
    assert hub.asked("GET", HUB_FILE) == [None]
    assert contents(tmp_path / "data" / "UTKFace") == contents(synthetic_faces)
    assert "240 different ones" in out


def test_a_broken_connection_is_resumed(tmp_path, big_hub, synthetic_faces):
    big_hub.cuts = 1
    status, _, err = support.finish(start_download(tmp_path, big_hub.url))
    assert status == 0, err
    first, second = map(resumed_at, big_hub.asked("GET", HUB_FILE))
    assert first == 0 and 1_000_000 < second <= 2_500_000
    assert contents(tmp_path / "data" / "UTKFace") == contents(synthetic_faces)


def test_a_connection_that_stalls_counts_as_broken(tmp_path, big_hub, monkeypatch):
    """So a stop is noticed soon, also if nothing arrives any more. What has arrived is kept."""
    monkeypatch.setattr("facemtl.data.download.PATIENCE", 0.2)
    big_hub.stalls = True
    (archive,) = big_hub.folder.rglob(HUB_FILE)
    size, partial, halves = archive.stat().st_size, tmp_path / "partial", 0

    def stop(step: str, done: int, total: int) -> None:
        nonlocal halves
        halves += done == size // 2
        if halves == 2:  # the last piece has arrived, and the next try begins
            raise RuntimeError("stop")

    url = f"{big_hub.url}/{archive.relative_to(big_hub.folder)}"
    with pytest.raises(RuntimeError, match="stop"):
        _fetch(url, size, partial, stop)
    assert partial.read_bytes() == archive.read_bytes()[: size // 2]


def test_an_interrupted_download_resumes_in_the_next_run(tmp_path, big_hub, synthetic_faces):
    big_hub.stalls = True
    process = start_download(tmp_path, big_hub.url)
    pieces = tmp_path / "hf"

    def has_kept_some() -> bool:
        return any(file.stat().st_size > 1_000_000 for file in pieces.rglob("*.incomplete"))

    support.kill_once(process, has_kept_some)
    assert process.returncode != 0
    assert not (tmp_path / "data" / "UTKFace").exists()

    big_hub.stalls = False
    big_hub.requests.clear()
    status, _, err = support.finish(start_download(tmp_path, big_hub.url))
    assert status == 0, err
    assert contents(tmp_path / "data" / "UTKFace") == contents(synthetic_faces)
    asked = big_hub.asked("GET", HUB_FILE)
    assert [1_000_000 < resumed_at(range_) <= 2_500_000 for range_ in asked] == [True], (
        "the second run fetched everything again"
    )


@pytest.mark.parametrize("tag", ["../../../evil", "a/b", "x" * 300, "*"])
def test_any_version_gets_a_name_in_the_cache(tmp_path, hub, tag):
    hub.headers = {"ETag": f'"{tag}"'}
    status, _, err = support.finish(start_download(tmp_path, hub.url))
    assert status == 0, err
    (kept,) = tmp_path.rglob(f"*-{HUB_FILE}")
    assert kept.parent == tmp_path / "hf" / "facemtl" and not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("header", ["ETag", "Content-Length"])
def test_a_server_that_does_not_tell_the_version_or_size_is_refused(tmp_path, hub, header):
    hub.headers = {header: None}
    status, _, err = support.finish(start_download(tmp_path, hub.url))
    assert status == 1 and "does not tell" in err.splitlines()[-1]
    assert "unexpected" not in err and not hub.asked("GET", HUB_FILE)


NO_LENGTH = {"Content-Length": None}


@pytest.fixture
def fetch(big_hub, tmp_path, monkeypatch):
    """A function that fetches the archive of `big_hub`, and the file that it fetches to."""
    monkeypatch.setattr("facemtl.data.download.time", SimpleNamespace(sleep=lambda seconds: None))
    (archive,) = big_hub.folder.rglob(HUB_FILE)
    url, size = f"{big_hub.url}/{archive.relative_to(big_hub.folder)}", archive.stat().st_size
    partial = tmp_path / "partial"
    return lambda: _fetch(url, size, partial, lambda *_: None), partial


@pytest.mark.parametrize(("kept", "headers"), [(0, {}), (1_500_000, {}), (0, NO_LENGTH)])
def test_the_page_of_a_network_is_not_taken_for_the_archive(fetch, big_hub, kept, headers):
    start, partial = fetch
    (archive,) = big_hub.folder.rglob(HUB_FILE)
    partial.write_bytes(before := archive.read_bytes()[:kept])
    big_hub.page, big_hub.headers = b"<html>Please log in</html>", headers
    with pytest.raises(httpx.TransportError, match="something else"):
        start()
    assert partial.read_bytes() == before
    big_hub.page = b""
    start()
    assert partial.read_bytes() == archive.read_bytes()


@pytest.mark.parametrize("wrong", ["another size", "from its first byte"])
def test_a_rest_that_does_not_fit_is_noticed_at_once(fetch, big_hub, wrong):
    start, partial = fetch
    (archive,) = big_hub.folder.rglob(HUB_FILE)
    partial.write_bytes(archive.read_bytes()[:1_500_000])
    big_hub.restarts = wrong == "from its first byte"
    if wrong == "another size":
        archive.write_bytes(archive.read_bytes() + b"x")
        with pytest.raises(httpx.TransportError, match="something else"):
            start()
        assert partial.read_bytes() == b""
    else:
        start()
        assert partial.read_bytes() == archive.read_bytes()
        assert big_hub.asked("GET", HUB_FILE) == ["bytes=1500000-", None]


def test_a_server_that_sends_little_each_time_is_given_up(fetch, big_hub):
    start, partial = fetch
    big_hub.most = 10
    with pytest.raises(httpx.TransportError):
        start()
    assert len(big_hub.asked("GET", HUB_FILE)) < 10
    big_hub.most = 500_000
    start()
    (archive,) = big_hub.folder.rglob(HUB_FILE)
    assert partial.read_bytes() == archive.read_bytes()


def test_nothing_is_fetched_if_the_folder_cannot_be_made(tmp_path, hub):
    (tmp_path / "data").write_text("a file")
    status, out, err = support.finish(start_download(tmp_path, hub.url))
    assert status == 1 and "Traceback" not in out + err
    assert "cannot be made" in err.splitlines()[-1] and not hub.asked("GET", HUB_FILE)


def test_an_archive_that_cannot_be_saved_gives_instructions(tmp_path, hub):
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "facemtl").write_text("a file")
    status, out, err = support.finish(start_download(tmp_path, hub.url))
    assert status == 1 and "Traceback" not in out + err
    assert re.search("could not be saved in .*hf.*try again", err.splitlines()[-1])


def test_a_damaged_archive_is_fetched_again_by_the_next_run(tmp_path, hub, synthetic_faces):
    (served,) = hub.folder.rglob(HUB_FILE)
    whole = served.read_bytes()
    served.write_bytes(whole[:-2000] + bytes(2000))
    status, _, err = support.finish(start_download(tmp_path, hub.url))
    assert status == 1 and "not a whole .tar.gz" in err.splitlines()[-1]
    served.write_bytes(whole)
    status, _, err = support.finish(start_download(tmp_path, hub.url))
    assert status == 0, err
    assert contents(tmp_path / "data" / "UTKFace") == contents(synthetic_faces)


def test_a_missing_network_gives_instructions_in_one_line(tmp_path):
    status, out, err = support.finish(
        start_download(tmp_path, f"http://127.0.0.1:{support.closed_port()}")
    )
    assert status == 1
    assert "Traceback" not in out + err
    (line,) = [line for line in err.splitlines() if line.startswith("facemtl: ")]
    assert line == err.splitlines()[-1] and "--archive" in line
    assert not (tmp_path / "data").exists()


def test_a_removed_dataset_gives_a_one_line_error(tmp_path, loopback):
    status, out, err = support.finish(start_download(tmp_path, loopback.url))
    assert status == 1 and "Traceback" not in out + err
    assert err.splitlines()[-1].startswith("facemtl: ") and "--archive" in err.splitlines()[-1]
