"""Two one-sided tests, Holm's correction and intervals over seeds, against statsmodels and by hand."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW, ttost_ind

from collapse.paper.equivalence import compare, holm, mean_interval

MARGIN = np.log(1.1)


def groups(seed, *, shift=0.0, sizes=(5, 7), spreads=(0.02, 0.05)):
    rng = np.random.default_rng(seed)
    return shift + spreads[0] * rng.normal(size=sizes[0]), spreads[1] * rng.normal(size=sizes[1])


@pytest.mark.parametrize("shift", [0.0, 0.05, -0.09, 0.3])
@pytest.mark.parametrize("sizes", [(5, 5), (2, 7)])
def test_as_statsmodels_has_it(shift, sizes):
    """Welch's two one-sided tests, and the interval that says the same."""
    for seed in range(10):
        one, other = groups(seed, shift=shift, sizes=sizes)
        found = compare(one, other, margin=MARGIN, level=0.05)
        p_value, _, _ = ttost_ind(one, other, -MARGIN, MARGIN, usevar="unequal")
        assert found.p_within == pytest.approx(p_value, abs=1e-12)
        between = CompareMeans(DescrStatsW(one), DescrStatsW(other))
        interval = between.tconfint_diff(alpha=0.1, usevar="unequal")
        assert (found.low, found.high) == pytest.approx(interval, rel=1e-10)
        inside = found.low > -MARGIN and found.high < MARGIN
        outside = found.low > MARGIN or found.high < -MARGIN
        assert inside == (found.p_within < 0.05) and outside == (found.p_beyond < 0.05)


def test_a_known_difference_is_found_and_a_known_equality_too():
    spread = np.array([-0.01, -0.005, 0.0, 0.005, 0.01])
    same = compare(spread, spread + 0.01, margin=MARGIN, level=0.05)
    assert same.difference == pytest.approx(-0.01) and same.p_within < 1e-4 and same.p_beyond > 0.99
    other = compare(spread + 0.2, spread, margin=MARGIN, level=0.05)
    assert other.difference == pytest.approx(0.2) and other.p_within > 0.99 and other.p_beyond < 1e-4
    at_the_margin = compare(spread + MARGIN, spread, margin=MARGIN, level=0.05)
    assert at_the_margin.p_within == pytest.approx(0.5) == at_the_margin.p_beyond


def test_at_the_margin_one_in_twenty_is_called_equivalent():
    rng = np.random.default_rng(0)
    calls = [
        compare(MARGIN + 0.03 * rng.normal(size=5), 0.03 * rng.normal(size=5), margin=MARGIN, level=0.05)
        for _ in range(2000)
    ]
    share = np.mean([found.p_within <= 0.05 for found in calls])
    assert 0.03 < share < 0.065


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("one", [[0.3], [0.3, 0.3, 0.3]])
@pytest.mark.parametrize("other", [[0.1], [0.1, 0.1]])
def test_without_a_spread_there_is_a_difference_and_no_test(one, other):
    found = compare(one, other, margin=MARGIN, level=0.05)
    assert found.difference == pytest.approx(0.2)
    assert np.isnan(found[1:]).all()


def test_holm_multiplies_the_smallest_by_their_number():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    known = holm([0.01, np.nan, 0.02])
    assert known[[0, 2]] == pytest.approx([0.02, 0.02]) and np.isnan(known[1])
    assert np.isnan(holm([np.nan])).all() and len(holm([])) == 0


def test_the_interval_of_a_mean_is_students():
    values = np.random.default_rng(1).normal(size=5)
    wanted = ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values, confidence=0.95) == pytest.approx((wanted.low, wanted.high))
    assert np.isnan(mean_interval([1.0], confidence=0.95)).all()
    assert np.isnan(mean_interval([], confidence=0.95)).all()


@pytest.mark.parametrize("number", [1, 2, 9])
def test_holm_is_statsmodels(number):
    p_values = np.random.default_rng(number).uniform(0, 0.3, number).round(2)  # with ties
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])
