"""What claims are judged by: pairs of runs, ties, intervals over blocks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from claim_rows import BOOTSTRAP, both, table

from collapse.paper.claims.evidence import (
    interval,
    mean_estimate,
    paired,
    share_estimate,
    steps,
    usable,
)


def test_pairs_differ_in_what_was_named_and_in_nothing_else():
    runs = table(
        both("Adam", 0.0, 1, 1),
        both("Adam", 0.1, 1, 1, measure_every=7),
        both("Adam", 0.1, 1, 1, momentum=0.5),
        both("Adam", 0.1, 1, 1, dataset="MNIST"),
    )
    pairs = paired(runs, runs, apart=["weight_decay"])
    pairs = pairs[pairs["weight_decay_a"] < pairs["weight_decay_b"]]
    assert list(zip(pairs["key_a"], pairs["key_b"], strict=True)) == [("run0", "run1")]
    assert paired(runs[:0], runs, apart=["momentum"]).empty


def test_usable_runs_are_valid_trained_once_and_not_below_the_floor():
    runs = table(both("SGD", 0.1, 1e-6, 1), both("SGD", 0.2, 5.0, 1), both("SGD", 0.3, 1, 1, valid=False))
    twice = pd.concat([runs, runs.assign(experiment="table_2")])
    assert usable(twice, floor=0.001)["NC0"].tolist() == [0.001, 5.0]


def test_steps_within_the_tie_count_for_nothing():
    before, after = pd.Series([1.0, 1.0, 1.0, 1.0]), pd.Series([0.99, 0.97, 1.03, np.nan])
    assert steps(before, after, tie=0.02).fillna(9).tolist() == [0, -1, 1, 9]


def test_intervals_are_over_blocks_and_repeat():
    values, blocks = pd.Series([1.0, 3.0, 5.0, 7.0, 9.0, 11.0]), pd.Series([0, 1, 2, 3, 4, 5])
    estimate = mean_estimate(values, blocks, bootstrap=BOOTSTRAP)
    assert estimate["value"] == 6 and estimate["n"] == 6
    assert 2 < estimate["low"] < 5 < 7 < estimate["high"] < 10
    assert estimate == mean_estimate(values, blocks, bootstrap=BOOTSTRAP)
    one_block = mean_estimate(values, pd.Series([0] * 6), bootstrap=BOOTSTRAP)
    assert one_block["value"] == 6 and np.isnan(one_block["low"])
    nothing = mean_estimate(values[:0], blocks, bootstrap=BOOTSTRAP)
    assert np.isnan(nothing["value"]) and nothing["n"] == 0


def test_a_bootstrap_covers_the_mean_as_often_as_it_says():
    rng, inside = np.random.default_rng(0), 0
    for _ in range(300):
        sums = np.column_stack([rng.normal(1.0, 1.0, 40), np.ones(40)])
        low, high = interval(sums, lambda total: total[:, 0] / total[:, 1], **BOOTSTRAP)
        inside += low <= 1.0 <= high
    assert 0.89 < inside / 300 < 0.98


def test_where_all_agree_the_interval_is_the_exact_binomial_of_the_blocks():
    signs, blocks = pd.Series([-1.0, -1.0, -1.0, 0.0]), pd.Series([0, 1, 1, 2])
    estimate = share_estimate(signs, -1, blocks, bootstrap=BOOTSTRAP)
    assert (estimate["value"], estimate["n"], estimate["high"]) == (1.0, 3, 1.0)
    assert estimate["low"] == pytest.approx(0.025**0.5)  # two blocks
    none_so = share_estimate(signs, 1, blocks, bootstrap=BOOTSTRAP)
    assert (none_so["value"], none_so["low"]) == (0.0, 0.0)
    assert none_so["high"] == pytest.approx(1 - 0.025**0.5)
