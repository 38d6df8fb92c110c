"""Claims C7, C8, C9 and C12, each judged by hand on a few runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from claim_rows import OVER, THEOREMS, both, history_of, table, value_of

from collapse.paper.claims.evidence import (
    FAILS,
    HOLDS,
    NOT_TESTABLE,
)
from collapse.paper.claims.geometry import (
    adamw_collapses_in_part,
    nc0_explains_nc3,
    nc4_follows_accuracy,
    theory_is_exact,
)


def test_c7_is_the_r2_of_table_6_and_needs_enough_runs():
    line = [both("SGD", d, 10.0**d, 0.1 * d, NC0_closed_form=10.0**d) for d in range(-4, 6)]
    noise = [row | {"NC3": nc3} for row, nc3 in zip(line, [1, 0] * 5, strict=True)]
    how = {"architecture": "ResNet9", "dataset": "FashionMNIST", "least_r2": 0.7, "least_runs": 10, **OVER}
    found = nc0_explains_nc3(table(*line), **how)
    assert found.verdict == HOLDS and found.effect["value"] == pytest.approx(1.0)
    above = next(row for row in found.numbers if row["part"].endswith("floor of float32"))
    assert above["n"] == 9  # 1e-4 is left out
    fails = nc0_explains_nc3(table(*noise), **how)
    x, y = np.arange(10), np.array([1, 0] * 5)
    assert fails.verdict == FAILS and fails.effect["value"] == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2)
    assert nc0_explains_nc3(table(*line[:9]), **how).verdict == NOT_TESTABLE
    elsewhere = nc0_explains_nc3(table(*line), **(how | {"dataset": "MNIST"}))
    assert elsewhere.verdict == NOT_TESTABLE


def test_c8_needs_one_adamw_run_near_the_smallest_whose_nc0_rose():
    others = [both("SGD", 0.1, 0.1, 0.1, NC1=0.2, NC2=0.3), both("Adam", 0.1, 0.1, 0.1, NC1=0.4, NC2=0.2)]
    near = table(*others, both("AdamW", 1.0, 8.0, 0.5, NC1=0.21, NC2=0.21))
    found = adamw_collapses_in_part(near, near=0.1, floor=0.001)
    assert found.verdict == HOLDS and found.effect["value"] == pytest.approx(1.05)
    assert "NC0 4 times its initial value" in found.words
    assert adamw_collapses_in_part(near, near=0.04, floor=0.001).verdict == FAILS
    fell = near.assign(NC0_init=9.0)
    assert adamw_collapses_in_part(fell, near=0.1, floor=0.001).verdict == NOT_TESTABLE
    assert adamw_collapses_in_part(near[:2], near=0.1, floor=0.001).verdict == NOT_TESTABLE


def test_c9_is_a_share_of_the_valid_runs():
    runs = table(*({"NC4": 1.0} for _ in range(9)), {"NC4": 0.9}, {"NC4": 0.5, "valid": False})
    found = nc4_follows_accuracy(runs, least_nc4=0.99, least_share=0.9)
    assert found.verdict == HOLDS and (found.effect["value"], found.effect["n"]) == (0.9, 10)
    # Wilson's interval of 9 of 10
    assert (found.effect["low"], found.effect["high"]) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert value_of(found, "smallest NC4") == 0.9
    assert nc4_follows_accuracy(runs, least_nc4=0.99, least_share=0.95).verdict == FAILS
    assert (
        nc4_follows_accuracy(runs.assign(NC4=np.nan), least_nc4=0.99, least_share=0.9).verdict == NOT_TESTABLE
    )


def test_c12_compares_every_epoch_with_the_closed_form_and_counts_the_theorem_checks():
    runs = table(both("SGD", 0.1, 1, 1, NC0_init=1.75381))
    how = {"tolerance": 0.01, "floor": 0.001, "rounding": 0.0001, "initial_nc0": 1.7538}
    found = theory_is_exact(runs, history_of((1.75381, 1.75381), (1.001, 1.0), (5e-5, 1e-9)), THEOREMS, **how)
    assert found.verdict == HOLDS and found.effect["value"] == pytest.approx(0.0009)
    assert value_of(found, "largest NC0 at a closed form < 0.001", "SGD, 1 runs, 2 epochs") == 5e-5
    assert "NC0(0) off by 1e-05; 1 of 1 theorem checks hold" in found.words
    for wrong in ((1.02, 1.0), (0.002, 1e-9), (np.nan, 1.0)):
        assert theory_is_exact(runs, history_of((1, 1), wrong), THEOREMS, **how).verdict == FAILS
    assert (
        theory_is_exact(runs.assign(NC0_init=1.76), history_of((1, 1), (1, 1)), THEOREMS, **how).verdict
        == FAILS
    )
    broken = THEOREMS.assign(verdict="fails")
    assert theory_is_exact(runs, history_of((1, 1), (1, 1)), broken, **how).verdict == FAILS
    narrow = theory_is_exact(
        runs.assign(width=0.125, NC0_init=1.59), history_of((1, 1), (1, 1)), THEOREMS, **how
    )
    assert narrow.verdict == HOLDS and "NC0(0) not tested: no network of full size" in narrow.words
    adam = theory_is_exact(table({"width": 0.125}), history_of((1, np.nan)), THEOREMS, **how)
    assert adam.verdict == NOT_TESTABLE
    assert "no run with a closed form of NC0; tested without runs" in adam.words
    diverged = runs.assign(status="diverged", valid=False)
    nothing = theory_is_exact(diverged, history_of((1, 1)), THEOREMS, **how)
    assert nothing.verdict == NOT_TESTABLE and "(1 diverged); tested without runs: 1 of 1" in nothing.words
    assert theory_is_exact(diverged, history_of((1, 1)), broken, **how).verdict == FAILS


def test_c12_is_judged_by_optimizer_and_names_those_that_there_are():
    """SOAPW's row sum carries more rounding: twice the tolerance."""
    how = {"tolerance": 0.01, "floor": 0.001, "rounding": 0.0, "initial_nc0": 1.7538}
    names = {"run0": "SGDW", "run1": "MuonW", "run2": "SOAPW"}
    runs = table(*({"optimizer": name, "width": 0.125} for name in names.values()))

    def judged(**measured):
        paths = [history_of((2, 2), (measured.get(name, 1.0), 1.0), key=key) for key, name in names.items()]
        return theory_is_exact(runs, pd.concat(paths), THEOREMS, **how)

    quantity = "largest relative deviation of NC0 from its closed form >= 0.001, beyond 0"
    found = judged(SOAPW=1.018)
    assert found.verdict == HOLDS and found.effect["value"] == pytest.approx(0.018)
    assert "(SGDW, MuonW and SOAPW, 3 runs, 3 epochs)" in found.words
    assert value_of(found, quantity, "SOAPW, 1 runs, 1 epochs") == pytest.approx(0.018)
    assert value_of(found, quantity, "MuonW, 1 runs, 1 epochs") == 0
    assert judged(MuonW=1.018).verdict == FAILS
    assert judged(SOAPW=1.021).verdict == FAILS
    assert judged(SGDW=np.nan).verdict == FAILS
