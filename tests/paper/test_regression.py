"""The regression of NC3 on log10 NC0 against closed forms of least squares."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from collapse.paper.regression import COLUMNS, fit_nc3_on_log_nc0, fit_on_log10
from collapse.paper.tables import print_regression


def runs_of(nc0, nc3, learning_rate=0.001) -> pd.DataFrame:
    return pd.DataFrame({"NC0": nc0, "NC3": nc3, "learning_rate": learning_rate}, dtype=float)


def closed_form(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Simple linear regression from sums of squares, as textbooks have it."""
    n, dx, dy = len(x), x - x.mean(), y - y.mean()
    beta = (dx @ dy) / (dx @ dx)
    residual = dy - beta * dx
    rss, tss = residual @ residual, dy @ dy
    se = np.sqrt(rss / (n - 2) / (dx @ dx))
    half = stats.t.ppf(0.975, n - 2) * se
    t, r2 = beta / se, 1 - rss / tss
    return {
        "n": n,
        "beta": beta,
        "se": se,
        "t": t,
        "p": 2 * stats.t.sf(abs(t), n - 2),
        "ci_low": beta - half,
        "ci_high": beta + half,
        "r2": r2,
        "r2_adj": 1 - (1 - r2) * (n - 1) / (n - 2),
        "F": t**2,
        "intercept": y.mean() - beta * x.mean(),
    }


def test_every_column_equals_its_closed_form():
    rng = np.random.default_rng(0)
    x = rng.uniform(-5, 3, 40)
    y = 0.7 + 0.16 * x + rng.normal(0, 0.2, 40)
    fit = fit_on_log10(runs_of(10**x, y), x="NC0", y="NC3")
    for name, value in closed_form(x, y).items():
        assert fit[name] == pytest.approx(value, rel=1e-9), name


def test_four_points_by_hand():
    """log10 NC0 = -1, 0, 1, 2 and NC3 = 1, 2, 2, 3: beta 3/5, RSS 0.2, se^2 = 0.1/5, R2 0.9."""
    fit = fit_on_log10(runs_of([0.1, 1, 10, 100], [1, 2, 2, 3]), x="NC0", y="NC3")
    assert fit["beta"] == pytest.approx(0.6)
    assert fit["intercept"] == pytest.approx(1.7)
    assert fit["se"] == pytest.approx(np.sqrt(0.02))
    assert fit["F"] == pytest.approx(18.0)
    assert fit["r2"] == pytest.approx(0.9)
    assert fit["r2_adj"] == pytest.approx(0.85)


def test_known_slopes_are_recovered_at_each_learning_rate():
    rng = np.random.default_rng(1)
    parts = []
    for rate, slope in ((0.001, 0.19), (0.0679, 0.10)):
        x = rng.uniform(-4, 2, 200)
        parts.append(runs_of(10**x, 0.7 + slope * x + rng.normal(0, 0.05, 200), rate))
    table = fit_nc3_on_log_nc0(pd.concat(parts), by_learning_rate=True).set_index("learning_rate")
    assert list(table.index) == ["0.001", "0.0679", "all"]
    assert tuple(table.columns[: len(COLUMNS)]) == COLUMNS
    for rate, slope in (("0.001", 0.19), ("0.0679", 0.10)):
        # four standard errors, not the 95% interval, which misses by right one time in twenty
        assert abs(table.loc[rate, "beta"] - slope) < 4 * table.loc[rate, "se"] < 0.02
    assert table.loc["all", "n"] == 400


def test_rows_without_a_usable_pair_are_left_out_and_counted():
    good = runs_of([0.1, 1, 10, 100], [1, 2, 2, 3])
    bad = runs_of([0, -1, np.nan, 1, np.inf, 1], [1, 1, 1, np.nan, 1, np.inf])
    fit = fit_on_log10(pd.concat([good, bad]), x="NC0", y="NC3")
    assert (fit["n"], fit["excluded"], fit["note"]) == (4, 6, "")
    assert fit["beta"] == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("nc0", "nc3", "note"),
    [
        ([], [], "a fit needs 3 runs, found 0"),
        ([1, 2], [1, 2], "a fit needs 3 runs, found 2"),
        ([2, 2, 2, 2], [1, 2, 3, 4], "NC0 does not vary"),
        ([1, 2, 3, 4], [0.5, 0.5, 0.5, 0.5], "NC3 does not vary"),
    ],
)
def test_where_no_fit_is_possible_the_row_says_why(nc0, nc3, note):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = fit_nc3_on_log_nc0(runs_of(nc0, nc3), by_learning_rate=True)
    last = table.iloc[-1]
    assert last["note"] == note
    assert last[[*COLUMNS[1:], "intercept"]].isna().all()
    assert last["n"] == len(nc0)


def test_points_that_coincide_are_counted_once():
    fit = fit_on_log10(runs_of([0.1, 1, 1, 100], [1, 2, 2.0000001, 3]), x="NC0", y="NC3")
    assert (fit["n"], fit["distinct"], fit["note"]) == (4, 3, "")
    table = fit_nc3_on_log_nc0(runs_of([0.1, 1, 1, 100], [1, 2, 2, 3]), by_learning_rate=False)
    printed = print_regression(table)
    assert printed["Note"].tolist() == ["3 distinct points: R² says nothing"]


def test_points_on_a_line_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = fit_on_log10(runs_of([0.01, 0.1, 1, 10], [1, 2, 3, 4]), x="NC0", y="NC3")
    assert fit["beta"] == pytest.approx(1.0)
    assert fit["r2"] == pytest.approx(1.0)
