"""Theorem 6: the other optimizers on the last layer over fixed simplex features."""

from __future__ import annotations

import numpy as np
import pytest

from collapse.optimizers import OPTIMIZERS
from collapse.theory.closed_forms import NC0_RATIOS
from collapse.theory.elementwise import adamw_limit, sign_alpha, two_scalars
from collapse.theory.elementwise_checks import (
    check_adamw,
    check_signs,
    check_stays_zero,
    simplex_model,
    simplex_weights,
)
from collapse.theory.last_layer import alphas
from collapse.theory.sign_descent import coordinates, decoupled_alpha

SETTING = {"num_classes": 10, "learning_rate": 0.02, "weight_decay": 0.1}
EPSILONS = [0, 1e-8, 1e-4, 1e-2]


@pytest.mark.parametrize(("epsilon", "expected"), [(0, 6400), (1e-8, 6397), (1e-4, 2239), (1e-2, 44)])
def test_where_adamw_ends(epsilon, expected):
    """lambda 0.1, K 10, features M* (r = 1/3), the mean loss (c = 1/K)."""
    limit = adamw_limit(**simplex_model(10), weight_decay=0.1, epsilon=epsilon)
    assert round(limit) == expected
    if epsilon == 1e-2:
        assert limit == pytest.approx(44.0287, abs=5e-5)


def test_a_large_epsilon_makes_adamw_a_gradient_descent_and_nc0_small():
    limits = [adamw_limit(**simplex_model(10), weight_decay=0.1, epsilon=e) for e in (1e-9, 1e-3, 1.0, 100.0)]
    assert limits == sorted(limits, reverse=True) and limits[-1] < 1e-6


def test_adamw_ends_where_it_is_predicted():
    rows = list(check_adamw(**SETTING, steps=5000, epsilons=EPSILONS))
    assert [row["verdict"] for row in rows] == ["holds"] * 9
    carried = [row["deviation"] for row in rows if "two scalars" in row["check"]]
    assert max(carried) < 1e-12


def test_an_end_that_was_not_reached_is_no_limit():
    rows = {row["check"]: row for row in check_adamw(**SETTING, steps=1000, epsilons=[1e-2])}
    assert rows["epsilon 0.01: lim alpha"]["verdict"] == "fails"


@pytest.mark.parametrize("optimizer", ["SignumW", "LionW"])
def test_signs_have_alpha_in_closed_form_at_any_momenta_and_learning_rates(optimizer):
    (row,) = check_signs(optimizer, **SETTING, steps=2000)
    assert row["verdict"] == "holds" and row["deviation"] < 1e-12


def test_at_a_constant_learning_rate_it_is_theorem_3_3():
    found = sign_alpha([0.02] * 50, num_classes=10, weight_decay=0.1)
    np.testing.assert_allclose(found, decoupled_alpha(**SETTING, steps=50), rtol=1e-12)


@pytest.mark.parametrize("optimizer", ["AdamW", "MARSW", "LionW", "SignumW"])
def test_homogeneous_directions_keep_w_times_j_minus_2_i(optimizer):
    """AdamW and MARSW at epsilon 0; at another epsilon they leave it."""
    ends = {}
    for epsilon in (0.0, 1e-3):
        how = {"num_classes": 10, "weight_decay": 0.1, "epsilon": epsilon}
        *_, weight_KK = simplex_weights(optimizer, learning_rates=[0.02] * 300, **how)
        a, b, off = coordinates(weight_KK)
        assert off < 1e-12 * a
        ends[epsilon] = abs(a / b - 1)
    assert ends[0.0] < 1e-12
    assert (ends[1e-3] > 1e-3) == (optimizer in ("AdamW", "MARSW"))


@pytest.mark.parametrize("optimizer", ["AdamW", "Adam", "LionW", "AdamCautious"])
def test_two_scalars_carry_elementwise_rules(optimizer):
    how = {"learning_rates": [0.02] * 300, "weight_decay": 0.1, "epsilon": 1e-3}
    a_T, b_T = two_scalars(optimizer, **simplex_model(10), **how, momentum=0.9, beta2=0.95)
    weights = list(simplex_weights(optimizer, num_classes=10, **how))
    np.testing.assert_allclose(alphas(weights), (a_T - 9 * b_T) ** 2, rtol=1e-9, atol=1e-12)


STAY = [name for name in NC0_RATIOS if name != "SGD"]


@pytest.mark.parametrize("optimizer", [*STAY, "AdafactorW"])
def test_zero_row_sums_and_adafactor_leave_alpha_at_zero(optimizer):
    (row,) = check_stays_zero(optimizer, **SETTING, steps=300)
    assert row["verdict"] == "holds" and row["simulated"] < 1e-17


@pytest.mark.parametrize("optimizer", ["AdamW", "SignumW", "LionW", "MuonHiddenW", "MARSW"])
def test_the_others_do_not(optimizer):
    assert OPTIMIZERS[optimizer].weight_decay_kind == "decoupled"
    (row,) = check_stays_zero(optimizer, **SETTING, steps=300)
    assert row["verdict"] == "fails" and row["simulated"] > 0.1
