"""Whether two groups of seeds agree within a margin, and intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import t


class Comparison(NamedTuple):
    """The difference of two means, in the unit of the values, its interval, and two tests against a margin.

    p_within is small where the difference is shown to be within the margin, p_beyond where it is shown not
    to be. Where neither is small the seeds are too few to tell.
    """

    difference: float
    low: float = np.nan
    high: float = np.nan
    p_within: float = np.nan
    p_beyond: float = np.nan


def compare(
    values: Sequence[float], reference: Sequence[float], *, margin: float, level: float
) -> Comparison:
    """mean(values) - mean(reference) by two one-sided Welch tests at `level` (TOST; Schuirmann, 1987).

    The interval has the probability 1 - 2 level: it is within the margin where p_within is below the level.
    The difference alone where a group has one value or neither varies: its spread has no estimate then.
    """
    groups = [np.asarray(group, dtype=float) for group in (values, reference)]
    difference = float(groups[0].mean() - groups[1].mean())
    if min(map(len, groups)) < 2 or not any(np.ptp(group) for group in groups):
        return Comparison(difference)
    squares = [group.var(ddof=1) / len(group) for group in groups]
    error = np.sqrt(sum(squares))
    freedom = sum(squares) ** 2 / sum(
        square**2 / (len(group) - 1) for square, group in zip(squares, groups, strict=True)
    )
    half = t.ppf(1 - level, freedom) * error
    below, above = t.cdf([(difference - margin) / error, (difference + margin) / error], freedom)
    return Comparison(
        difference,
        float(difference - half),
        float(difference + half),
        float(max(below, 1 - above)),
        float(min(1 - below, above)),
    )


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's p-values of a family of tests (1979). One that is NaN was not made, and stays NaN.

    As statsmodels' `multipletests`, which collects garbage in every call: a claim asks for hundreds.
    """
    adjusted = np.array(p_values, dtype=float)
    made = np.flatnonzero(np.isfinite(adjusted))
    rising = made[np.argsort(adjusted[made])]
    tests_left = np.arange(len(rising), 0, -1)
    adjusted[rising] = np.maximum.accumulate(tests_left * adjusted[rising]).clip(max=1)
    return adjusted


def mean_interval(values: Sequence[float], *, confidence: float) -> tuple[float, float]:
    """Student's interval of the mean of independent values, as of seeds: (low, high). NaN of one value."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return np.nan, np.nan
    half = t.ppf((1 + confidence) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)
