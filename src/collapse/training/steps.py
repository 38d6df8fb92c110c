"""One optimizer step of a network: forward, backward, and the optimizer's rule on all parameters at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from collapse.architectures.network import Body, Network
from collapse.optimizers import OPTIMIZERS
from collapse.optimizers.layout import Layout, Piece
from collapse.training.graphed_steps import GraphedSteps, State, Step
from collapse.training.losses import Criterion


class FlatParameters:
    """All parameters of a network in one vector, and their gradients in another.

    The network's own parameters become views, so an update rule is applied once a step to everything
    that is trained: weights, biases and BatchNorm alike, all of which the paper decays. `decayed` is
    None then; where the network exempts its vectors or its body, it is 1 at what decays and 0 elsewhere.
    The weights of convolutions lie in it as channels_last has them, which is how they compute. `layout` says
    where the matrices are.
    """

    def __init__(self, network: nn.Module):
        parameters = list(network.parameters())
        self.shapes = [to_OHWI(parameter).shape for parameter in parameters]
        self.values = torch.cat([to_OHWI(parameter.detach()).flatten() for parameter in parameters])
        self.gradients = torch.zeros_like(self.values)
        pieces = zip(parameters, self.pieces(self.values), self.pieces(self.gradients), strict=True)
        for parameter, values, gradients in pieces:
            parameter.data, parameter.grad = values, gradients
        self.layout = layout_of(network)
        self.decayed = None
        if not (network.decay_vectors and network.decay_body):
            ones = [torch.full_like(its, decays(its, network)).flatten() for its in parameters]
            self.decayed = torch.cat(ones)

    def pieces(self, vector: Tensor) -> list[Tensor]:
        """The parameters' pieces of a vector like `values`, each in the shape of its parameter."""
        parts = vector.split([shape.numel() for shape in self.shapes])
        return [to_OIHW(part.view(shape)) for part, shape in zip(parts, self.shapes, strict=True)]

    def decay(self, strength: float) -> float | Tensor:
        """A weight decay as an update rule takes it: one number, or a number a parameter."""
        return strength if self.decayed is None else strength * self.decayed


def decays(parameter: nn.Parameter, network: nn.Module) -> bool:
    """Whether weight decay touches a parameter of the network."""
    in_head = any(parameter is its for its in network.head.parameters())
    return (parameter.ndim > 1 or network.decay_vectors) and (in_head or network.decay_body)


def layout_of(network: nn.Module) -> Layout:
    """The weights of convolutions and linear layers as they lie in the flat vector, in its order.

    The projection that an attention has for its queries, keys and values is three matrices.
    """
    matrices = {}  # by parameter the number of matrices that it is
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            matrices[id(module.weight)] = 1
        elif isinstance(module, nn.MultiheadAttention):
            matrices[id(module.in_proj_weight)] = 3
    pieces, start = [], 0
    for parameter in network.parameters():
        parts = matrices.get(id(parameter), 0)
        for part in range(parts):
            rows, *columns = to_OHWI(parameter).shape
            size, its_start = parameter.numel() // parts, start + part * parameter.numel() // parts
            shape = rows // parts, *sides_of_row(columns)
            pieces.append(Piece(its_start, its_start + size, shape, parameter is network.head.weight))
        start += parameter.numel()
    return tuple(pieces)


def sides_of_row(columns: list[int]) -> tuple[int, ...]:
    """(H, W, I) -> (H W, I) without what is one; anything else as it is."""
    if len(columns) != 3:
        return tuple(columns)
    height, width, channels = columns
    return tuple(entries for entries in (height * width, channels) if entries > 1)


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
    if "layout" in entry.takes:
        fixed["layout"] = flat.layout
    return partial(entry.rule, **fixed)


def accumulated_gradients(
    network: nn.Module,
    flat: FlatParameters,
    batch: Tensor,
    labels: Tensor,
    *,
    criterion: Criterion = functional.cross_entropy,
    feature_penalty: float = 0.0,
) -> Tensor:
    """The loss of a batch; its gradients, and those of a decay on features, are in `flat.gradients`.

    feature_penalty: lambda_H N / 2, of which the mean of ||h_n||^2 over the batch is added: over all batches
    of an epoch the decay lambda_H / 2 sum ||h_n||^2 of Zhu et al. 2021. It is not in the loss returned.
    """
    features = network.features(batch)
    loss = criterion(network.head(features), labels)
    flat.gradients.zero_()
    penalised = loss + feature_penalty * features.square().sum(1).mean() if feature_penalty else loss
    penalised.backward()
    return loss.detach()


def training_step(
    state: State,
    batch: Tensor,
    labels: Tensor,
    learning_rate: float | Tensor,
    *,
    network: nn.Module,
    flat: FlatParameters,
    rule: Callable,
    gradients: Callable = accumulated_gradients,
) -> tuple[State, Tensor]:
    """One step of `rule`: the optimizer's new state, and the loss before it. Nothing waits for the device."""
    loss = gradients(network, flat, batch, labels)
    values, state = rule(flat.values, flat.gradients, state, learning_rate=learning_rate)
    flat.values.copy_(values)
    return state, loss


class Kernels(NamedTuple):
    """What steps and looks at the features are computed by.

    rule: as `update_rule`. gradients: as `accumulated_gradients`. body: of a network's body and images the
    features, None: as the body itself does.
    """

    rule: Callable
    gradients: Callable
    body: Callable | None


PLAIN = Kernels(rule=update_rule, gradients=accumulated_gradients, body=None)


def evaluated_by(kernels: Kernels, network: Network) -> Body | None:
    """What computes a network's features, as `Network.features` takes it."""
    return kernels.body and partial(kernels.body, network.body)


def step_of(
    network: nn.Module,
    flat: FlatParameters,
    rule: Callable,
    gradients: Callable = accumulated_gradients,
    *,
    graphed: bool = True,
) -> Step:
    """`training_step` of a network, on a GPU as a graph where the optimizer can be `graphed`."""
    step = partial(training_step, network=network, flat=flat, rule=rule, gradients=gradients)
    return GraphedSteps(step, [flat.values, *network.buffers()]) if graphed and flat.values.is_cuda else step
