"""Theorems 3.3 and 3.4: the project's SignGD in float64 against the closed forms, and the misprints."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from collapse.metrics.neural_collapse import etf_distance
from collapse.theory.last_layer import (
    alphas,
    cross_entropy_gradient,
    descend,
    moving_problem,
    simplex_features,
    ufm_gradient,
)
from collapse.theory.sign_descent import (
    coordinates,
    coupled_alpha,
    coupled_coordinates,
    decoupled_alpha,
    decoupled_limit,
    decoupled_scale,
    first_turn,
    second_turn,
    turning_times,
    unit_scale,
)

CLASSES = [3, 4, 10]


def as_stated(num_classes):
    """H = M*, the loss summed over the samples."""
    return {
        "num_classes": num_classes,
        "feature_scale": unit_scale(num_classes),
        "gradient_scale": 1.0,
    }


def as_in_the_proof(num_classes):
    """phi without 1 / sqrt(K - 1): features sqrt(K - 1) M*."""
    return as_stated(num_classes) | {"feature_scale": 1.0}


def simulate(ufm, *, optimizer, learning_rates, weight_decay):
    num_classes = ufm["num_classes"]
    how = {"learning_rates": learning_rates, "weight_decay": weight_decay, "momentum": 0.0}
    return list(descend(np.zeros((num_classes,) * 2), ufm_gradient(**ufm), optimizer=optimizer, **how))


def paths(weights):
    """a_t and b_t of simulated weights, which must keep the form (a + b) I - b J."""
    a_T, b_T, off_T = np.transpose([coordinates(weight_KK) for weight_KK in weights])
    assert off_T.max() < 1e-12
    return a_T, b_T


def test_gradient_is_the_derivative_of_the_summed_loss_and_has_zero_row_sum():
    rng = np.random.default_rng(0)
    features_DN, labels_N = rng.normal(size=(5, 12)), rng.integers(4, size=12)
    weight_KD = rng.normal(size=(4, 5))
    weight = torch.tensor(weight_KD, requires_grad=True)
    logits = (weight @ torch.from_numpy(features_DN)).T
    torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels_N), reduction="sum").backward()
    gradient_KD = cross_entropy_gradient(weight_KD, features_DN, labels_N)
    np.testing.assert_allclose(gradient_KD, weight.grad.numpy(), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(gradient_KD.sum(axis=0), 0, atol=1e-14)
    moving = moving_problem(num_classes=4, num_features=5, batch_size=7, seed=0)
    np.testing.assert_allclose(moving(weight_KD).sum(axis=0), 0, atol=1e-14)


def test_gradient_stays_exact_where_one_minus_p_rounds_to_zero():
    gradient_KD = cross_entropy_gradient(np.array([[100.0], [0.0]]), np.ones((1, 1)), np.array([0]))
    np.testing.assert_allclose(gradient_KD[:, 0], [-np.exp(-100), np.exp(-100)], rtol=1e-12)


@pytest.mark.parametrize("num_classes", CLASSES)
def test_unit_scale_gives_the_paper_s_m_star(num_classes):
    features_DN = simplex_features(num_classes=num_classes, feature_scale=unit_scale(num_classes))
    assert np.linalg.norm(features_DN) == pytest.approx(1)
    assert etf_distance(features_DN) < 1e-15


@pytest.mark.parametrize("num_classes", CLASSES)
@pytest.mark.parametrize("model", [as_stated, as_in_the_proof])
def test_theorem_3_3_closed_form(num_classes, model):
    how = {"learning_rate": 0.05, "weight_decay": 0.1}
    weights = simulate(
        model(num_classes), optimizer="SignumW", learning_rates=[0.05] * 1500, weight_decay=0.1
    )
    form_KK = np.ones((num_classes,) * 2) - 2 * np.eye(num_classes)
    w_T = decoupled_scale(**how, steps=1500)
    np.testing.assert_allclose(weights, w_T[:, None, None] * form_KK, rtol=1e-12)
    predicted = decoupled_alpha(num_classes=num_classes, **how, steps=1500)
    np.testing.assert_allclose(alphas(weights), predicted, rtol=1e-12)
    limit = decoupled_limit(num_classes=num_classes, weight_decay=0.1)
    assert alphas(weights)[-1] == pytest.approx(limit, rel=2e-3)
    # as printed alpha has no 1/K, and its limit is K times what the theorem says
    assert np.sum(weights[-1].sum(axis=0) ** 2) == pytest.approx(num_classes * limit, rel=2e-3)


def test_theorem_3_3_needs_three_classes():
    assert decoupled_limit(num_classes=2, weight_decay=0.1) == 0
    weights = simulate(as_stated(2), optimizer="SignumW", learning_rates=[0.05] * 200, weight_decay=0.1)
    assert alphas(weights).max() < 1e-25


def test_sign_of_the_gradient_is_constant_on_the_trajectory_alone():
    """The proof of 3.3 says "for all W": (softmax(W H) - I) J = 0 holds for symmetric W only."""
    gradient = ufm_gradient(**as_stated(10))
    form_KK = np.ones((10, 10)) - 2 * np.eye(10)
    assert np.array_equal(np.sign(gradient(-5.0 * form_KK)), form_KK)
    weight_KK = 10 * np.random.default_rng(0).normal(size=(10, 10))
    assert not np.array_equal(np.sign(gradient(weight_KK)), form_KK)


def test_theorem_3_3_ends_where_the_gradient_underflows():
    """2 r / lambda = 2000 > 745: float64 has no such gradient, and alpha stops below its limit."""
    weights = simulate(
        as_in_the_proof(3), optimizer="SignumW", learning_rates=[1.0] * 3000, weight_decay=0.001
    )
    limit = decoupled_limit(num_classes=3, weight_decay=0.001)
    assert alphas(weights)[-1] < 0.2 * limit
    assert decoupled_alpha(num_classes=3, learning_rate=1.0, weight_decay=0.001, steps=3000)[-1] > 0.9 * limit


@pytest.mark.parametrize("num_classes", CLASSES)
@pytest.mark.parametrize("model", [as_stated, as_in_the_proof])
def test_theorem_3_4_two_scalars_carry_the_weights(num_classes, model):
    ufm, rates = model(num_classes), np.full(600, 0.01)
    weights = simulate(ufm, optimizer="Signum", learning_rates=rates, weight_decay=0.1)
    predicted = coupled_coordinates(**ufm, learning_rates=rates, weight_decay=0.1)
    np.testing.assert_array_equal(paths(weights), predicted)
    expected = coupled_alpha(*predicted, num_classes=num_classes)
    np.testing.assert_allclose(alphas(weights), expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("num_classes", CLASSES)
def test_turning_times_are_where_they_are_predicted(num_classes):
    mean = as_stated(num_classes) | {"gradient_scale": 1 / num_classes}
    for ufm in (as_stated(num_classes), as_in_the_proof(num_classes), mean):
        for weight_decay in (0.5, 0.1, 0.02):
            step = {"learning_rate": 0.01, "weight_decay": weight_decay}
            path = coupled_coordinates(**ufm, learning_rates=[0.01] * 1000, weight_decay=weight_decay)
            first, second = turning_times(*path)
            assert first == first_turn(**ufm, **step)
            assert abs(second - second_turn(**ufm, **step)) <= 2


@pytest.mark.parametrize("num_classes", CLASSES)
def test_t1_as_printed_needs_features_longer_than_m_star(num_classes):
    eta, decay, t = 0.01, 0.1, np.arange(1000)
    printed = int(np.argmax(1 / (np.exp(2 * eta * t) + num_classes - 1) < decay * eta * t))
    found = {}
    for model in (as_stated, as_in_the_proof):
        weights = simulate(
            model(num_classes), optimizer="Signum", learning_rates=[eta] * 500, weight_decay=decay
        )
        found[model] = turning_times(*paths(weights))[0]
    assert found[as_in_the_proof] == printed
    assert found[as_stated] != printed


def test_alpha_rises_to_t1_and_falls_to_t2_by_pairs_of_steps():
    """As printed alpha falls at every step; b goes up and down, so it falls over two steps."""
    ufm = as_stated(10)
    weights = simulate(ufm, optimizer="Signum", learning_rates=[0.01] * 400, weight_decay=0.1)
    alpha_T = alphas(weights)
    first, second = turning_times(*paths(weights))
    assert (first, second) == (33, 259)
    np.testing.assert_allclose(alpha_T[: first + 1], (8 * 0.01 * np.arange(first + 1)) ** 2, rtol=1e-9)
    falling = alpha_T[first : second - 9]  # the last few are within the oscillation
    assert np.all(falling[2:] < falling[:-2])
    rises = int(np.sum(np.diff(alpha_T[first + 1 : second + 1]) > 0))
    assert rises > (second - first) / 3


def test_b_leaves_its_first_peak_and_only_so_does_alpha_vanish():
    """The proof keeps b within eta of eta T1. It follows phi / lambda down instead."""
    ufm, eta, decay = as_stated(10), 0.01, 0.0005
    a_T, b_T = coupled_coordinates(**ufm, learning_rates=[eta] * 2500, weight_decay=decay)
    first, second = turning_times(a_T, b_T)
    assert b_T[second] / eta < 0.3 * first
    band = 10**3 * eta**2
    assert coupled_alpha(a_T, b_T, num_classes=10)[second + 1 :].max() < band
    assert (eta * second - 9 * eta * first) ** 2 > 1e4 * band  # alpha(T2) if b had stayed


@pytest.mark.parametrize("num_classes", [3, 10, 30])
@pytest.mark.parametrize("weight_decay", [0.5, 0.1, 0.005])
def test_after_t2_alpha_oscillates_within_k_cubed_eta_squared(num_classes, weight_decay):
    """Its level is of that order too, as the theorem's alpha -> 0 needs; for many classes K^2 eta^2."""
    for learning_rate in (0.05, 0.02):
        step = {"learning_rate": learning_rate, "weight_decay": weight_decay}
        steps = second_turn(**as_stated(num_classes), **step) + 100
        path = coupled_coordinates(
            **as_stated(num_classes), learning_rates=[learning_rate] * steps, weight_decay=weight_decay
        )
        after = coupled_alpha(*path, num_classes=num_classes)[turning_times(*path)[1] + 1 :]
        assert len(after) > 90
        assert np.ptp(after) <= num_classes**3 * learning_rate**2
        assert after.max() <= 4 * num_classes**2 * learning_rate**2


def test_alpha_vanishes_with_the_learning_rate_if_its_sum_does_not_run_out():
    slow = 0.01 / (1 + np.arange(3000) / 300)
    weights = simulate(as_stated(4), optimizer="Signum", learning_rates=slow, weight_decay=0.1)
    alpha_T = alphas(weights)
    assert alpha_T.max() > 1
    assert alpha_T[1500:].max() <= 4**3 * slow[1500] ** 2
    assert alpha_T[-1] <= 4**3 * slow[-1] ** 2
    fast = 0.01 * 0.9 ** np.arange(400)  # sums to 0.1, short of T1
    weights = simulate(as_stated(4), optimizer="Signum", learning_rates=fast, weight_decay=0.1)
    assert alphas(weights)[-1] == pytest.approx((2 * fast.sum()) ** 2)
