"""The trainer: what theory fixes in advance, and what a run's result may not depend on."""

import math

import numpy as np
import pytest
import torch

from collapse.architectures.initialisation import initial_network
from collapse.datasets.preprocessing import black_pixel
from collapse.optimizers import OPTIMIZERS
from collapse.study.known_nc0 import nc0_ratio_by_epoch
from collapse.training.images import Images, load_images
from collapse.training.packs import TRAINING
from collapse.training.run import minibatches, train_run
from collapse.training.steps import FlatParameters, to_OHWI


def train(run, prepared, *, progress=lambda epoch, loss: None, dtype=torch.float32, padding=None):
    images = load_images(prepared, run, torch.device("cpu"))
    images = Images(*(t.to(dtype) if t.is_floating_point() else t for t in images))
    network = initial_network(run).to(dtype)
    settings = {name: run[name] for name in TRAINING}
    return train_run(network, images, progress=progress, padding=padding, **settings)


def column(outcome, name):
    return np.array([row[name] for row in outcome.history])


@pytest.mark.parametrize("optimizer", ["SGD", "SGDW"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.05, 0.5])
@pytest.mark.parametrize(("dtype", "floor"), [(torch.float64, 1e-13), (torch.float32, 1e-5)])
def test_nc0_follows_the_closed_form(tiny_run, prepared, optimizer, momentum, weight_decay, dtype, floor):
    """Spec 3.1, through the whole history: relative agreement, down to the floor of the arithmetic."""
    run = tiny_run | {
        "optimizer": optimizer, "momentum": momentum, "weight_decay": weight_decay, "epochs": 9,
    }  # fmt: skip
    outcome = train(run, prepared, dtype=dtype)
    assert outcome.status == "done"
    measured = column(outcome, "NC0")
    expected = measured[0] * nc0_ratio_by_epoch(run)
    np.testing.assert_allclose(measured, expected, rtol=floor, atol=floor)


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", "Signum", "SignumW"])
def test_adaptive_optimizers_move_nc0_even_without_weight_decay(tiny_run, prepared, optimizer):
    run = tiny_run | {"optimizer": optimizer, "learning_rate": 0.01, "weight_decay": 0.0}
    measured = column(train(run, prepared), "NC0")
    assert abs(measured[-1] / measured[0] - 1) > 0.01


def test_history_has_initialisation_and_every_epoch(tiny_run, prepared):
    seen = []
    outcome = train(tiny_run, prepared, progress=lambda epoch, loss: seen.append(epoch))
    assert column(outcome, "epoch").tolist() == [0, 1, 2, 3, 4, 5]
    assert column(outcome, "measured").tolist() == [True, True, True, False, True, True]
    assert ["train_accuracy" in row for row in outcome.history] == [1, 1, 1, 0, 1, 1]
    assert dict.fromkeys(int(name.partition("/")[0]) for name in outcome.trajectory) == dict.fromkeys(
        [0, 1, 2, 4, 5]
    )
    assert seen == [1, 2, 3, 4, 5]
    rates = [row["learning_rate"] for row in outcome.history[1:]]
    assert rates == pytest.approx([0.05, 0.005, 0.005, 0.0005, 0.0005])
    first = outcome.history[0]
    assert first["train_loss"] == pytest.approx(math.log(10), abs=1)
    assert first["NC0"] == pytest.approx(
        initial_network(tiny_run).head.weight.detach().double().sum(0).norm().item(), rel=1e-12
    )
    assert len(first["singular_values_W"]) == 10


def test_minibatches_hold_every_sample_once_and_the_last_is_smaller():
    batches = list(minibatches(300, batch_size=64, seed=1, epoch=0))
    assert [len(batch) for batch in batches] == [64, 64, 64, 64, 44]
    assert torch.cat(batches).sort().values.tolist() == list(range(300))


def test_minibatches_depend_on_seed_and_epoch_alone():
    def order(seed, epoch):
        return torch.cat(list(minibatches(300, batch_size=64, seed=seed, epoch=epoch)))

    torch.manual_seed(0)
    first = order(1, 2)
    torch.rand(100)
    assert torch.equal(first, order(1, 2))
    assert not torch.equal(first, order(1, 3))
    assert not torch.equal(first, order(2, 2))


def test_a_run_repeats_bit_for_bit_and_its_seed_matters(tiny_run, prepared):
    one, again = train(tiny_run, prepared), train(tiny_run, prepared)
    other = train(tiny_run | {"seed": 1}, prepared)
    for name, tensor in one.weights.items():
        assert torch.equal(tensor, again.weights[name])
    assert not torch.equal(one.weights["head.weight"], other.weights["head.weight"])


def test_augmentation_changes_the_run_and_repeats(tiny_run, prepared):
    plain = train(tiny_run, prepared)
    cropped = [train(tiny_run, prepared, padding=black_pixel("Fake")) for _ in range(2)]
    assert torch.equal(cropped[0].weights["head.weight"], cropped[1].weights["head.weight"])
    assert not torch.equal(plain.weights["head.weight"], cropped[0].weights["head.weight"])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_trains(tiny_run, prepared, optimizer):
    rate = 0.05 if optimizer.startswith("SGD") else 0.003
    fraction = 0.5 if optimizer == "AdamInterpolated" else None
    run = tiny_run | {
        "optimizer": optimizer, "learning_rate": rate, "coupled_fraction": fraction,
        "batch_size": 16, "epochs": 8, "weight_decay": 0.001,
    }  # fmt: skip
    outcome = train(run, prepared)
    assert outcome.history[-1]["train_accuracy"] > 0.9
    assert outcome.history[-1]["train_loss"] < outcome.history[0]["train_loss"]


def test_divergence_ends_the_run_at_once_and_says_where(tiny_run, prepared):
    outcome = train(tiny_run | {"learning_rate": 1e12, "epochs": 50}, prepared)
    assert outcome.status == "diverged"
    assert outcome.weights is None
    assert outcome.epochs_done < 5
    assert outcome.reason.endswith(f"at epoch {outcome.epochs_done}")
    assert outcome.history[-1]["epoch"] == outcome.epochs_done
    assert "NC0" not in outcome.history[-1]


def test_flat_parameters_reach_every_parameter(tiny_run):
    network = initial_network(tiny_run)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    flat = FlatParameters(network)
    assert flat.values.numel() == sum(parameter.numel() for parameter in before)
    for parameter, value in zip(network.parameters(), before, strict=True):
        assert torch.equal(parameter, value)
    network(torch.ones(2, 1, 8, 8)).sum().backward()
    gradients = torch.cat([to_OHWI(parameter.grad).flatten() for parameter in network.parameters()])
    assert torch.equal(flat.gradients, gradients)
    assert flat.gradients.abs().sum() > 0
    flat.values.zero_()
    assert all(not parameter.any() for parameter in network.parameters())
