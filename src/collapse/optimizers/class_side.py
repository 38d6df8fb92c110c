"""Adam with another second moment, or another mean, in the last layer: what acts between the classes.

Adafactor's moment has a factor a class and one a feature. AdamShared has no factor a class, AdamCentred no
row sum: controls for what Adam's elementwise division does to W^T 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapse.optimizers.directions import State, adam, moments
from collapse.optimizers.layout import Layout, heads, with_pieces

if TYPE_CHECKING:
    from torch import Tensor

TINY = 1e-30  # in the place of a mean of zeros, which it divides


def adafactor(
    gradients: Tensor, state: State, *, momentum: float, beta2: float, epsilon: float, layout: Layout
) -> tuple[Tensor, State]:
    """Adam with a second moment of rank one in every matrix (Shazeer & Stern 2018).

    v_hat_ij in the place of its own: r_i c_j / mean(r), r and c the means of v_hat's rows and columns. With a
    fixed learning rate and beta2, without clipping.
    """
    mean, variance, state = moments(gradients, state, momentum=momentum, beta2=beta2)
    variance = with_pieces(variance, layout, lambda piece: rank_one(piece.matrix(variance)))
    return mean / (variance.sqrt() + epsilon), state


def rank_one(variance_OI: Tensor) -> Tensor:
    """r_i c_j / mean(r): the matrix of rank one with the same means of rows and columns."""
    rows_O1, columns_I = variance_OI.mean(1, keepdim=True), variance_OI.mean(0)
    return rows_O1 / rows_O1.mean().clamp_min(TINY) * columns_I


def adam_shared(
    gradients: Tensor, state: State, *, momentum: float, beta2: float, epsilon: float, layout: Layout
) -> tuple[Tensor, State]:
    """Adam whose second moment in the last layer is its mean over the classes: one number a feature."""
    mean, variance, state = moments(gradients, state, momentum=momentum, beta2=beta2)
    variance = with_pieces(
        variance, heads(layout), lambda piece: piece.matrix(variance).mean(0).expand(piece.shape)
    )
    return mean / (variance.sqrt() + epsilon), state


def adam_centred(
    gradients: Tensor, state: State, *, momentum: float, beta2: float, epsilon: float, layout: Layout
) -> tuple[Tensor, State]:
    """Adam's direction, in the last layer without its mean over the classes."""
    D, state = adam(gradients, state, momentum=momentum, beta2=beta2, epsilon=epsilon)
    return with_pieces(D, heads(layout), lambda piece: piece.matrix(D) - piece.matrix(D).mean(0)), state
