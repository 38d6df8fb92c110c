"""ResNet9 and VGG9 are the paper's: sizes, operations, initialisation, and how they scale."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from collapse.architectures import ARCHITECTURES
from collapse.architectures.network import GlobalMaxPool, convolution_block

torch.set_num_threads(1)

# Output channels of every 3x3 convolution at width 1, in the order of the forward pass.
CONVOLUTIONS = {
    "ResNet9": [64, 128, 128, 128, 256, 512, 512, 512],
    "VGG9": [64, 128, 256, 256, 512, 512, 512, 512],
}
# Image side at each of those convolutions, for 32x32 images.
SIDES = {"ResNet9": [32, 32, 16, 16, 16, 8, 4, 4], "VGG9": [32, 16, 8, 8, 4, 4, 2, 2]}

both = pytest.mark.parametrize("name", CONVOLUTIONS)


def convolution_shapes(name, channels):
    outs = CONVOLUTIONS[name]
    return list(zip([channels, *outs[:-1]], outs, strict=True))


@both
@pytest.mark.parametrize("channels", [1, 3])
def test_parameters_are_the_papers(name, channels):
    with torch.device("meta"):
        network = ARCHITECTURES[name](
            channels=channels, image_size=32, num_classes=10, train_size=100, width=1.0
        )
    # convolution with bias, then BatchNorm's scale and shift; then the linear layer
    expected = sum(9 * i * o + o + 2 * o for i, o in convolution_shapes(name, channels))
    expected += 512 * 10 + 10
    assert sum(p.numel() for p in network.parameters()) == expected
    assert network.head.weight.shape == (10, 512)
    assert network.head.bias.shape == (10,)


def test_exact_parameter_counts():
    """6.57 and 9.23 million, on one channel."""
    counts = {}
    for name in CONVOLUTIONS:
        with torch.device("meta"):
            network = ARCHITECTURES[name](
                channels=1, image_size=32, num_classes=10, train_size=100, width=1.0
            )
        counts[name] = sum(p.numel() for p in network.parameters())
    assert counts == {"ResNet9": 6_574_218, "VGG9": 9_229_962}


@both
def test_parameters_are_created_in_forward_order(name):
    with torch.device("meta"):
        network = ARCHITECTURES[name](channels=3, image_size=32, num_classes=10, train_size=100, width=1.0)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    shapes = [(m.in_channels, m.out_channels) for m in convolutions]
    assert shapes == convolution_shapes(name, 3)
    assert list(network.parameters())[-2] is network.head.weight


@both
def test_operations_an_image_are_the_papers(name):
    """Pins where the poolings are: 0.378 and 0.152 GMAC an image of 32x32."""
    with torch.device("meta"):
        network = ARCHITECTURES[name](channels=1, image_size=32, num_classes=10, train_size=100, width=1.0)
    sides, macs = [], []

    def count(module, inputs, output):
        sides.append(output.shape[-1])
        macs.append(output.numel() * module.in_channels * 9)

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    network(torch.empty(1, 1, 32, 32, device="meta"))
    assert sides == SIDES[name]
    assert round(sum(macs) / 1e9, 3) == {"ResNet9": 0.378, "VGG9": 0.152}[name]


def test_paper_seed_gives_papers_nc0():
    """The value at epoch 0 of the paper's figures 22 and 25: order, initialisation, seed."""
    torch.manual_seed(3141)
    network = ARCHITECTURES["ResNet9"](channels=1, image_size=32, num_classes=10, train_size=100, width=1.0)
    nc0 = torch.linalg.vector_norm(network.head.weight.detach().double().sum(0))
    assert round(nc0.item(), 4) == 1.7538


def reference_resnet9(network, images):
    """The forward pass written out with the paper's pooling sizes, for 32x32 images."""
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]

    def block(x, i):
        x = functional.conv2d(x, convolutions[i].weight, convolutions[i].bias, padding=1)
        weight, bias = norms[i].weight, norms[i].bias
        return functional.batch_norm(x, None, None, weight, bias, training=True).relu()

    x = functional.max_pool2d(block(block(images, 0), 1), 2)
    x = x + block(block(x, 2), 3)
    x = functional.max_pool2d(block(x, 4), 2)
    x = functional.max_pool2d(block(x, 5), 2)
    x = x + block(block(x, 6), 7)
    return functional.max_pool2d(x, 4).flatten(1)


def reference_vgg9(network, images):
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    x = images
    for i in range(8):
        x = functional.conv2d(x, convolutions[i].weight, convolutions[i].bias, padding=1)
        weight, bias = norms[i].weight, norms[i].bias
        x = functional.batch_norm(x, None, None, weight, bias, training=True).relu()
        if i in (0, 1, 3, 5, 7):
            x = functional.max_pool2d(x, 2)
    return x.flatten(1)


