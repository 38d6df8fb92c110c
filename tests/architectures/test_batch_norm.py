"""BatchNorm in channels_last on a CPU: PyTorch's own in float64, in float32 as near to it as any layout."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from collapse.architectures import ARCHITECTURES
from collapse.architectures.batch_norm import BatchNorm2d, channel_statistics

# Above 4,096 values a channel and below.
SHAPES = [(128, 16, 32, 32), (43, 3, 10, 11), (5000, 1, 1, 1), (4, 3, 5, 7), (2, 512, 1, 1)]


def batch(shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    images = 3 + 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
    return images.to(dtype).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_pytorchs_in_float64(shape):
    """Output, gradients and running statistics, twice over."""
    channels = shape[1]
    ours, theirs = BatchNorm2d(channels).double(), nn.BatchNorm2d(channels).double()
    for norm in (ours, theirs):
        with torch.no_grad():
            norm.weight.copy_(torch.linspace(0.5, 2, channels))
            norm.bias.copy_(torch.linspace(-1, 1, channels))
    for number in range(2):
        images = [(batch(shape) * (1 + number)).requires_grad_() for _ in range(2)]
        out = [norm(x) for norm, x in zip((ours, theirs), images, strict=True)]
        torch.testing.assert_close(*out, rtol=1e-12, atol=1e-12)
        for one in out:
            (one.relu() * one.detach().cos()).sum().backward()
        torch.testing.assert_close(images[0].grad, images[1].grad, rtol=1e-11, atol=1e-11)
    for name, x in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], x, rtol=1e-12, atol=1e-12)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-11, atol=1e-11)
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(images[0]), theirs(images[1]), rtol=1e-12, atol=1e-12)


def test_the_gradient_is_that_of_finite_differences(monkeypatch):
    monkeypatch.setattr("collapse.architectures.batch_norm.MOST_ADDED", 0)
    norm = BatchNorm2d(3).double()
    assert torch.autograd.gradcheck(norm, batch((4, 3, 2, 2)).requires_grad_())


def test_statistics_of_many_far_values_keep_their_digits():
    """131,072 values a channel about 1,000: a running sum in float32 loses three of their seven digits."""
    images = (1000 + torch.randn(128, 16, 32, 32)).contiguous(memory_format=torch.channels_last)
    mean, variance = channel_statistics(images)
    exact = images.double().permute(1, 0, 2, 3).flatten(1)
    torch.testing.assert_close(mean, exact.mean(1), rtol=3e-7, atol=0)
    torch.testing.assert_close(variance, exact.var(1, correction=0), rtol=1e-3, atol=0)


SMOOTH = {"ReLU": nn.SiLU(), "MaxPool2d": nn.AvgPool2d(2), "GlobalMaxPool": nn.AdaptiveAvgPool2d(1)}


def smoothed(network):
    """With nothing in it in which rounding picks one of two equals: a tie moves gradients in any layout."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if type(child).__name__ in SMOOTH:
                setattr(parent, name, SMOOTH[type(child).__name__])
    return network


def with_pytorchs(network):
    """A copy with PyTorch's own BatchNorm."""
    network = copy.deepcopy(network)
    for module in network.modules():
        if isinstance(module, BatchNorm2d):
            module.__class__ = nn.BatchNorm2d
    return network


def first_gradient(network, images, labels, *, channels_last=True):
    """Logits and gradients of one batch, in float64 whatever they were computed in."""
    logits = network(images) if channels_last else network.head(network.body(images.contiguous()))
    functional.cross_entropy(logits, labels).backward()
    found = {name: p.grad.double() for name, p in network.named_parameters()}
    return {"logits": logits.detach().double()} | found


@pytest.mark.parametrize("architecture", ["ResNet9", "VGG9"])
def test_the_first_batch_is_as_near_to_float64_as_in_the_usual_layout(architecture):
    """Logits and gradients, but for those of biases before a BatchNorm, which are zero."""
    torch.manual_seed(0)
    network = smoothed(
        ARCHITECTURES[architecture](channels=1, image_size=32, num_classes=10, train_size=128, width=0.25)
    )
    images, labels = torch.rand(128, 1, 32, 32), torch.arange(128) % 10
    gold = first_gradient(copy.deepcopy(network).double(), images.double(), labels)
    names = [name for name in gold if gold[name].norm() > 1e-10]

    def errors(network, **layout):
        found = first_gradient(network, images, labels, **layout)
        return torch.stack([(found[name] - gold[name]).norm() / gold[name].norm() for name in names])

    usual = errors(with_pytorchs(network), channels_last=False)
    careless = errors(with_pytorchs(network))
    ours = errors(network)
    assert ours.median() < 3 * usual.median() < careless.median() / 2
    assert ours[0] < 3 * usual[0] < careless[0] / 2 and names[0] == "logits"
    assert ours.max() < 3 * usual.max()
