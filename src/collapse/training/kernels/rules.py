"""An optimizer's rule on all parameters at once as one kernel: each number is read and written once.

collapse.optimizers.directions has the equations; these give its bits, up to where a compiler fuses
operations. They work in place: the parameters and the state that they are given hold the new ones afterwards.
Bytes a parameter: 20 (sgd, signum) or 28 (adam); the rule by itself, a kernel an operation, moves four times
as many.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import triton
import triton.language as tl
from torch import Tensor

from collapse.optimizers import OPTIMIZERS, WeightDecayKind, directions
from collapse.training.graphed_steps import State, on_device
from collapse.training.steps import FlatParameters, update_rule

BLOCK = 2048  # parameters of a program


@triton.jit
def shrunk(x, rate, decay, rest):
    """(1 - rate (decay + rest)) x: a number of float64 comes as the sum of two of float32."""
    return (1.0 - (rate * decay + rate * rest)).to(tl.float32) * x


@triton.jit
def sgd_kernel(values, gradients, velocity, learning_rate, momentum, coupled, decoupled, rest, size,
               BLOCK: tl.constexpr):  # fmt: skip
    """V <- momentum V + g + coupled W;  W <- (1 - rate decoupled) W - rate V."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside, rate = at < size, tl.load(learning_rate)
    x = tl.load(values + at, mask=inside)
    new = momentum * tl.load(velocity + at, mask=inside) + (
        tl.load(gradients + at, mask=inside) + coupled * x
    )
    tl.store(velocity + at, new, mask=inside)
    tl.store(values + at, shrunk(x, rate, decoupled, rest) - rate.to(tl.float32) * new, mask=inside)


@triton.jit
def signum_kernel(values, gradients, average, learning_rate, momentum, other, coupled, decoupled, rest, size,
                  BLOCK: tl.constexpr):  # fmt: skip
    """m <- momentum m + other (g + coupled W);  W <- (1 - rate decoupled) W - rate sign(m).

    other: 1 - momentum.
    """
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside, rate = at < size, tl.load(learning_rate)
    x = tl.load(values + at, mask=inside)
    new = other * (tl.load(gradients + at, mask=inside) + coupled * x)
    new = momentum * tl.load(average + at, mask=inside) + new
    tl.store(average + at, new, mask=inside)
    sign = tl.where(new > 0.0, 1.0, tl.where(new < 0.0, -1.0, 0.0))  # of NaN zero, as PyTorch has it
    tl.store(values + at, shrunk(x, rate, decoupled, rest) - rate.to(tl.float32) * sign, mask=inside)


@triton.jit
def adam_kernel(values, gradients, first, second, learning_rate, correction1, correction2, momentum, other,
                beta2, other2, epsilon, coupled, decoupled, rest, size, BLOCK: tl.constexpr):  # fmt: skip
    """m <- momentum m + other g;  v <- beta2 v + other2 g^2, g with coupled W added;
    W <- (1 - rate decoupled) W - rate (m / correction1) / (sqrt(v / correction2) + epsilon).
    """
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside, rate = at < size, tl.load(learning_rate)
    x = tl.load(values + at, mask=inside)
    g = tl.load(gradients + at, mask=inside) + coupled * x
    m = momentum * tl.load(first + at, mask=inside) + other * g
    v = beta2 * tl.load(second + at, mask=inside) + other2 * (g * g)
    tl.store(first + at, m, mask=inside)
    tl.store(second + at, v, mask=inside)
    root = tl.sqrt_rn(tl.div_rn(v, tl.zeros_like(v) + tl.load(correction2).to(tl.float32)))
    m = tl.div_rn(m, tl.zeros_like(m) + tl.load(correction1).to(tl.float32))
    step = rate.to(tl.float32) * tl.div_rn(m, root + epsilon)
    tl.store(values + at, shrunk(x, rate, decoupled, rest) - step, mask=inside)


def sgd(
    parameters: Tensor, gradients: Tensor, state: State, *, learning_rate: float | Tensor, momentum: float,
    coupled_decay: float, decoupled_decay: float,
) -> tuple[Tensor, State]:  # fmt: skip
    """SGD and SGDW in place."""
    velocity = in_state(state, "velocity", parameters)
    sgd_kernel[programs(parameters)](
        parameters, gradients, velocity, on_device(learning_rate, parameters.device), float(momentum),
        float(coupled_decay), *in_two(decoupled_decay), parameters.numel(), **exact(),
    )  # fmt: skip
    return parameters, {"velocity": velocity}


def signum(
    parameters: Tensor, gradients: Tensor, state: State, *, learning_rate: float | Tensor, momentum: float,
    coupled_decay: float, decoupled_decay: float,
) -> tuple[Tensor, State]:  # fmt: skip
    """Signum and SignumW in place."""
    average = in_state(state, "average", parameters)
    signum_kernel[programs(parameters)](
        parameters, gradients, average, on_device(learning_rate, parameters.device), float(momentum),
        1.0 - momentum, float(coupled_decay), *in_two(decoupled_decay), parameters.numel(), **exact(),
    )  # fmt: skip
    return parameters, {"average": average}


def adam(
    parameters: Tensor, gradients: Tensor, state: State, *, learning_rate: float | Tensor, momentum: float,
    coupled_decay: float, decoupled_decay: float, beta2: float, epsilon: float,
) -> tuple[Tensor, State]:  # fmt: skip
    """Adam and AdamW in place; the corrections by the number of steps are computed as in `moments`."""
    first, second = (in_state(state, name, parameters) for name in ("first", "second"))
    step = on_device(state["step"] + 1 if state else 1, parameters.device)
    adam_kernel[programs(parameters)](
        parameters, gradients, first, second, on_device(learning_rate, parameters.device),
        1 - momentum**step, 1 - beta2**step, float(momentum), 1.0 - momentum, float(beta2), 1.0 - beta2,
        float(epsilon), float(coupled_decay), *in_two(decoupled_decay), parameters.numel(), **exact(),
    )  # fmt: skip
    return parameters, {"first": first, "second": second, "step": step}


IN_PLACE = {directions.heavy_ball: sgd, directions.signum: signum, directions.adam: adam}


def fused_rule(optimizer: str, flat: FlatParameters, **hyperparameters: float | None) -> Callable:
    """As `update_rule`, which it is where a rule has no kernel or not everything decays alike."""
    entry = OPTIMIZERS[optimizer]
    is_cautious = entry.weight_decay_kind is WeightDecayKind.CAUTIOUS
    if flat.decayed is not None or is_cautious or entry.direction not in IN_PLACE:
        return update_rule(optimizer, flat, **hyperparameters)
    return partial(IN_PLACE[entry.direction], **entry.hyperparameters(**hyperparameters))


def in_state(state: State, name: str, parameters: Tensor) -> Tensor:
    """What the state has under a name, zero before the first step."""
    return state[name] if name in state else torch.zeros_like(parameters)


def in_two(number: float) -> tuple[float, float]:
    """A number as the sum of two of float32, which is how Triton takes numbers."""
    high = torch.tensor(number, dtype=torch.float64).float().item()
    return high, number - high


def exact() -> dict[str, int | bool]:
    """How a kernel here is compiled: no multiplication is fused with an addition."""
    return {"BLOCK": BLOCK, "num_warps": 8, "enable_fp_fusion": False}


def programs(parameters: Tensor) -> tuple[int]:
    """How many programs a kernel here has."""
    return (triton.cdiv(parameters.numel(), BLOCK),)
