"""How far features inside a network are collapsed: metrics of a point, without a last layer.

Shapes: K classes, D feature dimensions, R = min(K - 1, D), E eigenvalues. collapse.metrics.depth_sweeps
makes the statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from collapse.metrics.conventions import jacot_nc1
from collapse.metrics.neural_collapse import nc1, nc2

# What of an image's features counts: a channel's mean over the pixels, or all of them.
VIEWS = ("pooled", "whole")
LEAST_SHARE = 1e-3  # of the largest eigenvalue, for one that counts


@dataclass(frozen=True, eq=False)
class PointStatistics:
    """What the metrics of a point are made of, in float64.

    What stands in ClassStatistics too has its name, so that the metrics of a last layer that need no more
    are those of a point.
    """

    counts_K: np.ndarray
    centred_means_KD: np.ndarray
    within_trace_K: np.ndarray
    within_variance_R: np.ndarray
    eigenvalues_E: np.ndarray  # of the covariance of all samples, descending
    ncc_train: float  # share of samples whose nearest class mean is their own class's
    ncc_test: float  # the same of the test set, by the training set's means

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.counts_K)


def nc1_of_all_directions(statistics: PointStatistics) -> float:
    """NC1 (paper, eq. 2); infinite where the centred means span fewer than K - 1 directions.

    So it is in D < K - 1 dimensions, where K means can be no simplex: NC1 of a last layer counts the D there.
    """
    num_classes, num_features = statistics.centred_means_KD.shape
    return nc1(statistics) if num_features >= num_classes - 1 else np.inf


def numerical_rank(statistics: PointStatistics) -> int:
    """How many eigenvalues of the covariance are above LEAST_SHARE of the largest. K - 1 at collapse."""
    values_E = statistics.eigenvalues_E
    return int((values_E > LEAST_SHARE * values_E[0]).sum())


def stable_rank(statistics: PointStatistics) -> float:
    """Sum of the covariance's eigenvalues over the largest. K - 1 at collapse; NaN for constant features."""
    values_E = statistics.eigenvalues_E
    return float(values_E.sum() / values_E[0]) if values_E[0] > 0 else np.nan


# NCC: of the nearest class mean (Galanti, Gyorgy and Hutter, 2022). within_over_between is 0 at collapse and
# the one that is a number at nearly every point; NC1 and NC2 are 0 there too.
POINT_METRICS: Mapping[str, Callable[[PointStatistics], float]] = {
    "NCC_train": lambda statistics: statistics.ncc_train,
    "NCC_test": lambda statistics: statistics.ncc_test,
    "within_over_between": jacot_nc1,
    "NC1": nc1_of_all_directions,
    "NC2": nc2,
    "numerical_rank": numerical_rank,
    "stable_rank": stable_rank,
}


def measure_point(statistics: PointStatistics) -> dict[str, float]:
    """Every metric of a point."""
    return {name: metric(statistics) for name, metric in POINT_METRICS.items()}
