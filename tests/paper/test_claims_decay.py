"""Claims C1 to C4: on tables small enough to judge by hand each must hold, fail, and not be testable."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from claim_rows import ORDERED, OVER, both, table, value_of

from collapse.paper.claims.decay import (
    ADAPTIVE,
    decay_is_needed,
    decoupled_stays_above,
    more_decay_is_lower,
    sgd_differs_little,
)
from collapse.paper.claims.evidence import (
    FAILS,
    HOLDS,
    NOT_TESTABLE,
)


def test_c1_compares_the_smallest_without_decay_to_the_smallest_with():
    runs = table(
        both("Adam", 0.0, 2.0, 0.9),
        both("Adam", 0.1, 1.0, 0.6),
        both("Adam", 0.2, 0.5, 0.3),
        both("SignumW", 0.0, 4.0, 0.8),
        both("SignumW", 0.5, 0.1, 0.1),  # decoupled: it does not stand for coupled decay
        both("Adam", 0.5, 0.01, 0.01, valid=False),
    )
    how = {"metrics": ["NC0", "NC3"], **OVER}
    found = decay_is_needed(runs, **how)
    assert found.verdict == HOLDS
    name = "NC3: smallest without / smallest with coupled decay"
    assert value_of(found, name, "ResNet9 FashionMNIST") == pytest.approx(0.8 / 0.3)
    assert found.effect["value"] == pytest.approx(0.9 / 0.3) and found.effect["n"] == 1
    reached = pd.concat([runs, table(both("SGD", 0.0, 9.0, 0.3, key="x"))])
    found = decay_is_needed(reached, **how)
    assert found.verdict == FAILS and "NC3 1 (ResNet9 FashionMNIST)" in found.words
    assert decay_is_needed(runs[runs["weight_decay"] > 0], **how).verdict == NOT_TESTABLE
    assert decay_is_needed(runs[:0], **how).verdict == NOT_TESTABLE


def test_c2_counts_pairs_that_differ_in_their_coupled_decay_alone():
    falling = [
        both("SGD", decay, nc0, nc3) for decay, nc0, nc3 in ((0, 2, 0.8), (0.1, 1, 0.4), (0.2, 0.5, 0.2))
    ]
    found = more_decay_is_lower(table(*falling), **ORDERED)
    assert found.verdict == HOLDS
    assert found.words == "NC0 is lower in 3 of 3 pairs, NC3 in 3 of 3"
    assert found.effect["value"] == pytest.approx(0.5 ** (4 / 3))  # of 1/2, 1/2 and 1/4
    rising = table(*falling[:2], both("SGD", 0.2, 0.5, 0.6))
    found = more_decay_is_lower(rising, **ORDERED)
    assert found.verdict == FAILS and "NC3 in 2 of 3" in found.words
    tied = table(*falling[:2], both("SGD", 0.2, 0.5, 0.401))
    assert "NC3 in 2 of 2" in more_decay_is_lower(tied, **ORDERED).words
    floor = table(both("SGD", 0.1, 1e-6, 0.8), both("SGD", 0.2, 1e-5, 0.4))
    assert more_decay_is_lower(floor, **ORDERED).verdict == NOT_TESTABLE  # NC0 ties at the floor
    decoupled = table(both("AdamW", 0.1, 1, 0.8), both("AdamW", 0.2, 2, 0.9))
    assert more_decay_is_lower(decoupled, **ORDERED).verdict == NOT_TESTABLE


def test_c2_fails_where_one_optimizer_goes_the_other_way():
    down = [both("SGD", d / 10, 2.0 - d / 10, 0.9 - d / 20) for d in range(10)]  # 45 pairs
    up = [both("Adam", 0.1, 1.0, 0.4), both("Adam", 0.2, 0.5, 0.5)]
    found = more_decay_is_lower(table(*down, *up), **ORDERED)
    assert found.verdict == FAILS and "not in most of: ResNet9 FashionMNIST, Adam (NC3)" in found.words
    assert value_of(found, "NC3 lower, share of pairs") == pytest.approx(45 / 46)


def test_c3_takes_every_decoupled_decay_not_below_the_coupled():
    runs = table(
        both("Adam", 0.1, 1.0, 0.4),
        both("Adam", 1.0, 0.5, 0.2),
        both("AdamW", 0.1, 4.0, 0.8),
        both("AdamW", 1.0, 2.0, 0.8),
        both("AdamW", 0.01, 0.1, 0.1),  # less decay than Adam's: not compared
    )
    how = {"counterparts": ADAPTIVE, **ORDERED}
    found = decoupled_stays_above(runs, **how)
    assert found.verdict == HOLDS
    # (0.1, 0.1), (0.1, 1), (1, 1): NC3 2, 2, 4; NC0 4, 2, 4
    assert found.effect["value"] == pytest.approx(16 ** (1 / 3)) and found.effect["n"] == 3
    assert value_of(found, "NC0 decoupled / coupled") == pytest.approx(32 ** (1 / 3))
    assert value_of(found, "NC3 decoupled / coupled", "equal decay") == pytest.approx(8**0.5)
    assert value_of(found, "NC3 decoupled / coupled", "ten times the decay or more") == pytest.approx(2)
    assert "NC3 above in 3 of 3 pairs, 1 of them at ten times the decay or more" in found.words
    below = pd.concat([runs, table(both("AdamW", 10.0, 3.0, 0.1, key="x"))])
    found = decoupled_stays_above(below, **how)
    assert found.verdict == FAILS and "AdamW over Adam, 10" in found.words
    assert decoupled_stays_above(runs[runs["optimizer"] == "Adam"], **how).verdict == NOT_TESTABLE
    assert decoupled_stays_above(runs[:0], **how).verdict == NOT_TESTABLE


def test_c4_is_a_ratio_of_two_gaps_at_the_same_decay():
    runs = table(
        both("Adam", 0.1, 0.1, 0.2),
        both("AdamW", 0.1, 10.0, 0.8),
        both("SGD", 0.1, 0.1, 0.2),
        both("SGDW", 0.1, 0.2, 0.35),
        both("SGDW", 1.0, 0.1, 0.21),  # 0.1 / (1 - 0.9): the control
        both("SGD", 0.3, 0.001, 0.1),
        both("SGDW", 0.3, 1.0, 0.9),  # a decay at which Adam and AdamW were not run
    )
    found = sgd_differs_little(runs, little=0.5, **OVER)
    assert found.verdict == HOLDS and found.effect["value"] == pytest.approx(0.15 / 0.6)
    name = "log10_NC0: SGDW - SGD, absolute, / (decoupled - coupled, adaptive)"
    assert value_of(found, name) == pytest.approx(np.log10(2) / 2)
    assert value_of(found, "NC3: control, SGDW at decay / (1 - momentum) - SGD") == pytest.approx(0.01)
    assert sgd_differs_little(runs, little=0.2, **OVER).verdict == FAILS
    assert sgd_differs_little(runs[runs["optimizer"] != "SGDW"], little=0.5, **OVER).verdict == NOT_TESTABLE
    lowered = table(both("Adam", 0.1, 1, 0.8), both("AdamW", 0.1, 1, 0.2), *_sgd_pair())
    assert "does not raise" in sgd_differs_little(lowered, little=0.5, **OVER).words


def _sgd_pair() -> list[dict]:
    return [both("SGD", 0.1, 0.1, 0.2), both("SGDW", 0.1, 0.2, 0.35)]
