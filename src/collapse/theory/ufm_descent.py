"""The unconstrained feature model trained by the project's update rules, full batch, in float64.

W and H without a bias, mean cross-entropy and one decay lambda. An optimizer whose limit is a minimum of
Zhu et al. 2021 (arXiv 2105.02375) has an objective of its own, with which its decay is the coupled one.
Shapes as in collapse.theory.ufm.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from collapse.metrics.class_statistics import class_statistics
from collapse.metrics.neural_collapse import METRICS, nc0
from collapse.metrics.scale import frobenius_norm, scaled
from collapse.optimizers import OPTIMIZERS, WeightDecayKind
from collapse.optimizers.directions import heavy_ball
from collapse.theory.last_layer import descend_flat, rule_of
from collapse.theory.trained_features import Size, gradient_of, loss, random_start
from collapse.theory.ufm import Model, minimum

BETA2 = 0.999
NUM_LOGGED = 60
MEASURED = ("cross_entropy", "norm_W", "NC0", "NC1", "NC2", "NC3", "imbalance")


def own_decay(optimizer: str, *, weight_decay: float, momentum: float) -> float | None:
    """The lambda of the objective CE + lambda/2 ||x||^2 that an optimizer comes to rest at; None without one.

    Coupled decay is at rest where grad CE + lambda x = 0, whatever the direction makes of it. Decoupled heavy
    ball holds V = g / (1 - momentum) there, so lambda (1 - momentum) takes lambda's place.
    """
    entry = OPTIMIZERS[optimizer]
    if entry.weight_decay_kind is WeightDecayKind.COUPLED:
        return weight_decay
    is_sgdw = entry.weight_decay_kind is WeightDecayKind.DECOUPLED and entry.direction is heavy_ball
    return weight_decay * (1 - momentum) if is_sgdw else None


def own_minimum(size: Size, decay: float | None) -> float:
    """f* of that objective; NaN for None, 0 for a decay of 0, where it is not reached."""
    if decay is None:
        return math.nan
    model = Model(size.num_classes, size.samples_per_class, size.num_features, decay, decay, 0.0)
    return minimum(model) if decay > 0 else 0.0


def cosine(step: int, steps: int) -> float:
    """The factor on the learning rate at step 0, 1, ...: half a cosine, from 1 to 0."""
    return (1 + math.cos(math.pi * step / steps)) / 2


def logged_steps(steps: int) -> list[int]:
    """0, then up to NUM_LOGGED steps at equal ratios, where they are whole, to the last."""
    return [0, *np.unique(np.geomspace(1, steps, NUM_LOGGED).round().astype(int)).tolist()]


def logged_training(
    *,
    optimizer: str,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    epsilon: float,
    seed: int,
    num_classes: int,
    samples_per_class: int,
    num_features: int,
    steps: int,
) -> Iterator[dict[str, float]]:
    """What is measured at `logged_steps` of a training whose learning rate falls to zero by a cosine.

    Names: step, exposure (lambda times the sum of learning rates so far), objective and minimum (of
    `own_decay`; NaN without one) and MEASURED. A training whose numbers are no longer finite ends with NaN.
    """
    size = Size(num_classes, num_features, samples_per_class)
    own = own_decay(optimizer, weight_decay=weight_decay, momentum=momentum)
    betas = {"momentum": momentum, "beta2": BETA2, "epsilon": epsilon}
    rule = rule_of(OPTIMIZERS[optimizer], size.layout(), weight_decay=weight_decay, **betas)
    rates = learning_rate * np.array([cosine(step, steps) for step in range(steps)])
    exposures = weight_decay * np.concatenate([[0.0], np.cumsum(rates)])
    flats = descend_flat(random_start(size, seed=seed), gradient_of(size), rule, learning_rates=rates)
    logged = set(logged_steps(steps))
    for step, flat in enumerate(flats):
        is_finite = bool(np.isfinite(flat).all())
        if step not in logged and is_finite:
            continue
        row = measured(flat, size) if is_finite else dict.fromkeys(MEASURED, math.nan)
        decay = math.nan if own is None else own
        f = {"objective": row["cross_entropy"] + decay / 2 * float(flat @ flat)}
        yield {"step": step, "exposure": exposures[step], **f, "minimum": own_minimum(size, own), **row}
        if not is_finite:
            return


def measured(flat: np.ndarray, size: Size) -> dict[str, float]:
    """MEASURED: the loss, ||W||, NC0 to NC3 as everywhere, and how far W and H are from balance."""
    W, H = size.split(flat)
    statistics = class_statistics(  # of what may be tiny, on the way to zero: NC1 to NC3 have no scale
        features_ND=scaled(H.T),
        labels_N=size.labels(),
        weight_KD=scaled(W),
        bias_K=None,
        test_features=None,
        test_labels=None,
    )
    row = {"cross_entropy": loss(flat, size), "norm_W": frobenius_norm(W), "NC0": nc0(W)}
    row |= {name: METRICS[name](statistics) for name in ("NC1", "NC2", "NC3")}
    return row | {"imbalance": imbalance(*size.split(scaled(flat)))}


def imbalance(W: np.ndarray, H: np.ndarray) -> float:
    """||W^T W - H H^T|| / min(||W^T W||, ||H H^T||), spectral norms. 0 at critical points; NaN of zero."""
    of_W, of_H = W.T @ W, H @ H.T
    least = min(np.linalg.norm(of_W, 2), np.linalg.norm(of_H, 2))
    return float(np.linalg.norm(of_W - of_H, 2) / least) if least else math.nan
