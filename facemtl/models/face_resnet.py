"""dlib's face-recognition ResNet (King, 2017; CC0).

The shipped models were trained from its weights. See
https://blog.dlib.net/2017/02/high-quality-face-recognition-with-deep.html
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

# Groups of blocks: channels, number of blocks, whether the first block halves the size.
GROUPS = ((32, 3, False), (64, 4, True), (128, 3, True), (256, 3, True), (256, 1, True))
N_FEATURES = 256
# The normalisation of RGB values in [0, 1] with which the weights were trained.
MEAN = (122.782 / 255, 117.001 / 255, 104.298 / 255)
STD = (256 / 255,) * 3


class ConvNorm(nn.Module):
    """A convolution, followed by a batch normalisation during training."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int, padding: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, padding)
        self.norm = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class Block(nn.Module):
    """A residual block: relu(x + conv(relu(conv(x)))).

    In a block that halves the size, the shortcut is an average pool.
    """

    def __init__(self, inputs: int, outputs: int, halves: bool):
        super().__init__()
        self.halves = halves
        self.conv1 = ConvNorm(inputs, outputs, 3, 2 if halves else 1, 0 if halves else 1)
        self.conv2 = ConvNorm(outputs, outputs, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x)))
        if self.halves:
            # Both branches are padded with zeros at the end, to the larger height and width. The
            # shortcut is also padded to the number of channels.
            x = F.avg_pool2d(x, 2)
            height, width = max(x.shape[2], y.shape[2]), max(x.shape[3], y.shape[3])
            channels = max(0, y.shape[1] - x.shape[1])
            x = F.pad(x, (0, width - x.shape[3], 0, height - x.shape[2], 0, channels))
            y = F.pad(y, (0, width - y.shape[3], 0, height - y.shape[2]))
        return F.relu(x + y)


class FaceResNet(nn.Module):
    """The network: normalised images (B, 3, H, W) -> features (B, 256).

    Images must have at least 103 px a side. The network was made for 150 px.

    In dlib's network, batch normalisations are folded into the convolutions. In this form, training
    is unstable at the learning rates used here. `insert_norms` adds a batch normalisation after
    each convolution. `fold_norms` removes them again.
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
        """All convolutions, in order from the input to the features."""
        return [module for module in self.modules() if isinstance(module, ConvNorm)]

    def insert_norms(self) -> None:
        """Add a batch normalisation after each convolution."""
        for each in self.convolutions():
            each.norm = nn.BatchNorm2d(each.conv.out_channels).to(each.conv.weight.device)

    @torch.no_grad()
    def calibrate_norms(self, images: Tensor) -> None:
        """Set each batch normalisation to the identity, as measured on images (N, 3, S, S).

        The mean m and variance v of each channel are measured. Then gain is sqrt(v + eps), shift is
        m, and the running statistics are m and v. So the features are at first those of the network
        without normalisations, but training is that of a normalised network.
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
        """Fold each batch normalisation into its convolution.

        In evaluation mode, the features stay the same.
        """
        for each in self.convolutions():
            if isinstance(each.norm, nn.BatchNorm2d):
                each.conv, each.norm = (
                    fuse_conv_bn_eval(each.conv.eval(), each.norm.eval()),
                    nn.Identity(),
                )


def _moments(x: Tensor) -> Tensor:
    """Mean and mean square of each channel: (B, C, H, W) -> (2, C)."""
    x = x.float()
    return torch.stack([x.mean(dim=(0, 2, 3)), x.square().mean(dim=(0, 2, 3))])
