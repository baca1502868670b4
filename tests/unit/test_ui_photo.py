"""An uploaded photo and its crop: reading it, moving, resizing and resetting the crop."""

import io
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from facemtl.errors import FaceMTLError
from facemtl.faces import open_image
from facemtl.ui import api
from facemtl.ui import photo as photos
from tests import support
from tests.odd_files import lying


def test_steps_move_and_resize_the_crop_and_can_be_undone(photo):
    view = photos.choose(photos.open_view(photo), 1)
    left, top, right, bottom = view.face.box
    side, step = right - left, photos.STEP * (right - left)
    assert photos.correct(view, "Right").face.box == pytest.approx(
        (left + step, top, right + step, bottom + 0)
    )
    assert photos.correct(view, "Up").face.box == pytest.approx(
        (left, top - step, right, bottom - step)
    )
    closer_ = photos.correct(view, "Tighter").face.box
    assert closer_[2] - closer_[0] == pytest.approx(side / (1 + photos.GROWTH))
    assert (closer_[0] + closer_[2]) / 2 == pytest.approx((left + right) / 2)
    there_and_back = photos.correct(photos.correct(view, "Left"), "Right")
    assert there_and_back.face.box == pytest.approx(view.face.box)
    assert there_and_back.faces[0] is view.faces[0], "other faces stay"
    assert photos.reset(photos.correct(view, "Wider")).face is view.face
    wider = photos.correct(view, "Wider").face
    assert wider.angle == pytest.approx(view.face.angle, abs=3) and wider.pose == view.face.pose
    assert np.abs(wider.landmarks - view.face.landmarks).max() < 0.05 * side


def test_a_box_that_is_dragged_becomes_the_crop(photo):
    view = photos.choose(photos.open_view(photo), 1)
    moved = photos.place(view, [0.25, 0.1, 0.4])
    assert moved.face.box == pytest.approx((225, 60, 585, 420), abs=1)
    assert moved.faces[0] is view.faces[0] and photos.reset(moved).face is view.face
    assert photos.place(moved, [0.25, 0.1, 0.4]).face.box == moved.face.box


@pytest.mark.parametrize(
    "at",
    [
        None,
        7,
        "abc",
        [0.1, 0.1],
        [0.1, 0.1, "x"],
        [float("nan")] * 3,
        [9, 9, 0.1],
        [0.1, 0.1, 0],
        [0.1, 0.1, -1],
        [0, 0, 1e9],
    ],
)
def test_an_invalid_dragged_box_changes_nothing(photo, at):
    view = photos.open_view(photo)
    assert photos.place(view, at) is view
    assert photos.place(photos.PhotoView(), [0.1, 0.1, 0.5]) == photos.PhotoView()


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("kept_bytes", [photos.KEPT_BYTES, 0])
def test_a_corrected_crop_shows_its_part_of_the_photo(
    tmp_path, monkeypatch, kept_bytes, orientation
):
    """Colours encode the position of a pixel: red increases to the right, green downwards."""
    monkeypatch.setattr(photos, "KEPT_BYTES", kept_bytes)
    ramp = np.linspace(0, 255, 800).astype(np.uint8)
    pixels = np.stack(
        [
            np.tile(ramp, (800, 1)),
            np.tile(ramp[:, None], (1, 800)),
            np.full((800, 800), 90, np.uint8),
        ],
        axis=-1,
    )
    image, exif = lying(Image.fromarray(pixels[:500]), orientation)
    image.save(tmp_path / "ramp.png", exif=exif)
    view = photos.take_centre(photos.open_view(tmp_path / "ramp.png"))
    assert (view.kept == (tmp_path / "ramp.png").read_bytes()) == bool(kept_bytes)
    for step in ("Tighter", "Tighter", "Tighter", "Right", "Down"):
        view = photos.correct(view, step)
    left, top, right, bottom = view.face.box
    for value, expected in zip(
        view.face.crop.mean(axis=(0, 1)), ((left + right) / 2, (top + bottom) / 2), strict=False
    ):
        assert value == pytest.approx(255 * expected / 800, abs=2)


def test_a_large_photo_is_stored_only_as_large_as_corrections_need(tmp_path):
    """This also holds for small files, because the time to read a file depends on its pixels."""
    Image.new("RGB", (3000, 2400), "gray").save(tmp_path / "plain.png")
    view = photos.open_view(tmp_path / "plain.png")
    assert max(open_image(io.BytesIO(view.kept)).size) == photos.KEPT_SIDE


