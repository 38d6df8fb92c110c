"""The three update rules behind every optimizer of the paper, as pure functions.

Each rule maps (parameters, gradients, state) to (new parameters, new state) and works elementwise, so
`parameters` may be one tensor of any shape or all parameters of a network in one flat vector. Coupled
decay is added to the gradient before anything else sees it; decoupled decay shrinks the parameters by
1 - learning_rate * decoupled_decay, beside the step. The optimizers of the registry are these
rules with the decay given to one side, to the other, or split. A decay may be a tensor like
`parameters`, where not everything decays alike.

`state` is a dict of tensors, and for Adam the number of steps; the empty dict starts a run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the rules use tensors' own methods: figures can name optimizers without torch
    from torch import Tensor

State = dict[str, "Tensor | int"]


def sgd(
    parameters: Tensor,
    gradients: Tensor,
    state: State,
    *,
    learning_rate: float,
    momentum: float,
    coupled_decay: float | Tensor,
    decoupled_decay: float | Tensor,
) -> tuple[Tensor, State]:
    """Heavy-ball SGD without dampening (paper, sections 2.2 and 3.3).

    V <- momentum V + g + coupled_decay W
    W <- (1 - learning_rate decoupled_decay) W - learning_rate V
    """
    velocity = gradients + coupled_decay * parameters
    if "velocity" in state:
        velocity = momentum * state["velocity"] + velocity
    shrunk = (1 - learning_rate * decoupled_decay) * parameters
    return shrunk - learning_rate * velocity, {"velocity": velocity}


def adam(
    parameters: Tensor,
    gradients: Tensor,
    state: State,
    *,
    learning_rate: float,
    momentum: float,
    coupled_decay: float | Tensor,
    decoupled_decay: float | Tensor,
    beta2: float,
    epsilon: float,
) -> tuple[Tensor, State]:
    """Adam (Kingma & Ba 2015) and AdamW (Loshchilov & Hutter 2019), as PyTorch has them.

    g <- g + coupled_decay W
    m <- momentum m + (1 - momentum) g          v <- beta2 v + (1 - beta2) g^2
    W <- (1 - learning_rate decoupled_decay) W
         - learning_rate m / (1 - momentum^t) / (sqrt(v / (1 - beta2^t)) + epsilon)
    """
    gradients = gradients + coupled_decay * parameters
    first = (1 - momentum) * gradients
    second = (1 - beta2) * gradients**2
    step = 1
    if state:
        first = momentum * state["first"] + first
        second = beta2 * state["second"] + second
        step = state["step"] + 1
    direction = (first / (1 - momentum**step)) / ((second / (1 - beta2**step)).sqrt() + epsilon)
    shrunk = (1 - learning_rate * decoupled_decay) * parameters
    return shrunk - learning_rate * direction, {"first": first, "second": second, "step": step}


def signum(
    parameters: Tensor,
    gradients: Tensor,
    state: State,
    *,
    learning_rate: float,
    momentum: float,
    coupled_decay: float | Tensor,
    decoupled_decay: float | Tensor,
) -> tuple[Tensor, State]:
    """Signum (Bernstein et al. 2018); momentum 0 is SignSGD.

    m <- momentum m + (1 - momentum) (g + coupled_decay W)
    W <- (1 - learning_rate decoupled_decay) W - learning_rate sign(m)
    """
    average = (1 - momentum) * (gradients + coupled_decay * parameters)
    if "average" in state:
        average = momentum * state["average"] + average
    shrunk = (1 - learning_rate * decoupled_decay) * parameters
    return shrunk - learning_rate * average.sign(), {"average": average}
