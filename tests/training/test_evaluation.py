"""One look at a network: eval mode, the right set for each number, and no number that is not finite."""

import weakref

import numpy as np
import pytest
import torch
from torch.nn import functional

from collapse.architectures.initialisation import initial_network
from collapse.metrics.neural_collapse import nc0
from collapse.training.evaluation import Diverged, evaluate, gathered, statistics_of
from collapse.training.head import head_metrics
from collapse.training.images import DeviceError, choose_device, load_images


@pytest.fixture
def network(tiny_run):
    """A network whose BatchNorm has seen data, so that train and eval mode differ."""
    network = initial_network(tiny_run).double()
    generator = torch.Generator().manual_seed(0)
    network(torch.randn(64, 1, 8, 8, dtype=torch.float64, generator=generator))
    return network


@pytest.fixture
def images(tiny_run, prepared):
    """A test set of other size and balance than the training set."""
    images = load_images(prepared, tiny_run, torch.device("cpu"))
    images = images._replace(test_images=images.test_images[:37], test_labels=images.test_labels[:37])
    return type(images)(*(t.double() if t.is_floating_point() else t for t in images))


def by_hand(network, images, labels):
    network.eval()
    with torch.no_grad():
        features = network.body(images)
        logits = network.head(features)
    accuracy = (logits.argmax(1) == labels).double().mean().item()
    return features, functional.cross_entropy(logits, labels).item(), accuracy


def test_both_sets_in_eval_mode(network, images):
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    statistics, fit = statistics_of(network.train(), images)
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in network.named_buffers())
    for name in ("train", "test"):
        _, loss, accuracy = by_hand(
            network, getattr(images, f"{name}_images"), getattr(images, f"{name}_labels")
        )
        assert fit[f"{name}_loss"] == pytest.approx(loss, rel=1e-10)
        assert fit[f"{name}_accuracy"] == accuracy
        assert getattr(statistics, f"accuracy_{name}") == accuracy
    assert fit["train_accuracy"] != fit["test_accuracy"]


def test_means_are_of_the_training_set_and_nc4_of_the_test_set(network, images):
    statistics, _ = statistics_of(network, images)
    features, _, _ = by_hand(network, images.train_images, images.train_labels)
    means = torch.stack([features[images.train_labels == k].mean(0) for k in range(10)])
    np.testing.assert_allclose(statistics.means_KD, means, rtol=1e-10, atol=1e-12)
    test, _, _ = by_hand(network, images.test_images, images.test_labels)
    nearest = torch.cdist(test, means).argmin(1)
    argmax = (test @ network.head.weight.detach().T).argmax(1)
    assert statistics.agreement_test == (argmax == nearest).double().mean().item()


def test_the_head_alone_gives_the_same_nc0(network, images):
    statistics, _ = statistics_of(network, images)
    assert head_metrics(network.head)["NC0"] == nc0(statistics.weight_KD)


@pytest.mark.parametrize(("part", "value"), [("body", float("inf")), ("head", float("nan"))])
def test_what_is_not_finite_is_divergence(network, images, part, value):
    with torch.no_grad():
        next(getattr(network, part).parameters()).fill_(value)
    with pytest.raises(Diverged, match={"body": "features", "head": "loss"}[part]):
        evaluate(network, images.train_images, images.train_labels)


@pytest.mark.parametrize("train_size", [100, 300])
def test_as_many_images_as_asked_for_the_same_of_each_class(tiny_run, prepared, train_size):
    images = load_images(prepared, tiny_run | {"train_size": train_size}, torch.device("cpu"))
    assert len(images.train_images) == len(images.train_labels) == train_size
    assert len(images.test_labels) == 100
    if train_size == 100:
        assert images.train_labels.bincount().tolist() == [10] * 10


def test_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")
    with pytest.raises(DeviceError, match="set device to auto or cpu"):
        choose_device("cuda")


def test_features_are_gathered_without_a_second_copy_of_all():
    alive, batches = [], [torch.randn(size, 3) for size in (10, 10, 4)]

    def made():
        for batch in batches:
            assert all(reference() is None for reference in alive)
            copy = batch.clone()
            alive.append(weakref.ref(copy))
            yield copy
            del copy

    torch.testing.assert_close(gathered(made(), num_samples=24), torch.cat(batches), rtol=0, atol=0)
    assert len(alive) == 3
