"""Theorem 6: elementwise rules on the last layer over fixed simplex features, which extends theorem 3.3.

In the setting of collapse.theory.sign_descent (W_0 = 0, H = r (I - J/K)) the gradient is -(K - 1) phi on the
diagonal and phi beside it, so a rule that treats entries alone and alike keeps W = (a + b) I - b J, and two
scalars carry it. Where the direction is homogeneous, psi(c x) = sign(c) psi(x), as a sign's or Adam's at
epsilon 0, both move alike: W = w (J - 2 I), alpha = (K - 2)^2 w^2.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from collapse.theory import sign_descent
from collapse.theory.last_layer import descend


def two_scalars(
    optimizer: str,
    *,
    num_classes: int,
    feature_scale: float,
    gradient_scale: float,
    learning_rates: Iterable[float],
    weight_decay: float,
    momentum: float,
    beta2: float,
    epsilon: float,
) -> tuple[np.ndarray, np.ndarray]:
    """(a_0 ... a_T), (b_0 ... b_T): an elementwise optimizer on (a, b), of gradient (-(K - 1) phi, -phi)."""
    model = {
        "num_classes": num_classes,
        "feature_scale": feature_scale,
        "gradient_scale": gradient_scale,
    }

    def gradient(ab: np.ndarray) -> np.ndarray:
        phi = sign_descent.off_diagonal_gradient(ab.sum(), **model)
        return np.array([[-(num_classes - 1) * phi, -phi]])

    path = descend(
        np.zeros((1, 2)),
        gradient,
        optimizer=optimizer,
        learning_rates=learning_rates,
        momentum=momentum,
        weight_decay=weight_decay,
        beta2=beta2,
        epsilon=epsilon,
    )
    a_T, b_T = np.array([ab[0] for ab in path]).T
    return a_T, b_T


def sign_alpha(learning_rates: Iterable[float], *, num_classes: int, weight_decay: float) -> np.ndarray:
    """alpha_0 ... alpha_T of a sign's direction with decoupled decay, at any momenta and learning rates.

    ((K - 2) / lambda)^2 (1 - prod (1 - eta_i lambda))^2, as long as the gradient keeps its sign.
    """
    left_T = np.cumprod(1 - weight_decay * np.fromiter(learning_rates, dtype=float))
    return ((num_classes - 2) / weight_decay * (1 - np.concatenate([[1.0], left_T]))) ** 2


def adamw_limit(
    *,
    num_classes: int,
    feature_scale: float,
    gradient_scale: float,
    weight_decay: float,
    epsilon: float,
) -> float:
    """lim alpha of AdamW with decoupled decay, at any betas, as the learning rate is small and t large.

    At rest lambda a = (K - 1) x / ((K - 1) x + 1) and lambda b = x / (x + 1) with x = phi / epsilon, so

        alpha = ((K - 1) (K - 2) x^2 / (lambda ((K - 1) x + 1) (x + 1)))^2,

    phi that of y = a + b. epsilon = 0 is x infinite: ((K - 2) / lambda)^2, which no decay of NC0 follows;
    a large epsilon makes AdamW a gradient descent, and alpha small.
    """
    if epsilon == 0:
        return sign_descent.decoupled_limit(num_classes=num_classes, weight_decay=weight_decay)
    others = num_classes - 1
    model = {"feature_scale": feature_scale, "gradient_scale": gradient_scale}

    def share(y: float) -> float:
        return sign_descent.off_diagonal_gradient(y, num_classes=num_classes, **model) / epsilon

    def pulls(y: float) -> float:
        x = share(y)
        return others * x / (others * x + 1) + x / (x + 1)

    x = share(sign_descent.root(pulls, weight_decay=weight_decay))
    return (others * (num_classes - 2) * x**2 / (weight_decay * (others * x + 1) * (x + 1))) ** 2
