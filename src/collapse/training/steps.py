"""One optimizer step of a network: forward, backward, and the optimizer's rule on all parameters at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from collapse.optimizers import OPTIMIZERS
from collapse.training.graphed_steps import GraphedSteps, State, Step


class FlatParameters:
    """All parameters of a network in one vector, and their gradients in another.

    The network's own parameters become views, so an update rule is applied once a step to everything
    that is trained: weights, biases and BatchNorm alike, all of which the paper decays. `decayed` is
    None then; where the network exempts its vectors, it is 1 at what decays and 0 elsewhere.
    The weights of convolutions lie in it as channels_last has them, which is how they compute.
    """

    def __init__(self, network: nn.Module):
        parameters = list(network.parameters())
        self.values = torch.cat([to_OHWI(parameter.detach()).flatten() for parameter in parameters])
        self.gradients = torch.zeros_like(self.values)
        sizes = [parameter.numel() for parameter in parameters]
        pieces = zip(parameters, self.values.split(sizes), self.gradients.split(sizes), strict=True)
        for parameter, values, gradients in pieces:
            shape = to_OHWI(parameter).shape
            parameter.data = to_OIHW(values.view(shape))
            parameter.grad = to_OIHW(gradients.view(shape))
        self.decayed = None
        if not network.decay_vectors:
            ones = [torch.full_like(parameter, parameter.ndim > 1).flatten() for parameter in parameters]
            self.decayed = torch.cat(ones)

    def decay(self, strength: float) -> float | Tensor:
        """A weight decay as an update rule takes it: one number, or a number a parameter."""
        return strength if self.decayed is None else strength * self.decayed


def to_OHWI(weight: Tensor) -> Tensor:
    """The weight of a convolution (O, I, H, W) as (O, H, W, I); any other tensor as it is."""
    return weight.permute(0, 2, 3, 1) if weight.ndim == 4 else weight


def to_OIHW(weight: Tensor) -> Tensor:
    """The inverse of `to_OHWI`; neither moves anything in memory."""
    return weight.permute(0, 3, 1, 2) if weight.ndim == 4 else weight


def update_rule(optimizer: str, flat: FlatParameters, **hyperparameters: float | None) -> Callable:
    """The optimizer's rule with everything fixed that stays so through a run."""
    entry = OPTIMIZERS[optimizer]
    fixed = entry.hyperparameters(**hyperparameters)
    fixed |= {name: flat.decay(fixed[name]) for name in ("coupled_decay", "decoupled_decay")}
    return partial(entry.rule, **fixed)


def training_step(
    state: State,
    batch: Tensor,
    labels: Tensor,
    learning_rate: float | Tensor,
    *,
    network: nn.Module,
    flat: FlatParameters,
    rule: Callable,
) -> tuple[State, Tensor]:
    """One step of `rule`: the optimizer's new state, and the loss before it. Nothing waits for the device."""
    loss = functional.cross_entropy(network(batch), labels)
    flat.gradients.zero_()
    loss.backward()
    values, state = rule(flat.values, flat.gradients, state, learning_rate=learning_rate)
    flat.values.copy_(values)
    return state, loss.detach()


def step_of(network: nn.Module, flat: FlatParameters, rule: Callable) -> Step:
    """`training_step` of a network, on a GPU as a graph."""
    step = partial(training_step, network=network, flat=flat, rule=rule)
    return GraphedSteps(step, [flat.values, *network.buffers()]) if flat.values.is_cuda else step
