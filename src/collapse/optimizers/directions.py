"""The directions that work elementwise, as pure functions: those of the paper, and Lion.

A direction maps (gradients, state) to (direction, new state). It never sees parameters or weight decay:
`collapse.optimizers.steps` applies the direction and the decay. `gradients` may be one tensor of any shape or
those of all parameters of a network in one flat vector.

`state` is a dict of tensors, and for Adam the number of steps; the empty dict starts a run, and the first
step leaves every name that it will ever have. `gradients` is a tensor that nobody changes later: a state may
keep it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # directions use tensors' own methods: figures can name optimizers without torch
    from torch import Tensor

State = dict[str, "Tensor | int"]


def heavy_ball(gradients: Tensor, state: State, *, momentum: float) -> tuple[Tensor, State]:
    """Heavy-ball momentum without dampening (paper, sections 2.2 and 3.3).

    V <- momentum V + g;  D = V
    """
    velocity = gradients
    if "velocity" in state:
        velocity = momentum * state["velocity"] + velocity
    return velocity, {"velocity": velocity}


def signum(gradients: Tensor, state: State, *, momentum: float) -> tuple[Tensor, State]:
    """Signum (Bernstein et al. 2018); momentum 0 is SignSGD.

    m <- momentum m + (1 - momentum) g;  D = sign(m)
    """
    average = moving_average(gradients, state, "average", momentum)
    return average.sign(), {"average": average}


def lion(gradients: Tensor, state: State, *, momentum: float, beta2: float) -> tuple[Tensor, State]:
    """Lion (Chen et al. 2023, arXiv 2302.06675); momentum is its beta1.

    D = sign(momentum m + (1 - momentum) g), of the old m;  m <- beta2 m + (1 - beta2) g
    """
    towards, average = (moving_average(gradients, state, "average", beta) for beta in (momentum, beta2))
    return towards.sign(), {"average": average}


def adam(
    gradients: Tensor, state: State, *, momentum: float, beta2: float, epsilon: float
) -> tuple[Tensor, State]:
    """Adam's direction (Kingma & Ba 2015), as PyTorch has it.

    D = m_hat / (sqrt(v_hat) + epsilon)
    """
    mean, variance, state = moments(gradients, state, momentum=momentum, beta2=beta2)
    return mean / (variance.sqrt() + epsilon), state


def moments(
    gradients: Tensor, state: State, *, momentum: float, beta2: float
) -> tuple[Tensor, Tensor, State]:
    """Adam's two moments without their bias to zero, and the state that holds them.

    m <- momentum m + (1 - momentum) g        m_hat = m / (1 - momentum^t)
    v <- beta2 v + (1 - beta2) g^2            v_hat = v / (1 - beta2^t)
    """
    first = moving_average(gradients, state, "first", momentum)
    second = moving_average(gradients**2, state, "second", beta2)
    step = state.get("step", 0) + 1
    state = {"first": first, "second": second, "step": step}
    return first / (1 - momentum**step), second / (1 - beta2**step), state


def moving_average(newest: Tensor, state: State, name: str, beta: float) -> Tensor:
    """beta x + (1 - beta) newest, x what the state has under a name: zero before the first step."""
    newest = (1 - beta) * newest
    return beta * state[name] + newest if name in state else newest