@pytest.mark.parametrize(("name", "reference"), [("ResNet9", reference_resnet9), ("VGG9", reference_vgg9)])
def test_forward_at_32_is_the_papers(name, reference):
    torch.manual_seed(0)
    network = ARCHITECTURES[name](channels=3, image_size=32, num_classes=10, train_size=100, width=0.125)
    images = torch.randn(4, 3, 32, 32)
    features = network.body(images)
    assert features.shape == (4, 64)
    torch.testing.assert_close(features, reference(network, images))
    torch.testing.assert_close(network(images), network.head(network.body(images)))


@both
@pytest.mark.parametrize("size", [8, 14, 16, 28, 32])
def test_image_sizes(name, size):
    architecture = ARCHITECTURES[name]
    network = architecture(channels=1, image_size=32, num_classes=10, train_size=100, width=0.125).eval()
    images = torch.randn(2, 1, size, size)
    if size < architecture.smallest_image_size:
        with pytest.raises(ValueError, match=f"{name} needs images of at least 16x16.*{size}x"):
            network(images)
    else:
        assert network(images).shape == (2, 10)


@both
def test_smallest_image_size_is_tight(name):
    architecture = ARCHITECTURES[name]
    smallest = architecture.smallest_image_size
    network = architecture(channels=1, image_size=32, num_classes=3, train_size=9, width=1 / 64).eval()
    assert network(torch.randn(1, 1, smallest, smallest)).shape == (1, 3)
    with pytest.raises(ValueError, match=f"at least {smallest}x{smallest}"):
        network(torch.randn(1, 1, smallest, smallest - 1))


def test_smallest_image_sizes():
    sizes = {name: ARCHITECTURES[name].smallest_image_size for name in CONVOLUTIONS}
    assert sizes == {"ResNet9": 8, "VGG9": 16}


@both
@pytest.mark.parametrize("width", [1 / 64, 0.125, 0.25, 3 / 64, 2.0])
def test_width_multiplies_every_channel_count(name, width):
    with torch.device("meta"):
        network = ARCHITECTURES[name](channels=1, image_size=32, num_classes=7, train_size=100, width=width)
    outs = [m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert outs == [out * width for out in CONVOLUTIONS[name]]
    assert (network.head.in_features, network.head.out_features) == (512 * width, 7)


@both
@pytest.mark.parametrize("width", [0.0, -1.0, 0.01, 0.1, 1 / 128, float("nan"), float("inf")])
def test_impossible_width_is_refused(name, width):
    with pytest.raises(ValueError, match=f"width {width}"):
        ARCHITECTURES[name](channels=1, image_size=32, num_classes=10, train_size=100, width=width)


@both
def test_same_seed_same_network(name):
    networks = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        networks.append(
            ARCHITECTURES[name](channels=1, image_size=32, num_classes=10, train_size=100, width=0.125)
        )
    first, same, other = ([p.detach() for p in n.parameters()] for n in networks)
    assert all(torch.equal(a, b) for a, b in zip(first, same, strict=True))
    assert not torch.equal(first[-2], other[-2])


@both
def test_every_parameter_gets_a_gradient(name):
    torch.manual_seed(0)
    network = ARCHITECTURES[name](channels=1, image_size=32, num_classes=10, train_size=100, width=0.125)
    functional.cross_entropy(network(torch.randn(8, 1, 16, 16)), torch.arange(8)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert all(m.weight.grad.any() for m in network.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize("side", [1, 2, 3, 4])
def test_global_max_pool_is_the_maximum(side):
    images = torch.randn(5, 6, side, side)
    assert torch.equal(GlobalMaxPool()(images)[:, :, 0, 0], images.amax((2, 3)))
    assert torch.equal(GlobalMaxPool()(images), functional.adaptive_max_pool2d(images, 1))


def test_a_pool_before_the_relu_is_one_after_it():
    """Bit for bit, gradients too, where values are equal, zero or all negative in a window."""
    torch.manual_seed(0)
    block = convolution_block(3, 8, pool=True)
    written = nn.Sequential(*copy.deepcopy(list(block)))
    written[-2], written[-1] = written[-1], written[-2]
    assert [type(module).__name__ for module in written] == ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"]
    images = torch.randn(8, 3, 12, 12).round()  # many ties
    images[0] = 0
    found = []
    for network in (block, written):
        x = images.clone(memory_format=torch.channels_last).requires_grad_()
        out = network(x)
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        found.append([out, x.grad, *(parameter.grad for parameter in network.parameters())])
    assert (found[0][0] == 0).any()
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
