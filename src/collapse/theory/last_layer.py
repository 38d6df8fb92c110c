"""The last layer alone, trained by the project's own update rules in float64, as the theorems have it.

Shapes: K classes, D feature dimensions, N samples, T steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np
import torch

from collapse.metrics.conventions import alpha
from collapse.optimizers import OPTIMIZERS, Optimizer
from collapse.optimizers.layout import Layout, Piece

Gradient = Callable[[np.ndarray], np.ndarray]


def cross_entropy_gradient(
    weight_KD: np.ndarray, features_DN: np.ndarray, labels_N: np.ndarray
) -> np.ndarray:
    """(softmax(W H) - Y) H^T, of the loss summed over the samples (paper, lemma E.4, without 1/N).

    Its rows sum to zero, 1^T G = 0, on any features. Where a sample's own probability rounds to one
    the entry p - 1 is still exact, minus the sum of the other probabilities: a sign rule sees
    gradients far below the rounding of 1 - p.
    """
    return softmax_error(weight_KD @ features_DN, labels_N) @ features_DN.T


def softmax_error(logits_KN: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
    """softmax(Z) - Y, K x N; its columns sum to zero exactly."""
    odds_KN = np.exp(logits_KN - logits_KN.max(axis=0))
    error_KN = odds_KN / odds_KN.sum(axis=0)
    own = labels_N, np.arange(len(labels_N))
    error_KN[own] = 0.0
    error_KN[own] = -error_KN.sum(axis=0)
    return error_KN


def simplex_features(*, num_classes: int, feature_scale: float) -> np.ndarray:
    """feature_scale (I - J/K), K x K: column k is the only sample, and the mean, of class k.

    The paper's M* of unit Frobenius norm is feature_scale = 1 / sqrt(K - 1).
    """
    return feature_scale * (np.eye(num_classes) - 1 / num_classes)


def ufm_gradient(*, num_classes: int, feature_scale: float, gradient_scale: float) -> Gradient:
    """The gradient of theorems 3.3 and 3.4: one sample a class, features a simplex that stays.

    gradient_scale = 1 is the sum over the samples, 1/K their mean.
    """
    features_DN = simplex_features(num_classes=num_classes, feature_scale=feature_scale)
    labels_N = np.arange(num_classes)
    return lambda weight_KD: gradient_scale * cross_entropy_gradient(weight_KD, features_DN, labels_N)


def moving_problem(*, num_classes: int, num_features: int, batch_size: int, seed: int) -> Gradient:
    """Cross-entropy, mean over a batch whose features and labels are drawn anew at every step.

    Normal features about a mean that is not zero, labels at random: theorems 3.1 and 3.2 hold for any
    backbone, so also for features that change in whatever way.
    """
    rng = np.random.default_rng(seed)

    def gradient(weight_KD: np.ndarray) -> np.ndarray:
        features_DN = 0.5 + rng.normal(size=(num_features, batch_size))
        labels_N = rng.integers(num_classes, size=batch_size)
        return cross_entropy_gradient(weight_KD, features_DN, labels_N) / batch_size

    return gradient


def descend(
    weight_KD: np.ndarray,
    gradient: Gradient,
    *,
    optimizer: str,
    learning_rates: Iterable[float],
    momentum: float,
    weight_decay: float,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    dtype: torch.dtype = torch.float64,
) -> Iterator[np.ndarray]:
    """W_0, W_1, ... under the update rule of `optimizer` (a name of collapse.optimizers).

    SignGD with coupled decay is Signum at momentum 0, with decoupled decay SignumW at momentum 0.
    dtype: in which the rule computes; the gradient is float64's.
    """
    shape = np.shape(weight_KD)
    rule = rule_of(
        OPTIMIZERS[optimizer],
        (Piece(0, math.prod(shape), shape, is_head=True),),
        momentum=momentum,
        weight_decay=weight_decay,
        beta2=beta2,
        epsilon=epsilon,
    )

    def flat_gradient(flat: np.ndarray) -> np.ndarray:
        return gradient(flat.reshape(shape)).ravel()

    flats = descend_flat(np.ravel(weight_KD), flat_gradient, rule, learning_rates=learning_rates, dtype=dtype)
    return (flat.reshape(shape) for flat in flats)


def rule_of(
    entry: Optimizer, layout: Layout, *, momentum: float, weight_decay: float, beta2: float, epsilon: float
) -> Callable:
    """An optimizer's update rule with everything but the learning rate fixed."""
    fixed = entry.hyperparameters(
        momentum=momentum, weight_decay=weight_decay, coupled_fraction=None, beta2=beta2, epsilon=epsilon
    )
    return partial(entry.rule, **fixed, **({"layout": layout} if "layout" in entry.takes else {}))


def descend_flat(
    start: np.ndarray,
    gradient: Gradient,
    rule: Callable,
    *,
    learning_rates: Iterable[float],
    dtype: torch.dtype = torch.float64,
) -> Iterator[np.ndarray]:
    """All parameters in one vector, from the start on, under an update rule (`rule_of`)."""
    values, state = torch.tensor(start, dtype=torch.float64).to(dtype), {}
    yield values.double().numpy()
    for learning_rate in learning_rates:
        step = torch.from_numpy(gradient(values.double().numpy())).to(dtype)
        values, state = rule(values, step, state, learning_rate=learning_rate)
        yield values.double().numpy()


def alphas(weights: Iterable[np.ndarray]) -> np.ndarray:
    """alpha_t = (1/K) ||W_t^T 1||^2 of a trajectory (paper, theorem 3.1). 0 at perfect collapse."""
    return np.array([alpha(weight_KD) for weight_KD in weights])
