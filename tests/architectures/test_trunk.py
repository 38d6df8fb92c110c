"""The points of the trunk: where they lie, of which shape, and that looking changes nothing."""

import pytest
import torch
from torch import nn

from collapse.architectures import ARCHITECTURES
from collapse.architectures.network import Residual
from collapse.architectures.trunk import HEAD_INPUT, TRUNK_POINTS, trunk_features

SHAPES = {
    "ResNet9": {
        "block1": (64, 32, 32), "block2": (128, 16, 16), "residual1": (128, 16, 16), "block3": (256, 8, 8),
        "block4": (512, 4, 4), "residual2": (512, 4, 4), HEAD_INPUT: (512,),
    },
    "VGG9": {
        "block1": (64, 16, 16), "block2": (128, 8, 8), "block3": (256, 8, 8), "block4": (256, 4, 4),
        "block5": (512, 4, 4), "block6": (512, 2, 2), "block7": (512, 2, 2), "block8": (512, 2, 2),
        HEAD_INPUT: (512,),
    },
}  # fmt: skip


def network_of(architecture, *, width=1.0):
    torch.manual_seed(0)
    sizes = {"channels": 1, "image_size": 32, "num_classes": 10, "train_size": 100}
    return ARCHITECTURES[architecture](**sizes, width=width).eval()


@pytest.mark.parametrize("architecture", SHAPES)
def test_names_and_shapes(architecture):
    network, points = network_of(architecture), TRUNK_POINTS[architecture]
    found = trunk_features(network, points, torch.rand(2, 1, 32, 32))
    assert {name: tuple(values.shape[1:]) for name, values in found.items()} == SHAPES[architecture]
    assert list(found) == list(SHAPES[architecture]), "in the order of the network"


@pytest.mark.parametrize("architecture", TRUNK_POINTS)
@torch.no_grad()
def test_they_are_what_the_network_computes(architecture):
    """Values, parameters, buffers and mode are left as they are; no hook stays."""
    network, images = network_of(architecture, width=0.25), torch.randn(3, 1, 32, 32)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = trunk_features(network, TRUNK_POINTS[architecture], images)
    assert torch.equal(found[HEAD_INPUT], network.features(images))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not network.training
    assert not any(module._forward_hooks for module in network.modules())
    last = [values.clone() for values in found.values()]
    network(images)
    assert all(map(torch.equal, last, found.values())), "no later layer writes into an earlier point"


@torch.no_grad()
def test_a_residual_point_lies_after_the_sum():
    network = network_of("ResNet9", width=0.125)
    points = TRUNK_POINTS["ResNet9"]
    place = {name: place for place, name in points.items()}
    assert [type(network.body[place[name]]) for name in ("residual1", "residual2")] == [Residual] * 2
    for parameter in network.body[place["residual1"]].parameters():
        nn.init.zeros_(parameter)  # a dead branch
    found = trunk_features(network, points, torch.randn(3, 1, 32, 32))
    assert torch.equal(found["residual1"], found["block2"]) and found["block3"].any()


def test_the_pass_ends_at_the_last_point_that_is_asked_for():
    network = network_of("VGG9", width=0.125)
    network.body[2] = nn.Identity()  # whatever comes later would fail
    network.body[3] = nn.Linear(1, 1)
    assert list(trunk_features(network, {1: "block1"}, torch.rand(2, 1, 32, 32))) == ["block1"]


def test_a_point_that_a_body_has_not():
    with pytest.raises(ValueError, match="the body has 11 children, no point 11"):
        trunk_features(network_of("VGG9", width=0.125), {11: "block9"}, torch.rand(2, 1, 32, 32))


def test_bfloat16_is_computed_as_in_features():
    network, images = network_of("ResNet9", width=0.125), torch.randn(3, 1, 32, 32)
    network.precision = "bfloat16"
    found = trunk_features(network, TRUNK_POINTS["ResNet9"], images)
    assert found["block1"].dtype is torch.bfloat16
    assert torch.equal(found[HEAD_INPUT].float(), network.features(images))
