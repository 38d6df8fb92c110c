"""Theorems 3.3 and 3.4 in closed form: SignGD on the last layer over fixed simplex features.

With H = r (I - J/K), W_0 = 0 and the gradient c (softmax(W H) - I) H^T the weights keep the form

    W = (a + b) I - b J,    alpha = (1/K) ||W^T 1||^2 = (a - (K - 1) b)^2,

and the gradient is -(K - 1) phi on the diagonal and phi beside it,

    phi = c r / (exp(r (a + b)) + K - 1).

The theorems state H = M* and the summed loss: r = 1/sqrt(K - 1), c = 1. The proof of 3.4 writes phi
without r, which is exact for r = 1, features sqrt(K - 1) M*; lemma E.4's mean over samples is c = 1/K.
Every function takes r as `feature_scale` and c as `gradient_scale`. W keeps the form because it
starts in it: on other weights the sign of the gradient is not J - 2 I, as the proof of 3.3 says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np


def unit_scale(num_classes: int) -> float:
    """The r of features M*, of Frobenius norm one: 1 / sqrt(K - 1)."""
    return 1 / np.sqrt(num_classes - 1)


def decoupled_scale(*, learning_rate: float, weight_decay: float, steps: int) -> np.ndarray:
    """w_0 ... w_T of W_t = w_t (J - 2 I) with decoupled decay (theorem 3.3), whatever r and c.

    w_t = -(1 - (1 - learning_rate weight_decay)^t) / weight_decay. In floating point it holds as
    long as phi is not rounded to zero, 2 r / weight_decay < 700 in float64: sign(0) moves nothing.
    """
    return -(1 - (1 - learning_rate * weight_decay) ** np.arange(steps + 1)) / weight_decay


def decoupled_alpha(*, num_classes: int, learning_rate: float, weight_decay: float, steps: int) -> np.ndarray:
    """alpha_0 ... alpha_T with decoupled decay: (K - 2)^2 w_t^2 (theorem 3.3)."""
    w_T = decoupled_scale(learning_rate=learning_rate, weight_decay=weight_decay, steps=steps)
    return (num_classes - 2) ** 2 * w_T**2


def decoupled_limit(*, num_classes: int, weight_decay: float) -> float:
    """lim alpha = ((K - 2) / weight_decay)^2 for 0 < learning_rate weight_decay < 2 (theorem 3.3).

    Of (1/K) ||W^T 1||^2; the theorem as printed defines alpha without 1/K, whose limit is K times
    this. For K = 2 it is zero: "does not vanish" needs K >= 3.
    """
    return ((num_classes - 2) / weight_decay) ** 2


def off_diagonal_gradient(
    a_plus_b: float | np.ndarray, *, num_classes: int, feature_scale: float, gradient_scale: float
) -> float | np.ndarray:
    """phi, the gradient beside the diagonal; the diagonal's is -(K - 1) phi."""
    # r / (exp(r s) + K - 1), written so that a large s underflows instead of overflowing
    decayed = np.exp(-feature_scale * a_plus_b)
    return gradient_scale * feature_scale * decayed / (1 + (num_classes - 1) * decayed)


def coupled_coordinates(
    *,
    num_classes: int,
    feature_scale: float,
    gradient_scale: float,
    learning_rates: Iterable[float],
    weight_decay: float,
) -> tuple[np.ndarray, np.ndarray]:
    """(a_0 ... a_T), (b_0 ... b_T) with coupled decay (theorem 3.4): two scalars carry W.

    a <- a + learning_rate sign((K - 1) phi - weight_decay a)
    b <- b + learning_rate sign(phi - weight_decay b)
    """
    a_T, b_T = [0.0], [0.0]
    for learning_rate in learning_rates:
        a, b = a_T[-1], b_T[-1]
        phi = off_diagonal_gradient(
            a + b, num_classes=num_classes, feature_scale=feature_scale, gradient_scale=gradient_scale
        )
        a_T.append(a + learning_rate * np.sign((num_classes - 1) * phi - weight_decay * a))
        b_T.append(b + learning_rate * np.sign(phi - weight_decay * b))
    return np.array(a_T), np.array(b_T)


def coupled_alpha(a_T: np.ndarray, b_T: np.ndarray, *, num_classes: int) -> np.ndarray:
    """alpha = (a - (K - 1) b)^2."""
    return (a_T - (num_classes - 1) * b_T) ** 2


def first_turn(
    *,
    num_classes: int,
    feature_scale: float,
    gradient_scale: float,
    learning_rate: float,
    weight_decay: float,
) -> int:
    """T1, the first t at which decay turns the off-diagonal: phi(2 eta t) < weight_decay eta t."""
    x = root(
        lambda x: off_diagonal_gradient(
            2 * x, num_classes=num_classes, feature_scale=feature_scale, gradient_scale=gradient_scale
        ),
        weight_decay=weight_decay,
    )
    return int(np.floor(x / learning_rate)) + 1


def second_turn(
    *,
    num_classes: int,
    feature_scale: float,
    gradient_scale: float,
    learning_rate: float,
    weight_decay: float,
) -> int:
    """T2, the first t at which decay turns the diagonal, within two steps at decays above 5e-4.

    Until then a = eta t, and b follows phi(a + b) / weight_decay within eta, down from T1 on. Both
    forces are in balance where a = (K - 1) b and phi(K b) = weight_decay b, the minimum of the
    regularised loss, where alpha is zero. `coupled_coordinates` has T2 exactly.
    """
    b = root(
        lambda b: off_diagonal_gradient(
            num_classes * b,
            num_classes=num_classes,
            feature_scale=feature_scale,
            gradient_scale=gradient_scale,
        ),
        weight_decay=weight_decay,
    )
    return int(np.floor((num_classes - 1) * b / learning_rate)) + 1


def turning_times(a_T: np.ndarray, b_T: np.ndarray) -> tuple[int | None, int | None]:
    """(T1, T2) of a trajectory: the last t before b, and before a, first decreases; None if never."""

    def first_fall(values_T: np.ndarray) -> int | None:
        falls = np.diff(values_T) < 0
        return int(falls.argmax()) if falls.any() else None

    return first_fall(b_T), first_fall(a_T)


def coordinates(weight_KK: np.ndarray) -> tuple[float, float, float]:
    """(a, b) of W = (a + b) I - b J, and the largest entry by which W differs from that form."""
    num_classes = len(weight_KK)
    a, b = weight_KK[0, 0], -weight_KK[0, 1]
    form_KK = (a + b) * np.eye(num_classes) - b * np.ones((num_classes, num_classes))
    return float(a), float(b), float(np.abs(weight_KK - form_KK).max())


def root(falling: Callable[[float], float], *, weight_decay: float) -> float:
    """x > 0 with falling(x) = weight_decay x, to the last bit or so, by bisection."""
    low, high = 0.0, falling(0.0) / weight_decay
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > weight_decay * middle else (low, middle)
    return high
