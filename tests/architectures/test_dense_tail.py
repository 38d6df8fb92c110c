"""MLPTail and ResNet20: dense layers without biases at the end of a network."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from collapse.architectures import ARCHITECTURES

SHAPE = {"channels": 1, "image_size": 8, "num_classes": 10, "train_size": 100, "width": 0.125}
both = pytest.mark.parametrize("name", ["MLPTail", "ResNet20"])


def built(name, *, relu_layers=2, linear_layers=3, **changes):
    torch.manual_seed(0)
    return ARCHITECTURES[name](**SHAPE | changes, relu_layers=relu_layers, linear_layers=linear_layers)


@both
def test_the_logits_are_the_product_of_all_dense_layers(name):
    network = built(name).eval()
    *front, tail = network.body
    images = torch.randn(3, 1, 8, 8)
    values = nn.Sequential(*front)(images)
    layers = [*tail.layers, network.head]
    assert len(layers) == 5 and all(layer.bias is None for layer in layers)
    for number, layer in enumerate(layers):
        values = values @ layer.weight.T
        values = functional.relu(values) if number < 2 else values
    torch.testing.assert_close(network(images), values)
    assert network.tail is tail


def test_the_head_counts_as_a_linear_layer_and_may_be_the_only_layer():
    network = built("MLPTail", relu_layers=0, linear_layers=1)
    assert [p.shape for p in network.parameters()] == [(10, 64)] and network.tail.layers == []
    with pytest.raises(ValueError, match="relu_layers 2, linear_layers 0: at least 0 and 1"):
        built("MLPTail", linear_layers=0)


def test_512_units_at_width_1():
    network = built("MLPTail", width=1, image_size=28, relu_layers=5, linear_layers=4)
    expected = 28 * 28 * 512 + 7 * 512 * 512 + 512 * 10
    assert sum(p.numel() for p in network.parameters()) == expected


def test_resnet20_without_its_tail_has_271824_parameters():
    with torch.device("meta"):
        network = built("ResNet20", channels=3, width=1)
    *front, tail = network.body
    assert sum(p.numel() for module in front for p in module.parameters()) == 271_824
    assert sum(isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) for m in network.modules()) == 19
    assert [tuple(layer.weight.shape) for layer in tail.layers] == [(512, 64), *3 * [(512, 512)]]


@pytest.mark.parametrize(("width", "channels"), [(1 / 16, [1, 2, 4]), (0.25, [4, 8, 16])])
def test_width_scales_the_channels_of_resnet20(width, channels):
    network = built("ResNet20", width=width)
    outs = [m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert sorted(set(outs)) == channels
    with pytest.raises(ValueError, match="16 \\* width must be a whole number"):
        built("ResNet20", width=1 / 64)


def test_resnet20_refuses_images_below_its_smallest():
    network = built("ResNet20").eval()
    assert network(torch.randn(2, 1, 4, 4)).shape == (2, 10)
    with pytest.raises(ValueError, match="ResNet20 needs images of at least 4x4"):
        network(torch.randn(2, 1, 3, 4))


def test_relu_layers_start_with_hes_deviation_and_linear_ones_with_one_over_root_n():
    network = built("MLPTail", width=1, image_size=28)
    layers = [*network.tail.layers, network.head]
    for layer, gain in zip(layers, [2, 2, 1, 1, 1], strict=True):
        deviation = layer.weight.double().std().item()
        assert deviation == pytest.approx((gain / layer.in_features) ** 0.5, rel=0.03)


def test_other_networks_have_no_tail_and_a_copy_has_its_own():
    for name in ("ResNet9", "MLP", "UFM"):
        assert ARCHITECTURES[name](**SHAPE).tail is None
    network = built("MLPTail")
    its_copy = copy.deepcopy(network)
    assert its_copy.tail is its_copy.body[-1] and its_copy.tail is not network.tail
