"""A batch of images -> the same batch, each image changed in its own way, on whatever device it is."""

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import FaceMTLError

MAX_BLUR = 0.03  # of a side


@dataclass(frozen=True)
class Augmentation:
    """How far a training image may be changed. All amounts are drawn uniformly, image by image."""

    rotation: float = 15.0  # degrees to either side
    scale: float = 0.12  # relative change of size
    shift: float = 0.12  # share of a side, in each direction
    light: float = 0.3  # relative change of brightness, and of contrast
    tint: float = 0.0  # relative change of each colour, as by faded prints and lamps
    gray: float = 0.1  # share of images made gray
    blur: float = 0.0  # share of images blurred, by a Gaussian whose standard deviation is up to MAX_BLUR
    erase: float = 0.0  # share of images that lose a patch of 15 to 40 % of a side

    def __post_init__(self):
        highest = {"rotation": 180, "scale": 0.9}
        for name, value in asdict(self).items():
            high = highest.get(name, 1)
            if not 0 <= value <= high:
                raise FaceMTLError(f"{name} must be from 0 to {high}; found {value}.")


def augment(images: Tensor, size: int, how: Augmentation, part: tuple[int, int] = (0, 1)) -> Tensor:
    """(B, 3, H, W) in [0, 1] -> (B, 3, size, size) in [0, 1], each image changed in its own way.

    `part` is which of how many equal parts of a batch these images are; they are changed as they are in the whole batch.
    """

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.empty(count * n, *shape, device=images.device).uniform_(low, high)[number * n : (number + 1) * n]

    n, (number, count) = len(images), part
    if (enough := round(size * 1.125)) < images.shape[-1]:
        images = resize(images, enough)  # sampling a much larger image would alias

    angle, zoom = uniform(-how.rotation, how.rotation) * math.pi / 180, 1 + uniform(-how.scale, how.scale)
    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    shift = 2 * uniform(-how.shift, how.shift, 2)  # a side is 2 long here
    matrix = torch.stack(
        [torch.stack([cos * flip, -sin, shift[:, 0]], dim=1), torch.stack([sin * flip, cos, shift[:, 1]], dim=1)], dim=1
    )  # (B, 2, 3): output coordinates -> input coordinates, both in [-1, 1]
    grid = F.affine_grid(matrix, [n, 3, size, size], align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    contrast, brightness = 1 + uniform(-how.light, how.light, 1, 1, 1), 1 + uniform(-how.light, how.light, 1, 1, 1)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = ((images - mean) * contrast + mean) * brightness
    if how.tint:
        images = images * (1 + uniform(-how.tint, how.tint, 3, 1, 1))
    images = torch.where(uniform(0, 1, 1, 1, 1) < how.gray, images.mean(dim=1, keepdim=True), images)

    if how.blur:
        chosen, sigma = uniform(0, 1) < how.blur, uniform(0, MAX_BLUR) * size
        if chosen.any():  # a convolution of no images is an error
            images[chosen] = _blur(images[chosen], sigma[chosen])
    if how.erase:
        pixels = torch.arange(size, device=images.device)
        side, is_erased = uniform(0.15, 0.4, 2) * size, uniform(0, 1) < how.erase
        corner = uniform(0, 1, 2) * (size - side)
        inside = (pixels >= corner[..., None]) & (pixels < (corner + side)[..., None])  # (B, 2, size)
        patch = inside[:, 0, :, None] & inside[:, 1, None, :] & is_erased[:, None, None]
        images = torch.where(patch[:, None], images.mean(dim=(1, 2, 3), keepdim=True), images)
    return images.clamp(0, 1)


def _blur(images: Tensor, sigma: Tensor) -> Tensor:
    """(B, 3, H, W), standard deviations (B,) in px -> (B, 3, H, W)."""
    n, channels, *sides = images.shape
    reach = min(math.ceil(3 * MAX_BLUR * max(sides)), min(sides) - 1)
    offsets = torch.arange(-reach, reach + 1, device=images.device)
    weights = torch.exp(-((offsets / sigma.clamp(min=0.1)[:, None]) ** 2) / 2)
    weights = (weights / weights.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)  # a row for each plane
    planes = F.pad(images, [reach] * 4, mode="reflect").reshape(1, n * channels, *(side + 2 * reach for side in sides))
    planes = F.conv2d(planes, weights[:, None, None, :], groups=n * channels)
    return F.conv2d(planes, weights[:, None, :, None], groups=n * channels).reshape(images.shape)


def resize(images: Tensor, size: int) -> Tensor:
    """(B, 3, H, W) -> (B, 3, size, size)."""
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
