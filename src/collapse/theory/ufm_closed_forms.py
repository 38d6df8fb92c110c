"""Minima of three relatives of the unconstrained feature model, in closed form; none has a bias.

- the last layer fixed to a simplex ETF of rows of norm 1, cross-entropy, decay on H (Zhu et al. 2021)
- squared loss ||W H - Y||^2 / (2N), decay on W and H (Zhou et al. 2022; Tirer and Bruna 2022)
- squared loss on a product of M factors, the features the first of them, one decay (Tirer and Bruna 2022)

Of each also the objective as a function of one vector, with its gradient, for a search that knows no closed
form. Shapes: K classes, D features, N = n K samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq

from collapse.theory.last_layer import softmax_error
from collapse.theory.sign_descent import root
from collapse.theory.trained_features import cross_entropy

Value = tuple[float, np.ndarray]  # an objective and its gradient


def fixed_head_scale(*, num_classes: int, samples_per_class: int, feature_decay: float) -> float:
    """h of h_{k,i} = h w_k: lambda_H N h = K / (e^t + K - 1), t = h K/(K - 1) the margin."""
    K, N = num_classes, num_classes * samples_per_class
    return root(lambda h: K / (np.exp(h * K / (K - 1)) + K - 1), weight_decay=feature_decay * N)


def fixed_head_minimum(*, num_classes: int, samples_per_class: int, feature_decay: float) -> float:
    """log(1 + (K - 1) e^-t) + lambda_H N h^2 / 2."""
    K, N = num_classes, num_classes * samples_per_class
    size = {"num_classes": K, "samples_per_class": samples_per_class}
    h = fixed_head_scale(**size, feature_decay=feature_decay)
    return float(np.log1p((K - 1) * np.exp(-h * K / (K - 1))) + feature_decay * N * h**2 / 2)


def fixed_head_objective(
    flat: np.ndarray, *, weight_KD: np.ndarray, labels_N: np.ndarray, feature_decay: float
) -> Value:
    """Mean cross-entropy of W H plus lambda_H/2 ||H||^2, and its gradient in H."""
    H = flat.reshape(weight_KD.shape[1], -1)
    logits_KN = weight_KD @ H
    value = cross_entropy(logits_KN, labels_N) + feature_decay * float(flat @ flat) / 2
    error_KN = softmax_error(logits_KN, labels_N) / len(labels_N)
    return value, (weight_KD.T @ error_KN).ravel() + feature_decay * flat


def squared_loss_minimum(*, num_classes: int, rho: float) -> float:
    """(1 - (1 - K rho)^2) / 2; 1/2, at zero, for rho >= 1/K. D >= K."""
    return (1 - max(0.0, 1 - num_classes * rho) ** 2) / 2


def squared_loss_row_norm(
    *, num_classes: int, samples_per_class: int, weight_decay: float, feature_decay: float
) -> float:
    """w of W W^T = w^2 I, w^2 = (1 - K rho) sqrt(n lambda_H / lambda_W).

    An orthogonal frame: NC0 = sqrt(K) w, and the condition number of W is 1.
    """
    rho = np.sqrt(samples_per_class * weight_decay * feature_decay)
    scale = np.sqrt(samples_per_class * feature_decay / weight_decay)
    return float(np.sqrt(max(0.0, 1 - num_classes * rho) * scale))


def product_singular_value(
    *, num_classes: int, samples_per_class: int, weight_decay: float, num_factors: int
) -> float:
    """sigma of the product of M factors: (sqrt(n) - sigma) / N = lambda sigma^(2/M - 1), its larger root.

    0 where zero is lower: no root, or one at which f is above 1/2.
    """
    n, N, M = samples_per_class, samples_per_class * num_classes, num_factors

    def pull(sigma: float) -> float:
        return (n**0.5 - sigma) * sigma ** (1 - 2 / M) - N * weight_decay

    largest = n**0.5 * (M - 2) / (2 * M - 2)  # where the pull is; it falls from there on
    if pull(largest) <= 0:
        return 0.0
    sigma = brentq(pull, largest, n**0.5, xtol=1e-15)
    size = {"num_classes": num_classes, "samples_per_class": samples_per_class, "num_factors": M}
    return sigma if product_value(sigma, **size, weight_decay=weight_decay) < 1 / 2 else 0.0


def product_value(
    sigma: float, *, num_classes: int, samples_per_class: int, weight_decay: float, num_factors: int
) -> float:
    """K ((sigma - sqrt(n))^2 / (2N) + (M/2) lambda sigma^(2/M)), f of balanced factors."""
    K, n, M = num_classes, samples_per_class, num_factors
    fit = (sigma - n**0.5) ** 2 / (2 * n * K)
    return K * (fit + M / 2 * weight_decay * sigma ** (2 / M))


def product_objective(
    flat: np.ndarray, *, shapes: Sequence[tuple[int, int]], labels_N: np.ndarray, decays: Sequence[float]
) -> Value:
    """||W_M ... W_1 - Y||^2 / (2N) + sum_l lambda_l/2 ||W_l||^2 and its gradient; W_1 are the features.

    shapes: of W_1 to W_M, of which the vector consists.
    """
    factors = factors_of(flat, shapes)
    before = [np.eye(shapes[0][1])]  # of every factor the product of those below it
    for factor in factors:
        before.append(factor @ before[-1])
    error = before[-1] - np.equal.outer(np.arange(shapes[-1][0]), labels_N)
    N, above, gradients = len(labels_N), error, []  # above: of those above it, transposed, times the error
    for factor, below, decay in reversed(list(zip(factors, before[:-1], decays, strict=True))):
        gradients.append(above @ below.T / N + decay * factor)
        above = factor.T @ above
    value = float(np.sum(error**2)) / (2 * N)
    value += sum(decay / 2 * float(np.sum(factor**2)) for factor, decay in zip(factors, decays, strict=True))
    return value, np.concatenate([each.ravel() for each in reversed(gradients)])


def factors_of(flat: np.ndarray, shapes: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """The matrices of the vector."""
    stops = np.cumsum([rows * columns for rows, columns in shapes])
    parts = np.split(flat, stops[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
