"""One set of class statistics, the definitions of several papers.

The literature uses the names NC1 to NC4 for different numbers. A convention is a table from metric
name to function of ClassStatistics; `reported` (collapse.metrics.neural_collapse) is the default everywhere
else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from collapse.metrics import further
from collapse.metrics.further import about_mean_of_samples, squared_distances
from collapse.metrics.neural_collapse import (
    DIAGNOSTICS,
    METRICS,
    Metric,
    etf_distance,
    nc0,
    nc1,
    nc2,
    nc2a,
    nc2m,
    nc2n,
    nc2w,
    nc2wa,
    nc2wn,
    nc3,
    on_weight,
    rounded_singular_values,
    variance_over_spread,
)
from collapse.metrics.scale import power_of_two, scaled

if TYPE_CHECKING:
    from collapse.metrics.class_statistics import ClassStatistics


def alpha(weight_KD: np.ndarray) -> float:
    """alpha = (1/K) ||W^T 1||_2^2, NC0 as the paper's theorems have it. 0 at perfect collapse."""
    with np.errstate(over="ignore"):  # infinite where float64 cannot hold the square
        return float(np.float64(nc0(weight_KD)) ** 2 / len(weight_KD))


def appendix_nc0(weight_KD: np.ndarray) -> float:
    """(1/p) ||W^T 1||_2 (paper, eq. 12). 0 at perfect collapse."""
    return nc0(weight_KD) / weight_KD.shape[1]


def appendix_nc2(statistics: ClassStatistics) -> float:
    """(1/K^2) ||M^T M / ||M^T M||_F - M*||_F (paper, eq. 5). 0 at perfect collapse."""
    return nc2(statistics) / statistics.num_classes**2


def appendix_nc2w(statistics: ClassStatistics) -> float:
    """(1/K^2) ||W W^T / ||W W^T||_F - M*||_F (paper, eq. 6). 0 at perfect collapse."""
    return nc2w(statistics) / statistics.num_classes**2


def appendix_nc2m(statistics: ClassStatistics) -> float:
    """(1/K^2) ||W M / ||W M||_F - M*||_F (paper, eq. 9). 0 at perfect collapse."""
    return nc2m(statistics) / statistics.num_classes**2


def appendix_nc3(statistics: ClassStatistics) -> float:
    """(1/(Kp)) ||W / ||W||_F - M^T / ||M||_F||_F (paper, eq. 10). 0 at perfect collapse."""
    return nc3(statistics) / (statistics.num_classes * statistics.num_features)


def papyan_nc1(statistics: ClassStatistics) -> float:
    """Tr(Sigma_W Sigma_B^+), without 1/K (Papyan et al., 2020). 0 at perfect collapse."""
    return statistics.num_classes * nc1(statistics)


def papyan_nc3(statistics: ClassStatistics) -> float:
    """||W / ||W||_F - M^T / ||M||_F||_F^2 (Papyan et al., 2020). 0 at perfect collapse."""
    return nc3(statistics) ** 2


def papyan_nc4(statistics: ClassStatistics) -> float:
    """Share of training samples whose argmax_k <w_k, h> + b_k is not the nearest class mean.

    Papyan et al., 2020. 0 at perfect collapse.
    """
    return statistics.mismatch_train


def zhu_nc1(statistics: ClassStatistics) -> float:
    """Reported NC1 with class means about the mean of samples (Zhu et al., 2021). 0 at collapse.

    Where classes differ in size it needs extended statistics, and is NaN without.
    """
    if np.ptp(statistics.counts_K) == 0:
        return nc1(statistics)
    if statistics.within_RR is None:
        return np.nan
    coordinates_KR = about_mean_of_samples(statistics, statistics.coordinates_KR)
    *_, directions_RR = np.linalg.svd(coordinates_KR, full_matrices=False)
    variance_R = np.einsum("sr,rt,st->s", directions_RR, statistics.within_RR, directions_RR)
    return variance_over_spread(variance_R, rounded_singular_values(coordinates_KR)[: len(variance_R)])


def zhu_nc3(statistics: ClassStatistics) -> float:
    """Reported NC2M with class means about the mean of samples (Zhu et al., 2021). 0 at collapse."""
    means_KD = about_mean_of_samples(statistics, statistics.centred_means_KD)
    return etf_distance(scaled(statistics.weight_KD) @ scaled(means_KD).T)


