"""Unconstrained features under the project's update rules: where each optimizer comes to rest."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from collapse.architectures.initialisation import initial_network
from collapse.optimizers import OPTIMIZERS
from collapse.theory.trained_features import Size, random_start
from collapse.theory.ufm import Model, closed_form_point, minimum, row_norm
from collapse.theory.ufm_descent import (
    cosine,
    imbalance,
    logged_steps,
    logged_training,
    measured,
    own_decay,
    own_minimum,
)
from collapse.training.steps import FlatParameters, training_step, update_rule

RATES = {"SGD": 2.0, "SGDW": 2.0, "Adam": 0.05, "AdamW": 0.05, "Signum": 0.02, "SignumW": 0.02}
SIZE = {"num_classes": 4, "samples_per_class": 5, "num_features": 8}
OF_SIZE = Size(4, 8, 5)


def last(optimizer, weight_decay, *, size=SIZE, steps=3000, epsilon=1e-8, momentum=0.9):
    how = {"learning_rate": RATES[optimizer], "momentum": momentum, "epsilon": epsilon, "seed": 3141}
    *_, end = logged_training(optimizer=optimizer, weight_decay=weight_decay, **how, **size, steps=steps)
    return end


def test_who_has_an_objective():
    """All coupled decay, and SGDW, of lambda (1 - momentum)."""
    found = {
        name: own_decay(name, weight_decay=0.2, momentum=0.9)
        for name in OPTIMIZERS
        if name != "AdamInterpolated"
    }
    coupled = {name for name, one in OPTIMIZERS.items() if one.weight_decay_kind == "coupled"}
    assert {name for name, decay in found.items() if decay == 0.2} == coupled
    assert found["SGDW"] == pytest.approx(0.02)
    assert {name for name, decay in found.items() if decay is None} == set(found) - coupled - {"SGDW"}
    assert math.isnan(own_minimum(OF_SIZE, None)) and own_minimum(OF_SIZE, 0.0) == 0


@pytest.mark.parametrize(
    ("optimizer", "f"),
    [("SGD", 0.5416207827), ("SGDW", 0.0859072819), ("Adam", 0.5416207827), ("Signum", 0.5416207827)],
)
def test_coupled_decay_and_sgdw_reach_their_minimum(optimizer, f):
    end = last(optimizer, 0.02)
    assert end["minimum"] == pytest.approx(f, abs=1e-10)
    assert end["objective"] == pytest.approx(f, abs=1e-10)
    assert max(end["NC0"], end["NC2"], end["NC3"], end["imbalance"]) < 1e-4 and end["NC1"] < 1e-9


def test_sgdw_is_sgd_with_less_decay():
    """At rest: V = g / (1 - momentum), so lambda (1 - momentum)."""
    sgdw, sgd = last("SGDW", 0.1), last("SGD", 0.01)
    for name in ("cross_entropy", "objective", "norm_W"):
        assert sgdw[name] == pytest.approx(sgd[name], rel=1e-9)
    assert sgdw["norm_W"] == pytest.approx(2 * row_norm(Model(4, 5, 8, 0.01, 0.01, 0.0)), rel=1e-9)
    assert last("SGDW", 0.01, momentum=0.0)["norm_W"] == pytest.approx(sgd["norm_W"], rel=1e-6)


def test_above_the_threshold_coupled_decay_leaves_nothing():
    """1 / (K sqrt(n)) is 0.1118; SGDW's is ten times that."""
    for optimizer in ("SGD", "Adam", "Signum"):
        end = last(optimizer, 0.15, steps=2000)
        assert end["norm_W"] < 1e-4 and end["objective"] == pytest.approx(math.log(4), abs=1e-8)
        assert end["minimum"] == pytest.approx(math.log(4))
    assert last("SGDW", 0.15, steps=2000)["norm_W"] > 1


@pytest.mark.parametrize(("num_classes", "samples_per_class", "num_features"), [(4, 5, 8), (3, 2, 6)])
def test_signumw_ends_at_a_vertex_where_nc0_counts_columns(num_classes, samples_per_class, num_features):
    """(lambda NC0)^2 is a sum of squares of integers of K's parity, so at least D for odd K."""
    size = {
        "num_classes": num_classes,
        "samples_per_class": samples_per_class,
        "num_features": num_features,
    }
    end = last("SignumW", 1.0, size=size, steps=2000)
    found = end["NC0"] ** 2
    assert end["exposure"] > 15 and end["norm_W"] == pytest.approx((num_classes * num_features) ** 0.5)
    assert found == pytest.approx(round(found), abs=1e-6)
    assert round(found) % 4 == 0 if num_classes % 2 == 0 else round(found) >= num_features
    assert math.isnan(end["objective"]) and math.isnan(end["minimum"])


