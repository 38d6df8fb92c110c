"""Ordinary least squares of a metric on the logarithm of another (the paper's table 6)."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import statsmodels.api as sm

LEAST_DISTINCT = 5  # with fewer distinct points R2 is near 1 by itself
COLUMNS = ("n", "beta", "se", "t", "p", "ci_low", "ci_high", "r2", "r2_adj", "F")


def fit_on_log10(runs: pd.DataFrame, *, x: str, y: str) -> dict[str, float | int | str]:
    """Least squares y = intercept + beta log10 x over the rows of `runs`.

    Rows where x is not positive or either is not finite are left out and counted in `excluded`.
    `se`, `t`, `p` (two-sided), `ci_low` and `ci_high` (95%) are beta's, with n - 2 degrees of
    freedom; `F` is that of the whole fit. With fewer than three rows, or an x or y that does not
    vary, every number but n is NaN and `note` says why. `distinct` counts the points that differ in six
    digits: runs without decay are the same under SGD and SGDW.
    """
    pairs = runs[[x, y]].astype(float)
    pairs = pairs[np.isfinite(pairs).all(axis=1) & (pairs[x] > 0)]
    excluded = len(runs) - len(pairs)
    distinct = len(pairs.map("{:.6g}".format).drop_duplicates())
    log_x, y_values = np.log10(pairs[x].to_numpy()), pairs[y].to_numpy()
    numbers = dict.fromkeys((*COLUMNS, "intercept"), np.nan)
    note = _why_no_fit(log_x, y_values, x=x, y=y)
    if not note:
        numbers |= _least_squares(log_x, y_values)
    return numbers | {"n": len(pairs), "distinct": distinct, "excluded": excluded, "note": note}


def fit_nc3_on_log_nc0(runs: pd.DataFrame, *, by_learning_rate: bool) -> pd.DataFrame:
    """NC3 = a + beta log10 NC0 (paper, appendix D.3, table 6): a row a learning rate, then "all".

    Columns: learning_rate (as text), `COLUMNS`, then intercept, distinct, excluded, note (see
    `fit_on_log10`). With `by_learning_rate=False` only the row "all". Give it the valid runs.
    """
    groups: list[tuple[str, pd.DataFrame]] = []
    if by_learning_rate:
        groups += [(f"{rate:g}", group) for rate, group in runs.groupby("learning_rate")]
    groups.append(("all", runs))
    rows = [{"learning_rate": name, **fit_on_log10(g, x="NC0", y="NC3")} for name, g in groups]
    return pd.DataFrame(rows)[["learning_rate", *COLUMNS, "intercept", "distinct", "excluded", "note"]]


def _why_no_fit(log_x: np.ndarray, y_values: np.ndarray, *, x: str, y: str) -> str:
    if len(log_x) < 3:
        return f"a fit needs 3 runs, found {len(log_x)}"
    if np.ptp(log_x) <= 1e-12 * np.abs(log_x).max():
        return f"{x} does not vary"
    if np.ptp(y_values) <= 1e-12 * np.abs(y_values).max():
        return f"{y} does not vary"
    return ""


def _least_squares(log_x: np.ndarray, y_values: np.ndarray) -> dict[str, float]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # points on a line have se 0 and t infinite
        fit = sm.OLS(y_values, sm.add_constant(log_x)).fit()
        ci_low, ci_high = fit.conf_int(alpha=0.05)[1]
        return {
            "intercept": float(fit.params[0]),
            "beta": float(fit.params[1]),
            "se": float(fit.bse[1]),
            "t": float(fit.tvalues[1]),
            "p": float(fit.pvalues[1]),
            "ci_low": float(ci_low),
            "ci_high": float(ci_high),
            "r2": float(fit.rsquared),
            "r2_adj": float(fit.rsquared_adj),
            "F": float(fit.fvalue),
        }