def jacot_nc1(statistics: ClassStatistics) -> float:
    """tr Sigma_W / tr Sigma_B (Jacot et al., 2024). 0 at perfect collapse; NaN if that is 0/0."""
    share_K = statistics.counts_K / statistics.counts_K.sum()
    scale = power_of_two(statistics.centred_means_KD)
    within = np.sum(share_K * statistics.within_trace_K / scale / scale)
    between = np.sum((statistics.centred_means_KD / scale) ** 2) / statistics.num_classes
    if between == 0:
        return np.inf if within > 0 else np.nan
    return float(within / between)


def jacot_nc2(statistics: ClassStatistics) -> float:
    """Largest over smallest non-zero singular value of the class means, not centred.

    Jacot et al., 2024. 1 at perfect collapse, of an orthogonal frame or of a simplex with mean
    zero. A value that float64 cannot tell from zero counts as zero; NaN when all are.
    """
    values = rounded_singular_values(statistics.means_KD)
    values = values[values > 0]
    return float(values[0] / values[-1]) if len(values) else np.nan


def jacot_nc3(statistics: ClassStatistics) -> float:
    """Mean cosine of a training sample's feature and its class's weight row, not centred.

    Jacot et al., 2024. 1 at perfect collapse.
    """
    return statistics.cosine_train


def cdnv(statistics: ClassStatistics) -> float:
    """Class-distance normalised variance (Galanti, Gyorgy and Hutter, 2022). 0 at collapse.

    Mean over k != k' of (v_k + v_k') / (2 ||mu_k - mu_k'||^2), v_k the mean squared distance of
    class k to its mean. Infinite when two class means coincide.
    """
    scale = power_of_two(statistics.centred_means_KD)
    trace_K = statistics.within_trace_K / scale / scale
    distance = squared_distances(statistics.centred_means_KD / scale)
    first, second = np.triu_indices(statistics.num_classes, k=1)
    if not distance.all():
        return np.inf
    return float(np.mean((trace_K[first] + trace_K[second]) / (2 * distance)))


CONVENTIONS: dict[str, dict[str, Metric]] = {
    "reported": METRICS,
    "appendix": METRICS
    | {
        "NC0": on_weight(appendix_nc0),
        "NC2": appendix_nc2,
        "NC2W": appendix_nc2w,
        "NC2M": appendix_nc2m,
        "NC3": appendix_nc3,
        "alpha": on_weight(alpha),
    },
    "papyan": {
        "NC1": papyan_nc1,
        "NC2n": nc2n,
        "NC2a": nc2a,
        "NC2Wn": nc2wn,
        "NC2Wa": nc2wa,
        "NC3": papyan_nc3,
        "NC4": papyan_nc4,
    },
    "zhu": {"NC1": zhu_nc1, "NC2": nc2w, "NC3": zhu_nc3, "NC4": further.bias_collapse},
    "jacot": {"NC1": jacot_nc1, "NC2": jacot_nc2, "NC3": jacot_nc3},
    "cdnv": {"CDNV": cdnv},
    "further": {
        "NC1_test": further.nc1_test,
        "VCI": further.vci,
        **further.CENTRED,
        "stable_rank_W": further.stable_rank_w,
        "bias_collapse": further.bias_collapse,
        "GNC2": further.gnc2,
        "GNC3": further.gnc3,
    },
}

# What these need is in extended statistics alone, or, of equally large classes, in all.
OF_EXTENDED = frozenset({zhu_nc1, further.vci, further.nc1_test, further.gnc3})


def needs_extended(convention: str) -> bool:
    """Whether a metric of the convention asks for extended class statistics. Raises KeyError."""
    return not OF_EXTENDED.isdisjoint(CONVENTIONS[convention].values())


def metrics_of_weights(weight_KD: np.ndarray, *, convention: str) -> dict[str, float]:
    """Those metrics of the convention that the weights alone tell. Raises KeyError."""
    formulas = {
        name: getattr(metric, "__wrapped__", None) for name, metric in CONVENTIONS[convention].items()
    }
    return {name: formula(weight_KD) for name, formula in formulas.items() if formula}


def measure_all(statistics: ClassStatistics, *, convention: str) -> dict[str, float]:
    """Every metric of the convention, then the two diagnostics of the class means.

    Raises KeyError for an unknown convention.
    """
    return {name: metric(statistics) for name, metric in (CONVENTIONS[convention] | DIAGNOSTICS).items()}
