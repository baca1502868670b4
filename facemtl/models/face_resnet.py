"""dlib's face-recognition ResNet (King, 2017; CC0), whose weights are the start of the shipped
models.

https://blog.dlib.net/2017/02/high-quality-face-recognition-with-deep.html
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

GROUPS = (
    (32, 3, False),
    (64, 4, True),
    (128, 3, True),
    (256, 3, True),
    (256, 1, True),
)  # channels, blocks, halves
N_FEATURES = 256
MEAN = (
    122.782 / 255,
    117.001 / 255,
    104.298 / 255,
)  # of RGB in [0, 1], as the weights were trained
STD = (256 / 255,) * 3


class ConvNorm(nn.Module):
    """A convolution, and while it is trained a batch normalisation after it."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int, padding: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, padding)
        self.norm = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class Block(nn.Module):
    """relu(x + conv(relu(conv(x)))); one that halves the size has an average pool for a
    shortcut.
    """

    def __init__(self, inputs: int, outputs: int, halves: bool):
        super().__init__()
        self.halves = halves
        self.conv1 = ConvNorm(inputs, outputs, 3, 2 if halves else 1, 0 if halves else 1)
        self.conv2 = ConvNorm(outputs, outputs, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x)))
        if self.halves:
            # Both branches are padded with zeros at the end, to the larger height and width; the
            # shortcut in channels too.
            x = F.avg_pool2d(x, 2)
            height, width = max(x.shape[2], y.shape[2]), max(x.shape[3], y.shape[3])
            channels = max(0, y.shape[1] - x.shape[1])
            x = F.pad(x, (0, width - x.shape[3], 0, height - x.shape[2], 0, channels))
            y = F.pad(y, (0, width - y.shape[3], 0, height - y.shape[2]))
        return F.relu(x + y)


class FaceResNet(nn.Module):
    """Normalised images (B, 3, H, W) of at least 103 px a side -> features (B, 256). Made for 150
    px.

    dlib's network has its batch normalisation folded into the convolutions, and is unstable at the
    rates that training takes. `insert_norms` puts one back after each convolution; `fold_norms`
    takes it away again.
    """

    def __init__(self):
        super().__init__()
        self.stem = ConvNorm(3, 32, 7, 2, 0)
        blocks, inputs = [], 32
        for outputs, count, halves in GROUPS:
            for i in range(count):
                blocks.append(Block(inputs, outputs, halves and i == 0))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.stem(x)), 3, 2)  # (B, 32, H / 4, W / 4)
        return self.blocks(x).mean(dim=(2, 3))

    def convolutions(self) -> list[ConvNorm]:
        """All of them, from the input to the features."""
        return [module for module in self.modules() if isinstance(module, ConvNorm)]

    def insert_norms(self) -> None:
        """Put a batch normalisation after each convolution."""
        for each in self.convolutions():
            each.norm = nn.BatchNorm2d(each.conv.out_channels).to(each.conv.weight.device)

    @torch.no_grad()
    def calibrate_norms(self, images: Tensor) -> None:
        """Make each batch normalisation the identity for images (N, 3, S, S) such as those given.

        Mean m and variance v of each channel are measured; then gain = sqrt(v + eps), shift = m,
        and the running statistics are m and v. So the network starts where its weights were, and
        trains as one that was normalised.
        """
        norms = [each.norm for each in self.convolutions()]
        for each in self.convolutions():
            each.norm = nn.Identity()
        sums: dict[int, list[Tensor]] = {i: [] for i in range(len(norms))}
        hooks = [
            each.conv.register_forward_hook(
                lambda module, inputs, x, i=i: sums[i].append(_moments(x))
            )
            for i, each in enumerate(self.convolutions())
        ]
        for batch in images.split(64):
            self(batch)
        for hook in hooks:
            hook.remove()
        for i, (each, norm) in enumerate(zip(self.convolutions(), norms, strict=True)):
            weights = torch.tensor([len(batch) for batch in images.split(64)], device=images.device)
            mean, square = torch.stack(sums[i], dim=-1).mul(weights).sum(dim=-1) / len(images)
            variance = (square - mean**2).clamp(min=1e-6)
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
            norm.weight.copy_((variance + norm.eps).sqrt())
            norm.bias.copy_(mean)
            each.norm = norm

    def fold_norms(self) -> None:
        """Fold each batch normalisation into its convolution: the same features, in evaluation
        mode.
        """
        for each in self.convolutions():
            if isinstance(each.norm, nn.BatchNorm2d):
                each.conv, each.norm = (
                    fuse_conv_bn_eval(each.conv.eval(), each.norm.eval()),
                    nn.Identity(),
                )


def _moments(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (2, C): mean and mean square of each channel."""
    x = x.float()
    return torch.stack([x.mean(dim=(0, 2, 3)), x.square().mean(dim=(0, 2, 3))])
