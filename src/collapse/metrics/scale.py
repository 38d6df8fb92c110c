"""Values over a power of two, so that their squares neither overflow nor vanish and no digit is lost."""

from __future__ import annotations

import numpy as np
from numpy.linalg import norm


def power_of_two(values: np.ndarray, *, axis: int | None = None) -> np.ndarray:
    """The largest power of two that is not above the largest entry of `values`; 1 where all are zero.

    Entries divided by it are at most 2 and lose no digit, and their squares neither overflow nor vanish.
    """
    largest = np.max(np.abs(values), axis=axis, keepdims=axis is not None)
    return np.where(largest > 0, np.ldexp(1.0, np.frexp(largest)[1] - 1), 1.0)


def scaled(values: np.ndarray) -> np.ndarray:
    """The values over their power of two, in float64: for what does not depend on their scale."""
    values = np.asarray(values, dtype=np.float64)
    return values / power_of_two(values)


def frobenius_norm(values: np.ndarray) -> float:
    """||X||_F, for entries of any size that float64 can hold."""
    return power_of_two(values) * norm(scaled(values))
