"""Whole networks and runs by the kernels: near float64, the same bits again, the laws of the plain step."""

import copy
import re

import numpy as np
import pytest
import torch
from interpreted import DEVICES, use_few_programs

from collapse.architectures.initialisation import initial_network
from collapse.architectures.precision import convolutions_in
from collapse.study.known_nc0 import nc0_ratio_by_epoch
from collapse.training import run as training
from collapse.training.graphed_steps import GraphedSteps
from collapse.training.images import load_images
from collapse.training.kernels.named import kernels_named
from collapse.training.packs import TRAINING
from collapse.training.run import train_run
from collapse.training.steps import FlatParameters, accumulated_gradients, step_of

pytestmark = pytest.mark.parametrize("device", DEVICES)


@pytest.fixture(autouse=True)
def few_programs(device, monkeypatch):
    if device == "cpu":
        use_few_programs(monkeypatch)


def distance(found, exact):
    found, exact = found.double().cpu(), exact.double().cpu()
    return ((found - exact).norm() / exact.norm()).item()


def network_of(run, device, dtype=torch.float32):
    return initial_network(run).to(device, dtype).train()


def batch_of(channels=1, size=8, num_images=6):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(num_images, channels, size, size, generator=generator)
    return images.contiguous(memory_format=torch.channels_last), torch.arange(num_images) % 10


@pytest.mark.parametrize(
    ("architecture", "dataset", "size"), [("ResNet9", "Fake", 8), ("VGG9", "CIFAR10", 16)]
)
def test_gradients_are_as_near_to_float64_as_plain_ones(architecture, dataset, size, device, tiny_run):
    """And so are the loss, the running statistics, and the features in evaluation after that."""
    run = tiny_run | {"architecture": architecture, "dataset": dataset, "image_size": size, "width": 0.125}
    images, labels = batch_of(3 if dataset == "CIFAR10" else 1, size)
    exact, found = network_of(run, "cpu", torch.float64), network_of(run, device)
    flats, fused = [FlatParameters(network) for network in (exact, found)], kernels_named("fused")
    with convolutions_in("float32"):
        losses = [
            accumulated_gradients(exact, flats[0], images.double(), labels),
            fused.gradients(found, flats[1], images.to(device), labels.to(device)),
        ]
        for network in (exact, found):
            network.eval()
        with torch.no_grad():
            features = exact.features(images.double())
            others = found.features(images.to(device), body=lambda x: fused.body(found.body, x))
    assert distance(losses[1], losses[0]) < 1e-6 and distance(others, features) < 2e-6
    pieces = zip(exact.named_parameters(), *(flat.pieces(flat.gradients) for flat in flats), strict=True)
    for (name, _), expected, gradient in pieces:
        if re.search(r"body.*\.0\.bias", name):
            assert (gradient == 0).all(), "BatchNorm is blind to this bias"
        else:
            assert distance(gradient, expected) < 1e-5, name
    for (name, expected), (_, buffer) in zip(exact.named_buffers(), found.named_buffers(), strict=True):
        assert distance(buffer, expected) < 2e-6 if buffer.is_floating_point() else buffer == 1, name


def test_bfloat16_is_of_the_body_alone(device, tiny_run):
    """As near to float64 as PyTorch's; the head's gradient and the features are float32."""
    run = tiny_run | {"precision": "bfloat16", "width": 0.125}
    images, labels = batch_of(size=8, num_images=12)
    exact, plain = network_of(run | {"precision": "float32"}, "cpu", torch.float64), network_of(run, device)
    found, fused = copy.deepcopy(plain), kernels_named("fused")
    flats = [FlatParameters(network) for network in (exact, plain, found)]
    accumulated_gradients(exact, flats[0], images.double(), labels)
    accumulated_gradients(plain, flats[1], images.to(device), labels.to(device))
    fused.gradients(found, flats[2], images.to(device), labels.to(device))
    errors = [distance(flat.gradients, flats[0].gradients) for flat in flats[1:]]
    assert 1e-3 < errors[1] < 2 * errors[0]
    head = found.head.weight.numel() + found.head.bias.numel()
    of_head, of_body = flats[2].gradients[-head:], flats[2].gradients[:-head]
    assert not torch.equal(of_head, of_head.bfloat16().float())
    weight = of_body[: found.body[1][0].weight.numel()]
    assert torch.equal(weight, weight.bfloat16().float())
    features = found.features(images.to(device), body=lambda x: fused.body(found.body, x))
    assert features.dtype is torch.float32 and torch.equal(features, features.bfloat16().float())


@pytest.fixture
def small_run(tiny_run):
    """Six steps, every second of a smaller batch."""
    changes = {"train_size": 40, "batch_size": 24, "epochs": 3, "measure_every": 3, "learning_rate": 0.003}
    return tiny_run | changes


def trained(run, prepared, device, *, kernels="fused", **more):
    images = load_images(prepared, run, torch.device(device))
    images = images._replace(test_images=images.test_images[:10], test_labels=images.test_labels[:10])
    settings = {name: run[name] for name in TRAINING} | {"padding": None, "progress": lambda *_: None}
    with convolutions_in(run["precision"]):
        return train_run(network_of(run, device), images, kernels=kernels, **settings, **more)


def assert_same(one, other):
    for ours, theirs in ((one.weights, other.weights), (one.trajectory, other.trajectory)):
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert one.history == other.history


def test_a_run_goes_on_and_is_a_graph_to_the_same_bits(device, small_run, prepared, monkeypatch):
    """From its middle; and as graphs, whose tensors keep their place (on a CPU done again, not captured)."""
    run, moments, made = small_run | {"optimizer": "Adam"}, [], []
    whole = trained(run, prepared, device, between_epochs=lambda take: moments.append(take()))
    assert_same(whole, trained(run, prepared, device, begin=moments[1]))

    def steps(network, flat, rule, gradients, *, graphed):
        step = step_of(network, flat, rule, gradients, graphed=graphed)
        if device == "cpu":
            step = GraphedSteps(step, [flat.values, *network.buffers()], capture=lambda work: work)
        made.append(step)
        return step

    monkeypatch.setattr(training, "step_of", steps)
    assert_same(whole, trained(run, prepared, device))
    assert sorted(made[0].captured) == [16, 24] and all(made[0].captured.values())


@pytest.mark.parametrize("optimizer", ["SGD", "SGDW"])
def test_a_run_ends_near_the_plain_one_and_nc0_where_it_must(optimizer, device, small_run, prepared):
    """NC0 in closed form, to the floor of float32; losses as near as rounding leaves them."""
    run = small_run | {"optimizer": optimizer, "weight_decay": 0.5, "epochs": 2}
    one, other = (trained(run, prepared, device, kernels=name) for name in ("fused", "plain"))
    for name in ("running_loss", "train_loss", "test_loss"):
        found, expected = ([row[name] for row in run.history if name in row] for run in (one, other))
        np.testing.assert_allclose(found, expected, rtol=1e-3)
    nc0 = np.array([row["NC0"] for row in one.history])
    np.testing.assert_allclose(nc0, nc0[0] * nc0_ratio_by_epoch(run), rtol=1e-5, atol=1e-5)


def test_a_run_that_diverges_says_so(device, small_run, prepared):
    outcome = trained(small_run | {"learning_rate": 1e12}, prepared, device)
    assert outcome.status == "diverged" and "not finite at epoch" in outcome.reason
