"""Checks of theorem 6, the other optimizers on fixed simplex features (docs/beyond-the-paper.md).

The setting is that of theorem 3.3 with the mean loss, c = 1/K: features M*, W_0 = 0. Rows as those of
collapse.theory.theorem_checks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from collapse.theory import sign_descent
from collapse.theory.elementwise import adamw_limit, sign_alpha, two_scalars
from collapse.theory.last_layer import alphas, descend, ufm_gradient
from collapse.theory.theorem_checks import Check, compare, compare_trajectories, decaying_rates

MOMENTUM, BETA2 = 0.9, 0.95  # a short memory: phi falls by orders of magnitude, and a long one lags behind
LIMIT_TOLERANCE = 1e-3  # of lim alpha, after e^-10 of learning rate times decay
NOTHING = 1e-12  # of alpha, where it stays 0


def simplex_model(num_classes: int) -> dict[str, float]:
    """K, r and c."""
    return {
        "num_classes": num_classes,
        "feature_scale": sign_descent.unit_scale(num_classes),
        "gradient_scale": 1 / num_classes,
    }


def simplex_weights(
    optimizer: str, *, num_classes: int, learning_rates: Sequence[float], weight_decay: float, epsilon: float
) -> Iterator[np.ndarray]:
    """W_0 = 0, W_1, ..."""
    return descend(
        np.zeros((num_classes, num_classes)),
        ufm_gradient(**simplex_model(num_classes)),
        optimizer=optimizer,
        learning_rates=learning_rates,
        momentum=MOMENTUM,
        weight_decay=weight_decay,
        beta2=BETA2,
        epsilon=epsilon,
    )


def check_signs(
    optimizer: str, *, num_classes: int, learning_rate: float, weight_decay: float, steps: int
) -> Iterator[Check]:
    """A sign's direction at any momenta, at a learning rate that falls: alpha(t) in closed form."""
    model = {"num_classes": num_classes, "weight_decay": weight_decay}
    learning_rates = decaying_rates(learning_rate, steps=steps)
    simulated = alphas(simplex_weights(optimizer, learning_rates=learning_rates, epsilon=0.0, **model))
    yield compare_trajectories(sign_alpha(learning_rates, **model), simulated)


def check_adamw(
    *, num_classes: int, learning_rate: float, weight_decay: float, steps: int, epsilons: Sequence[float]
) -> Iterator[Check]:
    """AdamW: W = (a + b) I - b J, two scalars carry it, a = b at epsilon 0; where alpha ends."""
    learning_rates = [learning_rate] * steps
    betas = {"momentum": MOMENTUM, "beta2": BETA2}
    for epsilon in epsilons:
        at = f"epsilon {epsilon:g}"
        how = {"weight_decay": weight_decay, "learning_rates": learning_rates, "epsilon": epsilon}
        weights = list(simplex_weights("AdamW", num_classes=num_classes, **how))
        a_T, b_T = two_scalars("AdamW", **simplex_model(num_classes), **how, **betas)
        carried = sign_descent.coupled_alpha(a_T, b_T, num_classes=num_classes)
        simulated = alphas(weights)
        row = compare_trajectories(carried, simulated)
        yield row | {"check": f"{at}: {row['check']} by two scalars"}
        if epsilon == 0:
            a, b, off = sign_descent.coordinates(weights[-1])
            name = f"{at}: deviation from w (J - 2 I)"
            yield compare(name, NOTHING, max(off, abs(a - b)) / a, relation="<=", tolerance=0.0)
        limit = adamw_limit(**simplex_model(num_classes), weight_decay=weight_decay, epsilon=epsilon)
        yield compare(f"{at}: lim alpha", limit, simulated[-1], tolerance=LIMIT_TOLERANCE)


def check_stays_zero(
    optimizer: str, *, num_classes: int, learning_rate: float, weight_decay: float, steps: int
) -> Iterator[Check]:
    """A direction of zero row sum, and Adafactor's, which has one by symmetry, leave alpha at 0."""
    model = {"num_classes": num_classes, "weight_decay": weight_decay, "epsilon": 1e-8}
    learning_rates = [learning_rate] * steps
    weights = list(simplex_weights(optimizer, learning_rates=learning_rates, **model))[1:]
    shares = alphas(weights) / np.array([np.sum(weight_KK**2) for weight_KK in weights])
    yield compare("largest alpha / ||W||^2", NOTHING, shares.max(), relation="<=", tolerance=0.0)