def test_adamw_is_out_of_balance_and_the_less_the_larger_epsilon():
    """A large epsilon preconditions nothing: AdamW is a gradient descent then."""
    ends = [last("AdamW", 0.02, epsilon=epsilon) for epsilon in (1e-8, 1e-4, 1e-2)]
    found = [end["imbalance"] for end in ends]
    assert found == sorted(found, reverse=True) and found[0] > 1
    assert ends[0]["NC0"] > 1 and math.isnan(ends[0]["objective"])


def test_what_is_measured_at_a_minimiser():
    one = Model(4, 5, 8, 0.02, 0.02, 0.0)
    flat = closed_form_point(one)[:-4]
    found = measured(flat, OF_SIZE)
    assert found["norm_W"] == pytest.approx(2 * row_norm(one))
    f = found["cross_entropy"] + 0.01 * float(flat @ flat)
    assert f == pytest.approx(minimum(one), abs=1e-14)
    assert max(found[name] for name in ("NC0", "NC1", "NC2", "NC3", "imbalance")) < 1e-14
    W, H = OF_SIZE.split(flat)
    assert imbalance(2 * W, H) == pytest.approx(3.0), "4 - 1 over 1"
    tiny = measured(1e-200 * random_start(OF_SIZE, seed=1), OF_SIZE)
    usual = measured(random_start(OF_SIZE, seed=1), OF_SIZE)
    for name in ("NC1", "NC2", "NC3", "imbalance"):
        assert tiny[name] == pytest.approx(usual[name], rel=1e-9), f"{name} has no scale"


def test_steps_that_are_logged_and_what_has_acted():
    assert logged_steps(5) == [0, 1, 2, 3, 4, 5]
    steps = logged_steps(20_000)
    assert 50 <= len(steps) <= 61 and steps[0] == 0 and steps[-1] == 20_000 and steps == sorted(set(steps))
    how = {"learning_rate": 0.05, "momentum": 0.9, "epsilon": 1e-8, "seed": 1}
    rows = list(logged_training(optimizer="Adam", weight_decay=0.02, **how, **SIZE, steps=40))
    assert [row["step"] for row in rows] == logged_steps(40)
    assert rows[0]["exposure"] == 0 and rows[1]["exposure"] == pytest.approx(0.02 * 0.05)
    assert rows[-1]["exposure"] == pytest.approx(0.02 * 0.05 * 20.5), "a cosine is half on average"
    assert cosine(0, 40) == 1 and cosine(40, 40) == 0


def test_a_training_that_diverges_ends_there_and_says_so():
    how = {"learning_rate": 1e3, "momentum": 0.9, "epsilon": 1e-8, "seed": 1, "steps": 3000}
    with np.errstate(all="ignore"):
        rows = list(logged_training(optimizer="SGD", weight_decay=1.0, **how, **SIZE))
    assert rows[-1]["step"] < 3000 and rows[0]["cross_entropy"] > 0
    assert all(math.isnan(rows[-1][name]) for name in ("cross_entropy", "norm_W", "NC0", "objective"))


@pytest.mark.parametrize(("weight_decay", "norm"), [(0.003, 11.0932), (0.005, 0.0)])
def test_the_threshold_at_the_size_of_figure_16(weight_decay, norm):
    """K 10, N 10,000, the network and steps of a study in float32, mean loss: 1 / (K sqrt(n)) is 0.00316."""
    run = {"dataset": "Indices", "architecture": "UFM", "image_size": 1, "train_size": 10_000}
    network = initial_network(run | {"width": 64 / 512, "seed": 3141, "precision": "float32"})
    flat, state, steps = FlatParameters(network), {}, 200
    betas = {"momentum": 0.9, "coupled_fraction": None, "beta2": 0.999, "epsilon": 1e-8}
    rule = update_rule("Adam", flat, weight_decay=weight_decay, **betas)
    numbers = torch.arange(10_000)
    samples = torch.stack([numbers % 256, numbers // 256], dim=1).float().view(-1, 2, 1, 1), numbers % 10
    for step in range(steps):
        state, _ = training_step(
            state, *samples, 0.1 * cosine(step, steps), network=network, flat=flat, rule=rule
        )
    predicted = 10**0.5 * row_norm(Model(10, 1000, 64, weight_decay, weight_decay, 0.0))
    assert predicted == pytest.approx(norm, abs=5e-5)
    assert network.head.weight.detach().norm().item() == pytest.approx(predicted, abs=2e-3)
    if norm:
        with torch.no_grad():
            assert (network(samples[0]).argmax(dim=1) == samples[1]).all(), "100% accuracy"
