"""What moves s = W^T 1, and that it moves nothing else (docs/beyond-the-paper.md).

Shapes: K classes, D feature dimensions, T steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import wraps
from typing import Any

import numpy as np
import torch

from collapse.optimizers.directions import State
from collapse.optimizers.layout import Piece, with_pieces
from collapse.optimizers.orthogonal import ITERATIONS, NEWTON_SCHULZ
from collapse.theory.last_layer import Gradient


def row_sums(weights: Iterable[np.ndarray]) -> np.ndarray:
    """s_t = W_t^T 1 of a trajectory, T x D."""
    return np.array([weight_KD.sum(axis=0) for weight_KD in weights])


def largest_deviation(sums_TD: np.ndarray, ratios_T: np.ndarray) -> float:
    """max_t ||s_t - ratio_t s_0|| / ||s_0||: it sees a turn of s as well, which NC0 = ||s|| does not."""
    off_T = np.linalg.norm(sums_TD - ratios_T[:, None] * sums_TD[0], axis=1)
    return float(off_T.max() / np.linalg.norm(sums_TD[0]))


def centred(weight_KD: np.ndarray) -> np.ndarray:
    """W_c = (I - J/K) W: all that the loss sees of W (lemma 1)."""
    return weight_KD - weight_KD.mean(axis=0)


def with_random_row_sums(direction: Callable, head: Piece, *, seed: int) -> Callable:
    """The same direction with 1 a^T added in the last layer, a normal, drawn anew at every step (lemma 3)."""
    generator = torch.Generator().manual_seed(seed)

    @wraps(direction)  # its arguments say what it is given
    def changed(gradients: torch.Tensor, state: State, **given: Any) -> tuple[torch.Tensor, State]:
        D, state = direction(gradients, state, **given)
        shift_D = torch.randn(head.shape[1], generator=generator, dtype=D.dtype)
        return with_pieces(D, (head,), lambda piece: piece.matrix(D) + shift_D), state

    return changed


def schedule_free(
    start: np.ndarray,
    gradient: Gradient,
    *,
    learning_rates: Sequence[float],
    momentum: float,
    weight_decay: float,
) -> Iterator[np.ndarray]:
    """x_0, x_1, ... of Schedule-Free SGD with coupled decay (Defazio et al. 2024).

    y = (1 - momentum) z + momentum x;  z <- z - eta (g(y) + lambda y);  x <- (1 - 1/t) x + z / t

    Linear but for g, whose row sum is zero: s obeys the same with g = 0 (corollary 5), one scalar for all.
    """
    x, z = start, start
    yield x
    for step, learning_rate in enumerate(learning_rates, start=1):
        y = (1 - momentum) * z + momentum * x
        z = z - learning_rate * (gradient(y) + weight_decay * y)
        x = (1 - 1 / step) * x + z / step
        yield x


def newton_schulz_gain(singular_values: np.ndarray) -> np.ndarray:
    """q(sigma^2): the factor by which the iteration multiplies a singular value sigma. q(0) = 3.4445^5."""
    a, b, c = NEWTON_SCHULZ
    gain = np.ones_like(singular_values)
    for _ in range(ITERATIONS):
        squared = (gain * singular_values) ** 2
        gain = gain * (a + b * squared + c * squared**2)
    return gain


def orthogonalised_row_sums(gradients_KD: np.ndarray, decay_D: np.ndarray) -> np.ndarray:
    """1^T NS(B) of B = gradients + 1 decay^T / K, whose rows sum to `decay`, to first order in it.

    The gradients' own rows sum to zero. With gradients / ||B||_F = U S V^T it is

        decay^T (q(0) (I - V V^T) + V q(S^2) V^T) / ||B||_F

    Coupled Muon's decay is amplified: at least about 0.69 / ||B|| times, and 485 / ||B|| times in what the
    gradients do not span.
    """
    norm = np.linalg.norm(gradients_KD) + 1e-7  # as in newton_schulz
    _, values, span_RD = np.linalg.svd(gradients_KD / norm, full_matrices=False)
    in_span_R = span_RD @ decay_D
    beside_D = decay_D - span_RD.T @ in_span_R
    nowhere = newton_schulz_gain(np.zeros(1))
    return (nowhere * beside_D + span_RD.T @ (newton_schulz_gain(values) * in_span_R)) / norm
