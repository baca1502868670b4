"""Augmentation of the training images."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from facemtl.errors import FaceMTLError
from facemtl.training import augment as module
from facemtl.training.augment import JPEG_QUALITY, augment, resize
from facemtl.training.config import Augmentation
from tests import support

STILL = Augmentation().scaled(0)


@pytest.mark.parametrize(
    "change",
    [
        {"gray": 1.5},
        {"erase": -0.1},
        {"scale": 1.0},
        {"rotation": -5},
        {"shift": -0.1},
        {"light": -1},
        {"blur": 2},
        {"tint": -0.1},
        {"dark": 1.1},
        {"jpeg": -1},
    ],
)
def test_contradictory_amounts_of_augmentation_are_refused(change):
    with pytest.raises(FaceMTLError, match=next(iter(change))):
        Augmentation(**change)


def photos(n=16, size=64) -> torch.Tensor:
    rng = np.random.default_rng(0)
    pixels = [support.picture(30, i % 2, i % 5, rng, size) for i in range(n)]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize("how", [Augmentation(), STILL, Augmentation(180, 0.5, 0.5, *[1] * 7)])
@pytest.mark.parametrize("size", [32, 56, 64, 100])
def test_an_augmented_image_keeps_its_shape_and_range(how, size):
    torch.manual_seed(0)
    found = augment(photos(), size, how)
    assert found.shape == (16, 3, size, size)
    assert torch.isfinite(found).all() and found.min() >= 0 and found.max() <= 1


def test_each_image_gets_its_own_random_changes():
    torch.manual_seed(0)
    found = augment(photos(1).repeat(12, 1, 1, 1), 64, replace(STILL, rotation=15))
    distances = (found[:, None] - found[None]).abs().mean(dim=(2, 3, 4))
    assert (distances + torch.eye(12) > 1e-4).all()


@pytest.mark.parametrize("change", ["rotation", "scale", "shift", "light", "tint"])
def test_each_amount_changes_images_by_itself(change):
    torch.manual_seed(0)
    found = augment(photos(), 64, replace(STILL, **{change: getattr(Augmentation(), change)}))
    changes = torch.minimum(
        *((found - other).abs().mean(dim=(1, 2, 3)) for other in (photos(), photos().flip(3)))
    )
    assert changes.median() > 0.005


def test_zero_amounts_leave_only_the_flip():
    torch.manual_seed(0)
    images = photos(64)
    found = augment(images, 64, STILL)
    same = (found - images).abs().amax(dim=(1, 2, 3)) < 1e-3
    mirrored = (found - images.flip(3)).abs().amax(dim=(1, 2, 3)) < 1e-3
    assert (same ^ mirrored).all()
    assert 16 < same.sum() < 48  # half of them; the chance of a larger deviation is 1 in 30,000


def test_zero_amounts_resize_like_validation():
    torch.manual_seed(0)
    images = photos(16, 96)
    found, plain = augment(images, 40, STILL), resize(images, 40)
    off = torch.minimum(
        *((found - other).abs().mean(dim=(1, 2, 3)) for other in (plain, plain.flip(3)))
    )
    assert (off < 0.02).all()


def test_gray_removes_colour_from_its_share_of_images():
    torch.manual_seed(0)
    colourful = lambda x: (x.amax(dim=1) - x.amin(dim=1)).amax(dim=(1, 2)) > 0.02  # noqa: E731
    images = photos(10).repeat(40, 1, 1, 1)
    n_before = int(colourful(images).sum())
    assert not colourful(augment(images, 64, replace(STILL, gray=1.0))).any()
    share = 1 - int(colourful(augment(images, 64, replace(STILL, gray=0.3))).sum()) / n_before
    assert 0.2 < share < 0.4


def test_tint_changes_the_balance_of_colours_alone():
    torch.manual_seed(0)
    gray = torch.linspace(0.2, 0.7, 64).expand(12, 3, 64, 64)
    found = augment(gray, 64, replace(STILL, tint=0.2))
    factors = (
        found / torch.where(found[:, :, :, :1] < found[:, :, :, -1:], gray, gray.flip(3))
    ).mean(dim=(2, 3))
    assert (factors >= 0.8).all() and (factors <= 1.2).all()
    assert (factors.amax(dim=1) - factors.amin(dim=1) > 0.02).all()


def test_dark_keeps_a_quarter_of_the_light_and_affects_its_share_of_images():
    torch.manual_seed(0)
    found = (
        augment(torch.full((400, 3, 32, 32), 0.8), 32, replace(STILL, dark=0.3)).mean(dim=(1, 2, 3))
        / 0.8
    )
    assert found.min() >= 0.25 - 1e-3 and found.max() <= 1 + 1e-3 and found.min() < 0.3
    assert 0.2 < (found < 0.98).float().mean() < 0.4


def test_gamma_changes_gray_and_keeps_black_and_white():
    """On an image with black, gray and white, without the contrast and brightness changes of
    `light`.
    """
    torch.manual_seed(0)
    levels = torch.tensor([0.0, 0.5, 1.0]).repeat_interleave(32).expand(64, 3, 96, 96)
    found = augment(levels, 96, replace(STILL, light=0.3))
    middle = (found[:, 0, 48, 48] - found[:, 0, 48].amin(dim=1)) / (
        found[:, 0, 48].amax(dim=1) - found[:, 0, 48].amin(dim=1)
    )
    assert middle.min() < 0.42 and middle.max() > 0.58


def test_recompression_matches_pillow_and_affects_its_share_of_images():
    torch.manual_seed(0)
    noise = torch.rand(300, 3, 32, 32)
    found = augment(noise, 32, replace(STILL, jpeg=0.3))
    changed = (
        torch.minimum(
            *((found - other).abs().mean(dim=(1, 2, 3)) for other in (noise, noise.flip(3)))
        )
        > 0.01
    )
    assert 0.2 < changed.float().mean() < 0.4
    image = support.picture(60, 1, 2, np.random.default_rng(0), 100)
    for quality in JPEG_QUALITY:
        expected = np.asarray(Image.open(io.BytesIO(support.jpeg(image, quality=quality))), float)
        pixels = module._recompressed(
            torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255, quality
        )
        np.testing.assert_allclose(255 * pixels.permute(1, 2, 0).numpy(), expected, atol=0.01)


def test_blur_matches_pillow(monkeypatch):
    monkeypatch.setattr(module, "MAX_BLUR", 0.02)
    image = support.picture(60, 1, 2, np.random.default_rng(0), 100)
    found = module._blur(
        torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float(), torch.tensor([2.0])
    )
    expected = np.asarray(image.filter(ImageFilter.GaussianBlur(2)), float)
    assert np.abs(found[0].permute(1, 2, 0).numpy() - expected).mean() < 1


def test_a_batch_without_blurred_images_stays_unchanged():
    """This can happen in the last, small batch of an epoch."""
    noise = torch.rand(1, 3, 32, 32)
    found = augment(noise, 32, replace(STILL, blur=1e-9))
    assert torch.minimum((found - noise).abs().max(), (found - noise.flip(3)).abs().max()) < 1e-3


def test_blur_removes_detail_from_its_share_of_images():
    torch.manual_seed(0)
    noise = torch.rand(400, 3, 32, 32)
    found = augment(noise, 32, replace(STILL, blur=0.3))
    changed = (
        torch.minimum(
            *((found - other).abs().mean(dim=(1, 2, 3)) for other in (noise, noise.flip(3)))
        )
        > 0.01
    )
    assert 0.2 < changed.float().mean() < 0.35  # the weakest blurs change nothing
    assert found[changed].std() < noise.std()
    assert found[changed].mean() == pytest.approx(0.5, abs=0.01)


def test_erasing_fills_one_patch_with_one_value():
    torch.manual_seed(0)
    noise = torch.rand(20, 3, 64, 64)
    found = augment(noise, 64, replace(STILL, erase=1.0))
    for before, after in zip(noise, found, strict=True):
        changed = (
            torch.minimum(
                (after - before).abs().sum(dim=0), (after - before.flip(2)).abs().sum(dim=0)
            )
            > 1e-3
        )
        rows, columns = changed.any(dim=1).nonzero()[:, 0], changed.any(dim=0).nonzero()[:, 0]
        patch = after[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert patch.shape[1] in range(8, 28) and patch.shape[2] in range(
            8, 28
        )  # 15 to 40 % of 64 px
        assert patch.std() < 0.05


def test_the_same_seed_augments_in_the_same_way():
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(augment(photos(), 48, Augmentation(erase=0.5)))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_resizing_matches_pillow():
    image = support.picture(60, 1, 2, np.random.default_rng(0), 96)
    found = resize(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255, 40)[
        0
    ].permute(1, 2, 0)
    expected = np.asarray(image.resize((40, 40), Image.Resampling.BILINEAR)) / 255
    assert np.abs(found.numpy() - expected).max() < 0.01
