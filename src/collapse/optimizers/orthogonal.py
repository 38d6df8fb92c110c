"""Directions that orthogonalise the momentum of every matrix; vectors get Adam's direction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapse.optimizers.directions import State, adam
from collapse.optimizers.layout import Layout, hidden, with_pieces
from collapse.optimizers.mars import variance_reduced

if TYPE_CHECKING:
    from torch import Tensor

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan 2024
ITERATIONS = 5
ADAMS_RMS = 0.2  # root mean square of the entries that a direction of Adam's has (torch, match_rms_adamw)


def muon(
    gradients: Tensor, state: State, *, momentum: float, beta2: float, epsilon: float, layout: Layout
) -> tuple[Tensor, State]:
    """Muon with Nesterov momentum (Jordan 2024), the last layer too.

    m <- momentum m + (1 - momentum) g;  B = momentum m + (1 - momentum) g;  D = `orthogonalised` B
    """
    D, state = adam(gradients, state, momentum=momentum, beta2=beta2, epsilon=epsilon)
    nesterov = momentum * state["first"] + (1 - momentum) * gradients
    return with_pieces(D, layout, lambda piece: orthogonalised(piece.matrix(nesterov))), state


def muon_hidden(
    gradients: Tensor, state: State, *, momentum: float, beta2: float, epsilon: float, layout: Layout
) -> tuple[Tensor, State]:
    """Muon as it is published: the last layer gets Adam's direction."""
    return muon(gradients, state, momentum=momentum, beta2=beta2, epsilon=epsilon, layout=hidden(layout))


def mars_muon(
    gradients: Tensor, state: State, *, momentum: float, beta2: float, epsilon: float, layout: Layout
) -> tuple[Tensor, State]:
    """MARS with Newton-Schulz (Yuan et al. 2024, who call it mars-shampoo).

    c as in `variance_reduced`;  m <- momentum m + (1 - momentum) c;  D = `orthogonalised` m
    """
    reduced, previous = variance_reduced(gradients, state, momentum=momentum, layout=layout)
    D, state = adam(reduced, state, momentum=momentum, beta2=beta2, epsilon=epsilon)
    D = with_pieces(D, layout, lambda piece: orthogonalised(piece.matrix(state["first"])))
    return D, state | previous


def orthogonalised(momentum_OI: Tensor) -> Tensor:
    """0.2 sqrt(max(O, I)) `newton_schulz` of a matrix: entries as large as those of Adam's direction."""
    return ADAMS_RMS * max(momentum_OI.shape) ** 0.5 * newton_schulz(momentum_OI)


def newton_schulz(matrix_OI: Tensor) -> Tensor:
    """U V^T of a matrix U S V^T, roughly: an odd polynomial sends its singular values to 0.68 ... 1.20.

    X <- a X + (b A + c A^2) X, A = X X^T, five times; those below 0.002 of the matrix's norm stay smaller. In
    the matrix's own precision.
    """
    a, b, c = NEWTON_SCHULZ
    wide = matrix_OI.shape[0] <= matrix_OI.shape[1]
    X = matrix_OI if wide else matrix_OI.mT
    X = X / (X.norm() + 1e-7)
    for _ in range(ITERATIONS):
        A = X @ X.mT
        X = a * X + (b * A + c * A @ A) @ X
    return X if wide else X.mT
