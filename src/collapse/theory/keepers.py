"""Which optimizers keep the row sum of the last layer, s = W^T 1, at zero, and what s does to NC3.

The cross-entropy gradient has zero row sum: logits may all shift together. A direction whose class side has 1
as an eigenvector has zero row sum too. Under decoupled decay nothing but the decay then moves s, and NC0 is
that of SGDW in closed form. A direction that divides entry by entry has another row sum.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from collapse.optimizers import OPTIMIZERS


class RowSum(StrEnum):
    """Whether a direction made of gradients of zero row sum has zero row sum."""

    KEPT = "yes"
    ROUNDED = "yes, but for rounding"
    NEARLY = "nearly"
    LOST = "no"
    UNKNOWN = "not known"


# By the name of the direction: the optimizers with another place of the decay share it.
ROW_SUMS = {
    "heavy_ball": RowSum.KEPT,
    "muon": RowSum.KEPT,  # an odd polynomial of the matrix
    "mars_muon": RowSum.KEPT,
    "shampoo": RowSum.KEPT,  # 1 is an eigenvector of the class side's factor
    "adam_shared": RowSum.KEPT,
    "adam_centred": RowSum.KEPT,
    "soap": RowSum.ROUNDED,  # along 1 it divides rounding by itself, but for a part that is ours
    "adafactor": RowSum.NEARLY,  # exactly where the classes' mean squares are equal
    "adam": RowSum.LOST,
    "signum": RowSum.LOST,
    "lion": RowSum.LOST,
    "mars": RowSum.LOST,
    "muon_hidden": RowSum.LOST,  # its head is Adam's
}
HEAD_BY_ADAM = frozenset({"muon_hidden"})


def row_sum(optimizer: str) -> RowSum:
    """Of an optimizer's direction, wherever its decay acts."""
    return ROW_SUMS.get(OPTIMIZERS[optimizer].direction.__name__, RowSum.UNKNOWN)


def head_by(optimizer: str) -> str:
    """Whose direction moves the last layer's weights: "own" or "Adam"."""
    return "Adam" if OPTIMIZERS[optimizer].direction.__name__ in HEAD_BY_ADAM else "own"


def nc3_floor(gauge_share: np.ndarray) -> np.ndarray:
    """The smallest NC3 that W can have at g = ||W^T 1||^2 / (K ||W||_F^2): sqrt(2 - 2 sqrt(1 - g)).

    The centred class means sum to zero, so the part of W along 1 is orthogonal to them.
    """
    return np.sqrt(2 - 2 * np.sqrt(1 - np.asarray(gauge_share, dtype=float)))
