"""Balanced layers: gradients, the recursion of the imbalance, and checks that fail where they must."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from collapse.theory import balance_checks as checks
from collapse.theory.balance import DenseLayers, loss, loss_gradients, tail_imbalances

SMALL = {"num_samples": 50, "units": 12, "linear_layers": 3}
STEP = {"learning_rate": 0.05, "weight_decay": 0.01, "steps": 40, "seed": 1}


@pytest.fixture(scope="module")
def problem():
    return checks.problem_of("Digits", relu_layers=1, **SMALL)


def verdicts(rows):
    return [row["verdict"] for row in rows]


def test_gradients_are_torchs(problem):
    weights = problem.layers.split(problem.layers.start(seed=0))
    tensors = [torch.tensor(weight, requires_grad=True) for weight in weights]
    values = functional.relu(torch.from_numpy(problem.inputs_ND) @ tensors[0].T)
    for weight in tensors[1:]:
        values = values @ weight.T
    error = (values - torch.from_numpy(problem.targets_NK)).square().sum() / (2 * len(problem.labels_N))
    error.backward()
    found = loss_gradients(weights, problem.inputs_ND, problem.targets_NK, relu_layers=1)
    for gradient, tensor in zip(found, tensors, strict=True):
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), atol=1e-13)
    assert loss(weights, problem.inputs_ND, problem.targets_NK, relu_layers=1) == pytest.approx(error.item())
    assert problem.loss(0 * problem.layers.start(seed=0)) == 0.5


def test_the_layers_lie_in_the_vector_as_the_layout_says():
    layers = DenseLayers((5, 4, 3, 2), relu_layers=1)
    flat = np.arange(20 + 12 + 6.0)
    pieces = [flat[piece.start : piece.stop].reshape(piece.shape) for piece in layers.layout()]
    assert all((ours == theirs).all() for ours, theirs in zip(pieces, layers.split(flat), strict=True))
    assert [piece.is_head for piece in layers.layout()] == [False, False, True]
    assert [D.shape for D in tail_imbalances(layers.split(flat), 1)] == [(3, 3)]


@pytest.mark.parametrize(("optimizer", "batch_size"), [("SGD", None), ("SGD", 7), ("SGDW", 7)])
def test_the_recursion_holds_on_all_samples_and_on_minibatches(problem, optimizer, batch_size):
    rows = checks.check_recursion(problem, optimizer, momentum=0.0, batch_size=batch_size, **STEP)
    assert verdicts(rows) == ["holds"]


@pytest.mark.parametrize(("optimizer", "momentum"), [("SGD", 0.5), ("Signum", 0.0), ("AdamW", 0.0)])
def test_without_momentum_and_with_no_other_optimizer(problem, optimizer, momentum):
    how = STEP | {"learning_rate": 0.001}
    rows = checks.check_recursion(problem, optimizer, momentum=momentum, batch_size=None, **how)
    assert verdicts(rows) == ["fails"]


def test_the_decay_of_the_imbalance_is_that_of_sgd_alone(problem):
    how = {"learning_rate": 0.01, "momentum": 0.0, "weight_decay": 0.05}
    for optimizer, verdict in (("SGD", "holds"), ("Adam", "fails")):
        rates = [how["learning_rate"]] * 1500
        path = checks.trained(
            problem, optimizer, learning_rates=rates, momentum=0.0, weight_decay=0.05, seed=1
        )
        seen = checks.watched(problem, path, [1500])
        assert set(verdicts(checks.check_decay(seen, **how))) == {verdict}
        assert set(verdicts(checks.check_bounds(seen))) <= {"holds"}


def test_an_optimizer_whose_decay_is_decoupled_fails_in_the_place_of_a_coupled_one(problem):
    rates = 0.001 * np.concatenate([np.ones(2000), np.geomspace(1, 0.01, 1000)])
    how = {"learning_rates": rates, "momentum": 0.9, "seed": 1, "is_balanced": True}
    assert verdicts(checks.check_balanced(problem, "Signum", weight_decay=0.003, **how)) == ["holds"]
    assert verdicts(checks.check_balanced(problem, "SignumW", weight_decay=3.0, **how)) == ["fails"]


def test_balanced_at_a_critical_point_alone():
    linear = checks.problem_of("Digits", relu_layers=0, **SMALL)
    assert verdicts(checks.check_critical_point(linear, weight_decay=0.01, seed=1)) == ["holds"]
    start = checks.look(linear, linear.layers.split(linear.layers.start(seed=1)), step=0)
    assert min(start.balancedness) > 0.3


def test_small_weights_fall_to_zero(problem):
    how = {"learning_rate": 0.05, "momentum": 0.0, "weight_decay": 0.01, "seed": 1}
    assert verdicts(checks.check_zero(problem, steps=100, **how)) == ["holds"]
