"""Claims D1 and D2, each judged by hand on a few runs and points."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from claim_rows import BOOTSTRAP, NO_DEPTH, both, table, value_of

from collapse.paper.claims.depth import RATIO, adamw_lies_above, never_rises
from collapse.paper.claims.evidence import FAILS, HOLDS, NOT_TESTABLE

POINTS = ("block1", "block2", "block3", "block4")
HOW = {"view": "whole", "tie": 0.02, "floor": 0.001, "bootstrap": BOOTSTRAP}
ABOVE = HOW | {"since": "block3", "least_share": 0.9, "least_seeds": 1}
SGDW = both("SGDW", 0.1, 1, 1)  # its learning rate times decay is that of ADAMS
ADAMS = [both("Adam", 0.1, 1, 1), both("AdamW", 0.1, 1, 1)]
LARGEST = f"largest {RATIO} over that of the point before"


def depth_of(**ratios) -> pd.DataFrame:
    """By key the ratio at every point of the trained network; pooled, and before training, it rises."""
    rows = []
    for key, values in ratios.items():
        for place, (point, value) in enumerate(zip(POINTS, values, strict=True), start=1):
            row = dict.fromkeys(NO_DEPTH) | {"key": key, "point": point, "depth": place}
            rows.append(row | {"epoch": 200, "view": "whole", RATIO: value})
            rows += [row | {"epoch": 200, "view": "pooled", RATIO: place}]
            rows += [row | {"epoch": 0, "view": "whole", RATIO: place}]
    return pd.DataFrame(rows)


def test_d1_holds_where_it_falls_or_stays_at_every_step():
    found = never_rises(table(*ADAMS), depth=depth_of(run0=[2, 1, 1.01, 0.1], run1=[2, 2, 1, 0.5]), **HOW)
    assert found.verdict == HOLDS
    assert found.words.startswith("it rises in 0 of 6 steps, of 2 runs")
    assert found.effect["quantity"] == f"{LARGEST}, at block3" and found.effect["value"] == pytest.approx(
        1.01
    )
    assert value_of(found, "share of the steps that change it in which it falls") == 1


def test_d1_fails_by_one_step_of_one_run_and_says_which():
    found = never_rises(table(*ADAMS), depth=depth_of(run0=[2, 1, 0.5, 0.1], run1=[2, 1, 1.5, 0.5]), **HOW)
    assert found.verdict == FAILS
    assert "in the view pooled, which is not judged, in 6 of 6" in found.words
    assert "it rises in 1 of 6 steps" in found.words and "1 from block2 to block3" in found.words
    by_part = {row["part"]: row["holds"] for row in found.numbers[1:3]}
    assert by_part == {"ResNet9 FashionMNIST, Adam": True, "ResNet9 FashionMNIST, AdamW": False}
    assert found.effect["value"] == pytest.approx(1.5) and found.effect["n"] == 3
    loose = never_rises(
        table(*ADAMS), depth=depth_of(run0=[2, 1, 0.5, 0.1], run1=[2, 1, 1.5, 0.5]), **HOW | {"tie": 0.4}
    )
    assert loose.verdict == HOLDS


def test_d1_counts_what_has_no_number_and_sees_a_rise_to_infinity():
    dead = never_rises(table(ADAMS[0]), depth=depth_of(run0=[2, np.nan, 1, 0.5]), **HOW)
    assert dead.verdict == HOLDS and "0 of 1 steps" in dead.words and "2 more have no number" in dead.words
    lost = never_rises(table(ADAMS[0]), depth=depth_of(run0=[2, np.inf, np.inf, 0.5]), **HOW)
    assert lost.verdict == FAILS and lost.effect["value"] == np.inf


def test_neither_can_be_judged_where_nothing_was_measured():
    for judge, how in ((never_rises, HOW), (adamw_lies_above, ABOVE)):
        assert judge(table(*ADAMS), depth=NO_DEPTH, **how).verdict == NOT_TESTABLE
        invalid = table(*(row | {"valid": False} for row in ADAMS))
        assert judge(invalid, depth=depth_of(run0=[4, 3, 2, 1]), **how).verdict == NOT_TESTABLE
        nowhere = depth_of(run0=[np.nan] * 4, run1=[np.nan] * 4)
        assert judge(table(*ADAMS), depth=nowhere, **how).verdict == NOT_TESTABLE
    other = adamw_lies_above(table(*ADAMS), depth=depth_of(run0=[1] * 4), **ABOVE | {"since": "block9"})
    assert other.verdict == NOT_TESTABLE and "block9" in other.words
    alone = adamw_lies_above(table(ADAMS[0]), depth=depth_of(run0=[1] * 4), **ABOVE)
    assert alone.words == "no valid pair of AdamW and Adam"


def test_d2_looks_from_its_point_on():
    depth = depth_of(run0=[2, 1, 0.4, 0.1], run1=[1, 0.5, 0.8, 0.4])
    found = adamw_lies_above(table(*ADAMS, SGDW), depth=depth, **ABOVE)
    assert found.verdict == HOLDS and "above in 2 of 2 pairs and points from block3 on" in found.words
    assert found.effect["value"] == pytest.approx(np.sqrt(2 * 4))
    earlier = adamw_lies_above(table(*ADAMS, SGDW), depth=depth, **ABOVE | {"since": "block1"})
    assert earlier.verdict == FAILS and "ResNet9 FashionMNIST, block2" in earlier.words


def test_d2_fails_where_one_point_is_below_on_average():
    runs = table(*(row | {"seed": seed} for seed in range(6) for row in ADAMS), SGDW)
    above, below = [2, 1, 0.8, 0.4], [2, 1, 0.8, 0.05]
    adam = {f"run{2 * seed}": [2, 1, 0.4, 0.1] for seed in range(6)}
    most = {f"run{2 * seed + 1}": above for seed in range(5)}
    found = adamw_lies_above(runs, depth=depth_of(**adam, **most, run11=below), **ABOVE | {"least_seeds": 6})
    assert found.verdict == HOLDS and found.numbers[0]["value"] == pytest.approx(11 / 12)
    assert np.isfinite([found.effect["low"], found.effect["high"]]).all(), "six seeds have an interval"
    few = {f"run{2 * seed + 1}": below for seed in range(6)}
    found = adamw_lies_above(runs, depth=depth_of(**adam, **few), **ABOVE)
    assert found.verdict == FAILS and "not at ResNet9 FashionMNIST, block4" in found.words


def test_d2_is_judged_where_adamw_shrinks_w_as_sgdw_does():
    """Not at Adam's decay, nor at one below it; what other decays give is shown."""
    rows = [both("Adam", 0.1, 1, 1), both("AdamW", 0.05, 1, 1), both("AdamW", 0.1, 1, 1)]
    rows += [both("AdamW", 0.5, 1, 1), both("SGDW", 0.05, 1, 1, learning_rate=0.01)]
    depth = depth_of(
        run0=[2, 1, 0.4, 0.1], run1=[2, 1, 0.1, 0.05], run2=[2, 1, 0.1, 0.05], run3=[2, 1, 0.8, 0.2]
    )
    found = adamw_lies_above(table(*rows), depth=depth, **ABOVE)
    assert found.verdict == HOLDS and found.effect["n"] == 2 and found.effect["value"] == pytest.approx(2)
    assert "at another learning rate times decay, ResNet9 FashionMNIST, 0.0001: 0.354" in found.words
    assert found.numbers[-1]["holds"] is None


def test_d2_asks_for_seeds_and_says_what_it_saw():
    depth = depth_of(run0=[2, 1, 0.4, 0.1], run1=[1, 0.5, 0.8, 0.4])
    one = adamw_lies_above(table(*ADAMS, SGDW), depth=depth, **ABOVE | {"least_seeds": 5})
    assert one.verdict == NOT_TESTABLE and "5 are needed; there 2.83, n 2" in one.words
    none = adamw_lies_above(table(*ADAMS), depth=depth, **ABOVE)
    assert none.verdict == NOT_TESTABLE and none.words.startswith("0 seeds with AdamW at SGDW's")
