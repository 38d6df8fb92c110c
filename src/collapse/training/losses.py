"""The losses of training by name; to add one: a function of logits and labels, and an entry in LOSSES."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

Criterion = Callable[[Tensor, Tensor], Tensor]


def squared_error(logits_NK: Tensor, labels_N: Tensor) -> Tensor:
    """1/(2N) sum over samples of ||z_n - e_{y_n}||^2 (Jacot et al. 2024); 1/2 for logits of zero."""
    targets_NK = functional.one_hot(labels_N, logits_NK.shape[1]).to(logits_NK.dtype)
    return (logits_NK - targets_NK).square().sum(1).mean() / 2


LOSSES: dict[str, Criterion] = {"cross_entropy": functional.cross_entropy, "squared": squared_error}
