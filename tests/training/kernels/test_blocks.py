"""Blocks by the kernels against the modules in float64, in training and in evaluation."""

import copy

import pytest
import torch
from interpreted import DEVICES
from torch import nn

from collapse.architectures.network import Residual, convolution_block
from collapse.architectures.precision import convolutions_in
from collapse.training.kernels.named import kernels_named

pytestmark = pytest.mark.parametrize("device", DEVICES)
# Of float64, in parts of a tensor's norm: a few roundings of float32; a GPU's first layer rounds to 21 bits.
NEAR = {"cpu": 2e-6, "cuda": 1e-5}


@pytest.fixture(autouse=True)
def exact_convolutions():
    with convolutions_in("float32"):
        yield


def distance(found, exact):
    found, exact = found.detach().double().cpu(), exact.detach().double().cpu()
    return ((found - exact).norm() / exact.norm().clamp_min(1e-30)).item()


def fused_body(network, x):
    return kernels_named("fused").body(network, x)


def images(shape, *, offset=0.0):
    return offset + torch.randn(shape, generator=torch.Generator().manual_seed(0))


def prepared_block(*blocks, seed=1):
    """With scales of both signs, one of them zero, and running statistics that are not the initial ones."""
    network = nn.Sequential(*blocks).to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for x, spread in ((module.weight, 1.0), (module.bias, 0.3), (module.running_mean, 1.0)):
                x.data.copy_(spread * torch.randn(x.shape, generator=generator))
            module.weight.data[-1] = 0
            module.running_var.copy_(0.5 + torch.rand(module.running_var.shape, generator=generator))
        if isinstance(module, nn.Conv2d):
            module.bias.data.copy_(torch.randn(module.bias.shape, generator=generator))
    return network


def results(network, x, forward):
    """All that a forward and a backward pass give and leave, and what evaluation gives after them."""
    x = x.clone().contiguous(memory_format=torch.channels_last)
    x.requires_grad_(x.shape[1] > 3)  # images need none
    out = forward(network, x)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    (out * weights.to(out)).sum().backward()
    found = {"out": out, **{f"of {name}": p.grad for name, p in network.named_parameters()}}
    found |= {name: buffer.clone() for name, buffer in network.named_buffers()}
    found |= {"of x": x.grad} if x.requires_grad else {}
    network.eval()
    with torch.no_grad():
        found["in evaluation"] = forward(network, x)
    return found


def assert_near_float64(network, x, device, near=0.0):
    exact = results(copy.deepcopy(network).double(), x.double(), lambda network, x: network(x))
    found = results(network.to(device), x.to(device), fused_body)
    assert list(found) == list(exact)
    for name, value in found.items():
        if name.startswith("of ") and name.endswith("0.bias"):
            assert value is None, "BatchNorm is blind to the bias before it: no gradient"
        else:
            assert distance(value, exact[name]) < max(near, NEAR[device]), name


CASES = {
    "of few channels": ([(8, 24, False)], (3, 8, 5, 7)),
    "with a pool": ([(8, 24, True)], (3, 8, 6, 10)),
    "of one window an image": ([(8, 24, True)], (5, 8, 2, 2)),
    "of more channels than a program has": ([(8, 96, True)], (2, 8, 8, 8)),
    "from one channel": ([(1, 24, False)], (3, 1, 7, 9)),
    "from three channels": ([(3, 24, False)], (3, 3, 7, 9)),
    "from one channel with a pool": ([(1, 72, True)], (3, 1, 8, 10)),
    "from three channels with a pool": ([(3, 16, True)], (4, 3, 6, 10)),
    "after each other": ([(1, 16, False), (16, 24, True), (24, 8, False)], (4, 1, 8, 8)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_block_is_near_float64(case, device):
    shapes, shape = CASES[case]
    blocks = [convolution_block(inner, outer, pool=pool) for inner, outer, pool in shapes]
    assert_near_float64(prepared_block(*blocks), images(shape), device)


@pytest.mark.parametrize("case", ["of few channels", "with a pool", "from three channels with a pool"])
def test_sums_of_many_parts_are_near_float64(case, device, monkeypatch):
    """Of several programs a tile of channels, each of several tiles, the last one ragged."""
    monkeypatch.setattr("collapse.training.kernels.batch_norm.PROGRAMS", 3)
    shapes, shape = CASES[case]
    blocks = [convolution_block(inner, outer, pool=pool) for inner, outer, pool in shapes]
    assert_near_float64(prepared_block(*blocks), images((5, shape[1], 8, 10)), device)


@pytest.mark.parametrize(("channels", "near"), [(1, 1e-5), (8, 1e-5)])
def test_a_mean_far_from_zero_costs_few_digits(channels, near, device):
    block = prepared_block(convolution_block(channels, 16, pool=True))
    assert_near_float64(block, images((4, channels, 8, 8), offset=30.0), device, near)


def test_a_residual_sum_is_near_float64(device):
    inner = Residual(convolution_block(16, 16), convolution_block(16, 16))
    assert_near_float64(prepared_block(convolution_block(8, 16), inner), images((4, 8, 4, 6)), device)


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("channels", [3, 8])
def test_of_equal_values_a_pool_takes_the_first(channels, pool, device):
    """Where gamma is zero, and where images are constant: as PyTorch's, whose gradient goes one way too."""
    block = prepared_block(convolution_block(channels, 16, pool=pool))
    x = torch.zeros(4, channels, 8, 8)
    x[2:] = 1.0
    assert_near_float64(block, x, device, 1e-5)


@pytest.mark.parametrize("channels", [1, 8])
def test_not_a_number_stays_one(channels, device):
    """In the one channel that it is in, in the running statistics, and in every gradient that it reaches."""
    block = prepared_block(convolution_block(channels, 8, pool=True)).to(device)
    with torch.no_grad():
        block[0][0].weight[2] = float("nan")
    found = results(block, images((2, channels, 4, 4)).to(device), fused_body)
    for name in ("out", "in evaluation"):
        assert found[name][:, 2].isnan().all() and found[name][:, 3].isfinite().all()
    assert found["0.1.running_mean"].isnan().tolist() == [False, False, True] + 5 * [False]
    assert found["of 0.1.weight"][2].isnan() and found["of 0.0.weight"][2].isnan().all()
    assert found["of 0.0.weight"][3].isfinite().all()


@pytest.mark.parametrize("channels", [1, 8])
def test_twice_the_same_bits(channels, device):
    block = prepared_block(convolution_block(channels, 24, pool=True)).to(device)
    x = images((4, channels, 8, 8)).to(device)
    one, other = (results(copy.deepcopy(block), x, fused_body) for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one if one[name] is not None)
