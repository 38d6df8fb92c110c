"""Metrics of other papers that are no convention of NC1 to NC4, from the same class statistics.

Some need extended statistics (class_statistics) and are NaN without. docs/metrics.md says which paper means
what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from collapse.metrics.neural_collapse import (
    Metric,
    duality_distance,
    etf_distance,
    gram,
    nc0,
    on_weight,
    rounded_singular_values,
    singular_values,
    unit,
    unit_rows,
    variance_over_spread,
)
from collapse.metrics.scale import frobenius_norm, power_of_two, scaled

if TYPE_CHECKING:
    from collapse.metrics.class_statistics import ClassStatistics


def about_mean_of_samples(statistics: ClassStatistics, centred_KX: np.ndarray) -> np.ndarray:
    """Rows that belong to the classes, less their mean weighted by the classes' sizes.

    mu_k - mu_S = (mu_k - mu_G) - sum_j (n_j / N) (mu_j - mu_G), mu_S the mean of all samples.
    """
    share_K = statistics.counts_K / statistics.counts_K.sum()
    return centred_KX - share_K @ centred_KX


def squared_distances(rows_KD: np.ndarray) -> np.ndarray:
    """||row_k - row_k'||^2 of all k < k', row by row: K x p in memory, not K^2 p."""
    return np.concatenate(
        [np.sum((row_D - rows_KD[k + 1 :]) ** 2, axis=1) for k, row_D in enumerate(rows_KD[:-1])]
    )


def nc1_test(statistics: ClassStatistics) -> float:
    """NC1 of the test set about its own class means (Hui, Belkin and Nakkiran, 2022). 0 at collapse.

    NaN without labels of the test set, two of each class.
    """
    if statistics.test_within_variance_R is None:
        return np.nan
    variance_R = statistics.test_within_variance_R
    spread_R = rounded_singular_values(statistics.test_centred_means_KD)[: len(variance_R)]
    return variance_over_spread(variance_R, spread_R)


def vci(statistics: ClassStatistics) -> float:
    """1 - Tr(Sigma_T^+ Sigma_B) / rank Sigma_B (Xu and Liu, 2023). 0 at perfect collapse, at most 1.

    Sigma_T = Sigma_W + Sigma_B, class means about the mean of samples. With G and C what Sigma_B and Sigma_W
    are on the span of the means, C less what the directions beside it explain, this is
    Tr((C + G)^-1 C) / rank G, in which nothing cancels.
    """
    if statistics.within_alone_RR is None:
        return np.nan
    coordinates_KR = about_mean_of_samples(statistics, statistics.coordinates_KR)
    if not rounded_singular_values(coordinates_KR)[: coordinates_KR.shape[1]].all():
        return np.nan  # the means do not span all their directions
    scale = power_of_two(coordinates_KR)
    coordinates_KR = coordinates_KR / scale
    between_RR = coordinates_KR.T @ coordinates_KR / statistics.num_classes
    alone_RR = statistics.within_alone_RR / scale / scale
    return float(np.trace(np.linalg.solve(alone_RR + between_RR, alone_RR)) / len(between_RR))


def centred_weight(weight_KD: np.ndarray) -> np.ndarray:
    """W_c = (I - J/K) W up to a power of two; zero where only rounding is left of it.

    The loss does not see the rest, (J/K) W, which adds the same to every logit of a sample. The bound is that
    of a numerical rank: max(K, p) eps times the norm of W.
    """
    rows_KD = scaled(weight_KD)
    centred_KD = rows_KD - rows_KD.mean(0)
    bound = max(rows_KD.shape) * np.finfo(np.float64).eps * np.linalg.norm(rows_KD)
    return centred_KD if np.linalg.norm(centred_KD) > bound else np.zeros_like(centred_KD)


def gauge_share(weight_KD: np.ndarray) -> float:
    """||W^T 1||^2 / (K ||W||_F^2), the share of ||W||_F^2 that the loss does not see. 0 at collapse.

    W = W_c + (J/K) W with ||W||^2 = ||W_c||^2 + ||W^T 1||^2 / K, so 1 for equal rows. NC3 follows from it and
    NC3_centred: NC3^2 = 2 - (2 - NC3_centred^2) sqrt(1 - gauge_share).
    """
    share = nc0(unit(weight_KD)) ** 2 / len(weight_KD)
    return float(np.minimum(share, 1.0))  # of equal rows, to rounding


def nc3_centred(statistics: ClassStatistics) -> float:
    """NC3 of the weight rows less their mean row, ||W_c / ||W_c||_F - M^T / ||M||_F||_F. 0 at collapse."""
    return duality_distance(centred_weight(statistics.weight_KD), statistics.centred_means_KD)


def nc2w_centred(statistics: ClassStatistics) -> float:
    """NC2W of the weight rows less their mean row (Zhou et al., 2022). 0 at perfect collapse."""
    return etf_distance(gram(centred_weight(statistics.weight_KD)))


def stable_rank_w(statistics: ClassStatistics) -> float:
    """||W||_F^2 / ||W||_2^2, the stable rank of the last layer's weights. K - 1 at perfect collapse."""
    values_K = singular_values(statistics.weight_KD)
    return float(np.sum((values_K / values_K[0]) ** 2)) if values_K[0] > 0 else np.nan


def bias_collapse(statistics: ClassStatistics) -> float:
    """||W mu_S + b||_2, mu_S the mean of all samples (Zhu et al., 2021, in their code). 0 at collapse."""
    share_K = statistics.counts_K / statistics.counts_K.sum()
    mean_D = statistics.global_mean_D + share_K @ statistics.centred_means_KD
    bias_K = 0.0 if statistics.bias_K is None else statistics.bias_K
    return float(frobenius_norm(statistics.weight_KD @ mean_D + bias_K))


def gnc2(statistics: ClassStatistics) -> float:
    """Mean of log 1 / ||u_k - u_k'||, u_k the unit centred class means (Wu and Papyan, 2024).

    At a simplex -log(2K / (K - 1)) / 2, its smallest value; infinite where two directions coincide.
    """
    distances = squared_distances(unit_rows(statistics.centred_means_KD))
    return float(-np.mean(np.log(distances)) / 2) if distances.all() else np.inf


def gnc3(statistics: ClassStatistics) -> float:
    """1 - mean cosine of w_k and centred class mean of unit features (Liu et al., 2023). 0 at collapse."""
    if statistics.unit_means_KD is None:
        return np.nan
    means_KD = statistics.unit_means_KD - statistics.unit_means_KD.mean(0)
    if np.linalg.norm(means_KD, axis=1).min() < means_KD.size * np.finfo(np.float64).eps:
        return np.nan  # the direction of a mean that is rounding alone
    return float(1 - np.mean(np.sum(unit_rows(statistics.weight_KD) * unit_rows(means_KD), axis=1)))


# Of every run beside the reported metrics: how large the row sum of W is, and NC2W and NC3 without it.
CENTRED: dict[str, Metric] = {
    "gauge_share": on_weight(gauge_share),
    "NC2W_centred": nc2w_centred,
    "NC3_centred": nc3_centred,
}
