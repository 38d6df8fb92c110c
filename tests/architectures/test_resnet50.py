"""ResNet50 is torchvision's, weight for weight, and can be narrower."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from collapse.architectures import ARCHITECTURES
from collapse.architectures.network import channels_last
from collapse.datasets.torchvision_import import torchvision

SHAPE = {"channels": 3, "image_size": 32, "num_classes": 10, "train_size": 100}


def resnet50(*, width, **changes):
    return ARCHITECTURES["ResNet50"](**SHAPE | changes, width=width)


def test_parameters_are_25_557_032():
    with torch.device("meta"):
        network = resnet50(width=1.0, num_classes=1_000, image_size=224)
    assert sum(p.numel() for p in network.parameters()) == 25_557_032
    assert network.head.weight.shape == (1_000, 2_048)


def test_the_same_seed_gives_torchvisions_network():
    torch.manual_seed(3141)
    ours = resnet50(width=1.0)
    torch.manual_seed(3141)
    theirs = torchvision.models.resnet50(weights=None, num_classes=10)
    for state in ("parameters", "buffers"):
        for a, b in zip(getattr(ours, state)(), getattr(theirs, state)(), strict=True):
            assert torch.equal(a, b)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours.eval()(images), theirs.eval()(channels_last(images)))
        assert torch.equal(ours.head(ours.body(channels_last(images))), ours(images))


@pytest.mark.parametrize("width", [1 / 64, 0.125, 2.0])
def test_width_multiplies_every_channel_count(width):
    with torch.device("meta"):
        ours, paper = resnet50(width=width, channels=1), resnet50(width=1.0, channels=1)
    channels = [[m.out_channels for m in n.modules() if isinstance(m, nn.Conv2d)] for n in (ours, paper)]
    assert channels[0] == [width * c for c in channels[1]] and len(channels[0]) == 53
    assert ours.head.in_features == 2_048 * width


def test_impossible_width_is_refused():
    with pytest.raises(ValueError, match=r"width 0\.1"):
        resnet50(width=0.1)


@pytest.mark.parametrize("size", [32, 33, 224])
def test_image_sizes(size):
    network = resnet50(width=1 / 64).eval()
    assert network(torch.randn(2, 3, size, size)).shape == (2, 10)
    with pytest.raises(ValueError, match="ResNet50 needs images of at least 32x32"):
        network(torch.randn(2, 3, size, 31))


def test_every_parameter_gets_a_gradient():
    network = resnet50(width=0.125)
    functional.cross_entropy(network(torch.randn(8, 3, 32, 32)), torch.arange(8)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert all(m.weight.grad.any() for m in network.modules() if isinstance(m, nn.Conv2d))
