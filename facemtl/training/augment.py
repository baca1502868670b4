"""Random augmentation of a batch of images, on the device that holds the batch."""

import io
import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from .config import MAX_BLUR, Augmentation

JPEG_QUALITY = (10, 70)


def augment(images: Tensor, size: int, how: Augmentation) -> Tensor:
    """Augment each image at random: (B, 3, H, W) in [0, 1] -> (B, 3, size, size) in [0, 1]."""
    n = len(images)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.empty(n, *shape, device=images.device).uniform_(low, high)

    def chosen(share: float) -> Tensor:
        return uniform(0, 1) < share

    if (enough := round(size * 1.125)) < images.shape[-1]:
        images = resize(images, enough)  # sampling from a much larger image would alias

    angle, zoom = (
        uniform(-how.rotation, how.rotation) * math.pi / 180,
        1 + uniform(-how.scale, how.scale),
    )
    flip = torch.where(chosen(0.5), -1.0, 1.0)
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    shift = 2 * uniform(-how.shift, how.shift, 2)  # in coordinates from -1 to 1
    matrix = torch.stack(
        [
            torch.stack([cos * flip, -sin, shift[:, 0]], dim=1),
            torch.stack([sin * flip, cos, shift[:, 1]], dim=1),
        ],
        dim=1,
    )  # (B, 2, 3): output coordinates -> input coordinates, both in [-1, 1]
    grid = F.affine_grid(matrix, [n, 3, size, size], align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False).clamp(0, 1)

    if how.blur:
        blurred, sigma = chosen(how.blur), uniform(0, MAX_BLUR) * size
        if blurred.any():  # a convolution of no images is an error
            images[blurred] = _blur(images[blurred], sigma[blurred])
    # Light: gamma, then contrast and brightness. Some images become much darker.
    gamma = torch.exp(1.6 * uniform(-how.light, how.light, 1, 1, 1))
    images = images.clamp(min=1e-4) ** gamma
    contrast, brightness = (
        1 + uniform(-how.light, how.light, 1, 1, 1),
        1 + uniform(-how.light, how.light, 1, 1, 1),
    )
    brightness = torch.where(
        chosen(how.dark)[:, None, None, None], uniform(0.25, 1, 1, 1, 1), brightness
    )
    gain = brightness * (1 + uniform(-how.tint, how.tint, 3, 1, 1))  # (B, 3, 1, 1)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = images * (contrast * gain) + mean * (1 - contrast) * gain
    is_gray = chosen(how.gray)
    images[is_gray] = images[is_gray].mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    images = images.clamp(0, 1)

    if how.jpeg:
        compressed, quality = chosen(how.jpeg), uniform(*JPEG_QUALITY)
        for i in compressed.nonzero()[:, 0].tolist():
            images[i] = _recompressed(images[i], int(quality[i]))
    if how.erase:
        pixels = torch.arange(size, device=images.device)
        side, is_erased = uniform(0.15, 0.4, 2) * size, chosen(how.erase)
        corner = uniform(0, 1, 2) * (size - side)
        # (B, 2, size): which rows and columns are inside the patch
        inside = (pixels >= corner[..., None]) & (pixels < (corner + side)[..., None])
        patch = inside[:, 0, :, None] & inside[:, 1, None, :] & is_erased[:, None, None]
        images = torch.where(patch[:, None], images.mean(dim=(1, 2, 3), keepdim=True), images)
    return images


def _blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of images (B, 3, H, W), with standard deviations (B,) in px."""
    n, channels, *sides = images.shape
    reach = min(math.ceil(3 * MAX_BLUR * max(sides)), min(sides) - 1)
    offsets = torch.arange(-reach, reach + 1, device=images.device)
    weights = torch.exp(-((offsets / sigma.clamp(min=0.1)[:, None]) ** 2) / 2)
    # One row of weights for each colour plane.
    weights = (weights / weights.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
    planes = F.pad(images, [reach] * 4, mode="reflect").reshape(
        1, n * channels, *(side + 2 * reach for side in sides)
    )
    planes = F.conv2d(planes, weights[:, None, None, :], groups=n * channels)
    return F.conv2d(planes, weights[:, None, :, None], groups=n * channels).reshape(images.shape)


def _recompressed(image: Tensor, quality: int) -> Tensor:
    """Compress an image (3, H, W) in [0, 1] as a JPEG of this quality, and decode it."""
    file = io.BytesIO()
    Image.fromarray((255 * image).round().byte().permute(1, 2, 0).cpu().numpy()).save(
        file, "JPEG", quality=quality
    )
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).to(image) / 255


def resize(images: Tensor, size: int) -> Tensor:
    """Resize images (B, 3, H, W) to (B, 3, size, size)."""
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(
        images, size=(size, size), mode="bilinear", antialias=True, align_corners=False
    )
