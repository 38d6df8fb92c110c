"""What the paper's theorems say in closed form, for comparison with what training measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np


def sgd_nc0_ratio(learning_rates: Iterable[float], *, momentum: float, weight_decay: float) -> np.ndarray:
    """NC0(t) / NC0(0) under SGD with coupled weight decay, after 0, 1, ... steps (theorem 3.2).

    The cross-entropy gradient of the last layer has zero row sum, so s = W^T 1 obeys
    v <- momentum v + weight_decay s ; s <- s - learning_rate v, on any data and any network. The
    recursion is linear and elementwise: one scalar carries it.
    """
    s, v, ratios = 1.0, 0.0, [1.0]
    for learning_rate in learning_rates:
        v = momentum * v + weight_decay * s
        s = s - learning_rate * v
        ratios.append(abs(s))
    return np.array(ratios)


def sgdw_nc0_ratio(learning_rates: Iterable[float], *, momentum: float, weight_decay: float) -> np.ndarray:
    """NC0(t) / NC0(0) under SGD with decoupled weight decay (theorem 3.1): s <- (1 - rate decay) s.

    Momentum has no part in it: the velocity holds gradients alone, whose row sum is zero. The same holds for
    every direction of zero row sum (ZERO_ROW_SUM).
    """
    factors = 1 - weight_decay * np.fromiter(learning_rates, dtype=float)
    return np.abs(np.concatenate([[1.0], np.cumprod(factors)]))


# Decoupled decay beside a direction of zero row sum, which leaves W^T 1 to the decay alone: SGDW's closed
# form. table_102 holds each against it, and the other optimizers of decoupled decay, which have none.
ZERO_ROW_SUM = ("SGDW", "MuonW", "ShampooW", "SOAPW", "MARSMuonW", "AdamSharedW", "AdamCentredW")
NC0_RATIOS: dict[str, Callable[..., np.ndarray]] = {
    "SGD": sgd_nc0_ratio,
    **dict.fromkeys(ZERO_ROW_SUM, sgdw_nc0_ratio),
}