@pytest.mark.parametrize("step", photos.STEPS)
def test_a_crop_never_leaves_its_photo(photo, step):
    view = photos.open_view(photo)
    for _ in range(80):
        view = photos.correct(view, step)
    x, y = (view.face.box[0] + view.face.box[2]) / 2, (view.face.box[1] + view.face.box[3]) / 2
    assert 0 < x < 900 and 0 < y < 600
    assert 8 <= view.face.box[2] - view.face.box[0] <= 2 * 900
    assert len(view.face.crop) >= 8


def test_a_file_that_is_not_an_image_is_refused(tmp_path):
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(FaceMTLError, match="not an image"):
        photos.open_view(tmp_path / "text.jpg")


def test_a_drawn_box_adds_a_face_and_chooses_it(photo):
    view = photos.open_view(photo)
    added = photos.add(view, [0.25, 0.1, 0.4])
    assert added.faces[:-1] == view.faces and added.face is added.faces[-1]
    assert added.face.box == pytest.approx((225, 60, 585, 420), abs=1)
    assert photos.reset(photos.correct(added, "Left")).face.box == added.face.box
    for wrong in (None, [9, 9, 0.1], [0, 0, 1e9]):
        assert photos.add(view, wrong) is view


def test_no_more_than_a_hundred_faces_are_in_a_photo(photo):
    view = photos.open_view(photo)
    full = replace(view, faces=view.faces[:1] * photos.MOST_FACES)
    assert photos.add(full, [0.25, 0.1, 0.4]) is full


def test_four_quarter_turns_give_the_same_crop(photo):
    view = photos.open_view(photo)
    turned = [photos.turn(view)]
    for _ in range(3):
        turned.append(photos.turn(turned[-1]))
    angles = [each.face.angle for each in turned]
    steps = np.diff([view.face.angle, *angles]) % 360
    assert steps == pytest.approx([270] * 4)
    # Clockwise: the left column of the first crop becomes the top row, from bottom to top.
    upright, quarter = (np.asarray(v.face.crop, float) for v in (turned[3], turned[0]))
    assert np.abs(np.rot90(upright, -1) - quarter).mean() < 5
    assert turned[0].face.pose == "tilted"


def test_a_turned_crop_keeps_its_angle_until_corrections_are_undone(photo):
    view = photos.open_view(photo)
    turned = photos.turn(view)
    for other in (
        *(photos.correct(turned, step) for step in photos.STEPS),
        photos.place(turned, [0.1, 0.2, 0.4]),
        photos.correct(photos.choose(photos.choose(turned, 1), 0), "Wider"),
    ):
        assert other.face.angle == turned.face.angle and other.face is not turned.face
    upright = photos.correct(photos.choose(turned, 1), "Wider").face.angle
    assert upright == pytest.approx(view.faces[1].angle, abs=3), "other faces are not turned"
    undone = photos.reset(turned)
    assert undone.face is view.face
    again = photos.correct(undone, "Wider").face.angle
    assert (again - view.face.angle + 180) % 360 - 180 == pytest.approx(0, abs=3)
    added = photos.add(turned, [0.25, 0.1, 0.4])
    assert photos.correct(added, "Left").face.angle == added.face.angle == 0


def test_what_a_visitor_says_is_forgotten_with_the_face(photo):
    view = replace(photos.open_view(photo), said={"age": 30.0})
    assert photos.choose(view, 0).said == {"age": 30.0}
    assert photos.correct(view, "Left").said == {"age": 30.0}
    assert photos.choose(view, 1).said == photos.add(view, [0.25, 0.1, 0.4]).said == {}


def test_one_photo_is_decoded_at_a_time(monkeypatch, predictor):
    """By whatever way they come. Others could come in while this one waits."""
    now, most = [], []

    def watched(file):
        now.append(file)
        time.sleep(0.1)
        most.append(len(now))
        now.remove(file)
        return open_image(file)

    for module in (photos, api):
        monkeypatch.setattr(module, "open_image", watched)
    files = support.composites(100)[:3]
    with ThreadPoolExecutor(6) as pool:
        seen = [pool.submit(photos.open_view, file) for file in files]
        told = [pool.submit(api.predict, predictor, str(file)) for file in files]
        assert all(len(each.result().faces) == 1 for each in seen)
        assert all(len(each.result()["faces"]) == 1 for each in told)
    assert most == [1] * 6
