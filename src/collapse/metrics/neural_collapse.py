"""The metrics of neural collapse, in the convention of the paper's code, tables and figures.

First the formulas on arrays, each written once; then a pure function of ClassStatistics for each
metric. "The paper" is Zhao et al., "Optimizer choice matters for the emergence of Neural Collapse"
(arXiv 2602.16642); the equations are those of its appendix B, whose factors 1/p, 1/K^2 and 1/(Kp)
its reported numbers do not carry: `collapse.metrics.conventions` has them, and other papers' definitions.

A metric that divides by zero (zero weights, coinciding class means) is NaN. All are dimensionless
but NC0, which has the unit of the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING

import numpy as np
from numpy.linalg import norm

from collapse.metrics.scale import frobenius_norm, power_of_two, scaled

if TYPE_CHECKING:  # figures and tables name metrics; they need not wait for torch
    from collapse.metrics.class_statistics import ClassStatistics

Metric = Callable[["ClassStatistics"], float]


def nc0(weight_KD: np.ndarray) -> float:
    """Zero row sum of the last layer's weights: ||W^T 1||_2 (paper, eq. 12). 0 at collapse.

    A function of the weights alone, like nc0_normalised: the trainer has it without features.
    """
    return float(frobenius_norm(np.sum(weight_KD, axis=0, dtype=np.float64)))


def nc0_normalised(weight_KD: np.ndarray) -> float:
    """(1/p) ||W^T 1||_2 / ||W||_F, without the scale of W (paper, figures 21 and 22). 0 at collapse."""
    return nc0(unit(weight_KD)) / weight_KD.shape[1]


def etf_distance(matrix_KK: np.ndarray) -> float:
    """||X / ||X||_F - M*||_F from X to M* = (I - J/K) / sqrt(K - 1), the Gram matrix of a simplex.

    0 when X is a positive multiple of M*; sqrt(2 - 2/sqrt(K - 1)) for the Gram matrix of centred
    rows of rank one; never above 2.
    """
    num_classes = len(matrix_KK)
    simplex_KK = (np.eye(num_classes) - 1 / num_classes) / np.sqrt(num_classes - 1)
    return float(norm(unit(matrix_KK) - simplex_KK))


def gram(rows_KD: np.ndarray) -> np.ndarray:
    """X X^T up to a factor that etf_distance does not see."""
    rows_KD = scaled(rows_KD)
    return rows_KD @ rows_KD.T


def norm_variation(rows_KD: np.ndarray) -> float:
    """Standard deviation of the rows' norms over their mean. 0 when the rows are equally long.

    The sum of squares is divided by K - 1, as by torch.std in the paper's code and in Papyan's.
    """
    norms_K = norm(scaled(rows_KD), axis=1)
    return float(norms_K.std(ddof=1) / norms_K.mean()) if norms_K.any() else np.nan


def angle_deviation(rows_KD: np.ndarray) -> float:
    """Mean over k != k' of |cos(row_k, row_k') + 1/(K - 1)|. 0 for the angles of a simplex."""
    num_classes = len(rows_KD)
    cosines_KK = unit_rows(rows_KD) @ unit_rows(rows_KD).T
    others = ~np.eye(num_classes, dtype=bool)
    return float(np.abs(cosines_KK[others] + 1 / (num_classes - 1)).mean())


def singular_values(rows_KD: np.ndarray) -> np.ndarray:
    """The K singular values of a K x p matrix (W, or the centred class means M^T), descending.

    For p < K the last K - p are zero. At perfect collapse the first K - 1 are equal, the last zero.
    """
    values = np.linalg.svd(np.asarray(rows_KD, dtype=np.float64), compute_uv=False)
    return np.pad(values, (0, len(rows_KD) - len(values)))


def rounded_singular_values(rows_KD: np.ndarray) -> np.ndarray:
    """The same, with zero in place of what float64 cannot tell from zero.

    The bound is the usual one for a numerical rank: max(K, p) eps times the largest.
    """
    values_K = singular_values(rows_KD)
    bound = max(rows_KD.shape) * np.finfo(np.float64).eps * values_K[0]
    return np.where(values_K > bound, values_K, 0.0)


def unit(matrix: np.ndarray) -> np.ndarray:
    """X / ||X||_F; NaN for X = 0."""
    matrix = scaled(matrix)
    return matrix / norm(matrix) if matrix.any() else np.full(matrix.shape, np.nan)


def unit_rows(rows_KD: np.ndarray) -> np.ndarray:
    """Every row over its norm; NaN, all of them, where one is zero."""
    rows_KD = np.asarray(rows_KD, dtype=np.float64)
    rows_KD = rows_KD / power_of_two(rows_KD, axis=1)
    norms_K1 = norm(rows_KD, axis=1, keepdims=True)
    return rows_KD / norms_K1 if norms_K1.all() else np.full(rows_KD.shape, np.nan)


def singular_values_W(statistics: ClassStatistics) -> np.ndarray:
    """The K singular values of W, descending."""
    return singular_values(statistics.weight_KD)


def singular_values_M(statistics: ClassStatistics) -> np.ndarray:
    """The K singular values of the centred class means, descending; the last is zero."""
    return singular_values(statistics.centred_means_KD)


def on_weight(formula: Callable[[np.ndarray], float]) -> Metric:
    """A formula on W as a function of class statistics, of the same docstring."""

    @wraps(formula)
    def on_statistics(statistics: ClassStatistics) -> float:
        return formula(statistics.weight_KD)

    return on_statistics


def nc1(statistics: ClassStatistics) -> float:
    """Variability collapse: (1/K) Tr(Sigma_W Sigma_B^+) (paper, eq. 2). 0 at perfect collapse.

    With M = U S V^T and Sigma_B = M M^T / K this is sum_r u_r^T Sigma_W u_r / s_r^2 over the
    r = min(K - 1, p) directions that K centred means can span. All of them count: where s_r is
    zero to float64 the variability beside the means is unbounded and NC1 is infinite, while a
    pseudo-inverse would drop the direction and report a small number.
    """
    variance_R = statistics.within_variance_R
    spread_R = rounded_singular_values(statistics.centred_means_KD)[: len(variance_R)]
    return variance_over_spread(variance_R, spread_R)


def variance_over_spread(variance_R: np.ndarray, spread_R: np.ndarray) -> float:
    """sum_r variance_r / spread_r^2; infinite where a spread is zero."""
    if not spread_R.all():
        return np.inf
    scale = power_of_two(spread_R)
    return float(np.sum(variance_R / scale / scale / (spread_R / scale) ** 2))


def nc2(statistics: ClassStatistics) -> float:
    """Class means to a simplex: ||M^T M / ||M^T M||_F - M*||_F (paper, eq. 5). 0 at collapse."""
    return etf_distance(gram(statistics.centred_means_KD))


def nc2w(statistics: ClassStatistics) -> float:
    """Weight rows to a simplex: ||W W^T / ||W W^T||_F - M*||_F (paper, eq. 6). 0 at collapse."""
    return etf_distance(gram(statistics.weight_KD))


def nc2m(statistics: ClassStatistics) -> float:
    """Their product to a simplex: ||W M / ||W M||_F - M*||_F (paper, eq. 9). 0 at collapse."""
    return etf_distance(scaled(statistics.weight_KD) @ scaled(statistics.centred_means_KD).T)


def nc2n(statistics: ClassStatistics) -> float:
    """Equal norms of the centred class means: std / mean (paper, eq. 3). 0 at collapse."""
    return norm_variation(statistics.centred_means_KD)


def nc2a(statistics: ClassStatistics) -> float:
    """Equal angles of the centred class means: mean |cos + 1/(K - 1)| (paper, eq. 4). 0 at collapse."""
    return angle_deviation(statistics.centred_means_KD)


def nc2wn(statistics: ClassStatistics) -> float:
    """Equal norms of the weight rows: std / mean (paper, eq. 7). 0 at perfect collapse."""
    return norm_variation(statistics.weight_KD)


def nc2wa(statistics: ClassStatistics) -> float:
    """Equal angles of the weight rows: mean |cos + 1/(K - 1)| (paper, eq. 8). 0 at collapse."""
    return angle_deviation(statistics.weight_KD)


def duality_distance(weight_KD: np.ndarray, means_KD: np.ndarray) -> float:
    """||W / ||W||_F - M^T / ||M||_F||_F. NaN where either is zero."""
    return float(norm(unit(weight_KD) - unit(means_KD)))


def nc3(statistics: ClassStatistics) -> float:
    """Self-duality: ||W / ||W||_F - M^T / ||M||_F||_F (paper, eq. 10). 0 at perfect collapse.

    sqrt(2) when W and M are orthogonal, as they nearly are at initialisation; never above 2.
    """
    return duality_distance(statistics.weight_KD, statistics.centred_means_KD)


def nc4(statistics: ClassStatistics) -> float:
    """Share of test samples whose argmax_k <w_k, h> is the nearest class mean (paper, eq. 11).

    1 at perfect collapse; NaN when the statistics were taken without a test set.
    """
    return statistics.agreement_test


def condition_number(statistics: ClassStatistics) -> float:
    """Largest over smallest of the min(K - 1, p) singular values of M that can differ from zero.

    1 at perfect collapse; infinite where NC1 is, when the smallest is zero to float64. Above 128
    a float32 pseudo-inverse of Sigma_B loses terms of NC1.
    """
    rank = len(statistics.within_variance_R)
    values = rounded_singular_values(statistics.centred_means_KD)[:rank]
    return float(values[0] / values[-1]) if values[-1] > 0 else np.inf


def effective_rank(statistics: ClassStatistics) -> float:
    """exp of the entropy of M's singular values over their sum (Roy and Vetterli, 2007).

    K - 1 at perfect collapse, 1 for class means of rank one.
    """
    values = rounded_singular_values(statistics.centred_means_KD)
    shares = values[values > 0] / values.sum()
    return float(np.exp(-np.sum(shares * np.log(shares)))) if len(shares) else np.nan


METRICS: dict[str, Metric] = {
    "NC0": on_weight(nc0),
    "NC0_normalised": on_weight(nc0_normalised),
    "NC1": nc1,
    "NC2": nc2,
    "NC2W": nc2w,
    "NC2M": nc2m,
    "NC2n": nc2n,
    "NC2a": nc2a,
    "NC2Wn": nc2wn,
    "NC2Wa": nc2wa,
    "NC3": nc3,
    "NC4": nc4,
}

DIAGNOSTICS: dict[str, Metric] = {
    "condition_number": condition_number,
    "effective_rank": effective_rank,
}
