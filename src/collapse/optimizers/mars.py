"""MARS (Yuan et al. 2024, arXiv 2411.10438): Adam on gradients corrected by how they change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collapse.optimizers.directions import State, adam
from collapse.optimizers.layout import Layout, with_pieces

if TYPE_CHECKING:
    from torch import Tensor

GAMMA = 0.025


def mars(
    gradients: Tensor, state: State, *, momentum: float, beta2: float, epsilon: float, layout: Layout
) -> tuple[Tensor, State]:
    """Adam's direction on the corrected gradient, on the plain one in vectors."""
    reduced, previous = variance_reduced(gradients, state, momentum=momentum, layout=layout)
    D, state = adam(reduced, state, momentum=momentum, beta2=beta2, epsilon=epsilon)
    return D, state | previous


def variance_reduced(
    gradients: Tensor, state: State, *, momentum: float, layout: Layout
) -> tuple[Tensor, State]:
    """The gradient with every matrix corrected, and what the state keeps for the next step.

    c = g + gamma momentum / (1 - momentum) (g - g_previous), g_previous zero at first;  c / max(1, ||c||_F)
    """
    change = gradients - state["previous"] if "previous" in state else gradients
    corrected = gradients + GAMMA * momentum / (1 - momentum) * change
    reduced = with_pieces(gradients, layout, lambda piece: clipped(piece.matrix(corrected)))
    return reduced, {"previous": gradients}


def clipped(matrix_OI: Tensor) -> Tensor:
    """The matrix scaled to norm one where its norm is larger."""
    return matrix_OI / matrix_OI.norm().clamp_min(1.0)
