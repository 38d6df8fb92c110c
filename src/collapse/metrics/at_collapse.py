"""What the metrics are at perfect collapse; with more classes than a simplex can have, at the best.

K vectors form a simplex in p dimensions where K <= p + 1. Beyond, as for a language model's vocabulary or
a narrow last layer, the values at collapse cannot be reached ("generalised neural collapse", Jiang et al.,
2024), and the best attainable ones stand here, each by itself. NaN where no closed form is known.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from collapse.metrics import conventions, further
from collapse.metrics import neural_collapse as reported
from collapse.metrics.conventions import CONVENTIONS
from collapse.metrics.neural_collapse import DIAGNOSTICS, Metric


def has_simplex(num_classes: int, num_features: int) -> bool:
    """Whether K vectors in p dimensions can have the angles of a simplex: K <= p + 1."""
    return num_classes <= num_features + 1


def rank(num_classes: int, num_features: int) -> float:
    """min(K - 1, p), how many directions centred means can span."""
    return float(min(num_classes - 1, num_features))


def smallest_etf_distance(num_classes: int, num_features: int, *, factor: float = 1.0) -> float:
    """sqrt(2 - 2 sqrt(r / (K - 1))), r = min(K - 1, p): of matrices of rank p, from M*. 0 where r = K - 1.

    M* has K - 1 equal eigenvalues, and a unit matrix of rank r has an inner product with it of at most
    sqrt(r / (K - 1)): the r of them alone, which centred rows that form a tight frame have.
    """
    share = rank(num_classes, num_features) / (num_classes - 1)
    return factor * float(np.sqrt(2 - 2 * np.sqrt(share)))


def appendix_etf_distance(num_classes: int, num_features: int) -> float:
    """The same over K^2, as the paper's appendix writes it."""
    return smallest_etf_distance(num_classes, num_features, factor=1 / num_classes**2)


def of_simplex(value: Callable[[int], float], num_classes: int, num_features: int) -> float:
    """A value that a simplex alone has, NaN where there is none."""
    return value(num_classes) if has_simplex(num_classes, num_features) else float("nan")


def log_kernel(num_classes: int) -> float:
    """GNC2 of a simplex, all of whose distances are sqrt(2K / (K - 1))."""
    return float(-np.log(2 * num_classes / (num_classes - 1)) / 2)


def one(num_classes: int, num_features: int) -> float:
    """1 in any case."""
    return 1.0


AT_COLLAPSE: dict[Metric, Callable[[int, int], float]] = {
    **dict.fromkeys(
        (reported.nc2, reported.nc2w, reported.nc2m, conventions.zhu_nc3, further.nc2w_centred),
        smallest_etf_distance,
    ),
    **dict.fromkeys(
        (conventions.appendix_nc2, conventions.appendix_nc2w, conventions.appendix_nc2m),
        appendix_etf_distance,
    ),
    **dict.fromkeys((reported.nc2a, reported.nc2wa), partial(of_simplex, lambda num_classes: 0.0)),
    further.gnc2: partial(of_simplex, log_kernel),
    **dict.fromkeys((reported.effective_rank, further.stable_rank_w), rank),
    **dict.fromkeys(
        (reported.nc4, conventions.jacot_nc2, conventions.jacot_nc3, reported.condition_number), one
    ),
}


def values_at_collapse(*, convention: str, num_classes: int, num_features: int) -> dict[str, float]:
    """What measure_all gives at perfect collapse, or at the best that p dimensions allow; else 0."""
    sizes = num_classes, num_features
    metrics = CONVENTIONS[convention] | DIAGNOSTICS
    return {
        name: AT_COLLAPSE[metric](*sizes) if metric in AT_COLLAPSE else 0.0
        for name, metric in metrics.items()
    }
