"""One optimizer step: a direction and the weight decay, applied to the parameters.

Coupled decay is added to the gradient before the direction sees it; decoupled decay shrinks the parameters by
1 - learning_rate * decoupled_decay, beside the direction. A decay may be a tensor like `parameters`, where
not everything decays alike. The optimizers of the registry are directions with the decay given to one side,
to the other, or split.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from collapse.optimizers.directions import State


def decayed_step(
    parameters: Tensor,
    gradients: Tensor,
    state: State,
    *,
    direction: Callable,
    learning_rate: float | Tensor,
    coupled_decay: float | Tensor,
    decoupled_decay: float | Tensor,
    cautious: bool,
    **hyperparameters: Any,
) -> tuple[Tensor, State]:
    """D of g + coupled_decay W;  W <- (1 - learning_rate decoupled_decay) W - learning_rate D.

    cautious: the decoupled decay touches only entries with D W >= 0, W before the step (Chen et al. 2025,
    arXiv 2510.12402).
    """
    D, state = direction(gradients + coupled_decay * parameters, state, **hyperparameters)
    if cautious:
        decoupled_decay = decoupled_decay * (D * parameters >= 0).to(parameters.dtype)
    shrunk = (1 - learning_rate * decoupled_decay) * parameters
    return shrunk - learning_rate * D, state
