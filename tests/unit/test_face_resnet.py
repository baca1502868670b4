"""dlib's network: hand-computed layers, weights tested on faces, and inserted and folded
normalisations.
"""

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import nn

from facemtl.inference.perturbations import LIGHT, SHIFT
from facemtl.models import FACE_RESNET
from facemtl.models.backbones import FACE_RESNET_FILE, backbone_named
from facemtl.models.face_resnet import MEAN, STD, Block, FaceResNet
from tests import support

IMAGES = torch.rand(5, 3, 110, 110, generator=torch.Generator().manual_seed(0)) - 0.4


@pytest.fixture
def network() -> FaceResNet:
    return backbone_named(FACE_RESNET, pretrained=True).module.eval()


def features(network: FaceResNet, images: torch.Tensor = IMAGES) -> torch.Tensor:
    with torch.no_grad():
        return network(images)


@pytest.mark.parametrize("size", [103, 112, 150, 200])
def test_an_image_becomes_256_features(size, network):
    found = features(network, torch.zeros(2, 3, size, size))
    assert found.shape == (2, 256) and found.isfinite().all()


def test_it_has_29_convolutions_from_the_input_to_the_features(network):
    shapes = [tuple(each.conv.weight.shape) for each in network.convolutions()]
    assert len(shapes) == 29 and shapes[0] == (32, 3, 7, 7) and shapes[-1] == (256, 256, 3, 3)


def test_the_shortcut_of_a_halving_block_is_average_pooling_padded_with_zeros():
    block = Block(2, 5, halves=True)
    for each in (block.conv1, block.conv2):
        nn.init.zeros_(each.conv.weight)
        nn.init.zeros_(each.conv.bias)
    x = torch.rand(1, 2, 6, 8)
    found = block(x)
    assert found.shape == (1, 5, 3, 4)
    for channel in range(5):
        for row in range(3):
            for column in range(4):
                square = (
                    x[0, channel, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
                    if channel < 2
                    else torch.zeros(1)
                )
                assert found[0, channel, row, column].item() == pytest.approx(square.mean().item())


def test_a_block_adds_its_convolutions_to_its_input():
    block = Block(4, 4, halves=False)
    x = torch.randn(2, 4, 7, 7)
    by_hand = torch.relu(x + block.conv2.conv(torch.relu(block.conv1.conv(x))))
    torch.testing.assert_close(block(x), by_hand)


def test_the_shipped_weights_are_stored_as_float16_and_loaded_as_float32(network):
    assert FACE_RESNET_FILE.stat().st_size < 12e6
    stored = safetensors.torch.load_file(FACE_RESNET_FILE)
    assert {value.dtype for value in stored.values()} == {torch.float16}
    assert {value.dtype for value in network.state_dict().values()} == {torch.float32}


def test_a_shifted_or_darkened_face_is_recognised(network):
    """The weights recognise faces: the nearest of 24 faces to a changed face is the original."""

    def seen(crops: list[np.ndarray]) -> torch.Tensor:
        resized = [np.array(Image.fromarray(crop).resize((150, 150))) for crop in crops]
        images = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 255
        found = features(
            network,
            (images - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1),
        )
        return nn.functional.normalize(found - found.mean(dim=0), dim=1)

    crops = [np.asarray(Image.open(file).convert("RGB")) for file in support.composites(24)]
    faces = seen(crops)
    for changed in (
        [SHIFT.apply(crop, 5, 3) for crop in crops],
        [LIGHT.apply(crop, -50, 0) for crop in crops],
    ):
        nearest = (seen(changed) @ faces.T).argmax(dim=1)
        assert (nearest == torch.arange(len(crops))).float().mean() > 0.9


# ----------------------------------------------------------------------------------- normalisations


def test_calibrated_normalisations_are_the_identity_in_training_mode(network):
    expected = features(network)
    network.insert_norms()
    network.calibrate_norms(IMAGES)
    torch.testing.assert_close(features(network.eval()), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        features(network.train()), expected, rtol=1e-3, atol=1e-3
    )  # the batch's own statistics


def test_statistics_cover_all_images_across_batches(network):
    """Statistics of two batches (64 and 6 images) match those of all images at once."""
    images = torch.rand(70, 3, 104, 104, generator=torch.Generator().manual_seed(2))
    network.insert_norms()
    network.calibrate_norms(images)
    norm = network.stem.norm
    with torch.no_grad():
        x = network.stem.conv(images)
    torch.testing.assert_close(norm.running_mean, x.mean(dim=(0, 2, 3)), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(
        norm.running_var, x.var(dim=(0, 2, 3), correction=0), rtol=1e-3, atol=1e-4
    )


def test_folding_removes_normalisations_and_keeps_the_features(network):
    network.insert_norms()
    network.calibrate_norms(IMAGES)
    torch.manual_seed(0)
    with torch.no_grad():
        for each in network.convolutions():  # as after training
            each.norm.weight *= 1 + 0.2 * torch.rand_like(each.norm.weight)
            each.norm.bias += 0.01 * torch.randn_like(each.norm.bias)
    expected = features(network.eval())
    network.fold_norms()
    assert not [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    torch.testing.assert_close(features(network), expected, rtol=1e-4, atol=1e-4)
    assert set(network.state_dict()) == set(FaceResNet().state_dict())
