"""Several runs as one network: grouped convolutions, one BatchNorm over all channels, a batched head.

A candidate that `candidates.py` times, not a part of the trainer: how a grouped convolution rounds may depend
on the number of groups, and a run's result must not depend on which others were trained beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from collapse.architectures import Network
from collapse.architectures.network import Residual, channels_last
from collapse.architectures.precision import body_autocast


class Stacked(nn.Module):
    """logits (P, N, K) of P networks of one shape on the same images."""

    def __init__(self, networks: Sequence[Network]):
        super().__init__()
        self.num_runs, self.precision = len(networks), networks[0].precision
        self.body = together([network.body for network in networks])
        heads = [network.head for network in networks]
        self.weights = nn.Parameter(torch.stack([head.weight.detach().T for head in heads]))  # (P, p, K)
        self.biases = nn.Parameter(torch.stack([head.bias.detach()[None] for head in heads]))  # (P, 1, K)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        images = images_NCHW.repeat(1, self.num_runs, 1, 1)
        with body_autocast(self.precision, images.device.type):
            features = self.body(channels_last(images))
        features_PNp = features.to(self.weights.dtype).unflatten(1, (self.num_runs, -1)).transpose(0, 1)
        return torch.baddbmm(self.biases, features_PNp, self.weights)


def together(modules: Sequence[nn.Module]) -> nn.Module:
    """P modules of one shape as one, which works on the channels of all beside each other.

    Raises TypeError for a kind of module with parameters that has no such form here.
    """
    first, count = modules[0], len(modules)
    if isinstance(first, nn.Conv2d):
        one = nn.Conv2d(
            count * first.in_channels, count * first.out_channels, first.kernel_size, first.stride,
            first.padding, groups=count, dtype=first.weight.dtype, device=first.weight.device,
        )  # fmt: skip
    elif isinstance(first, nn.BatchNorm2d):
        one = type(first)(count * first.num_features, dtype=first.weight.dtype, device=first.weight.device)
    elif isinstance(first, nn.Sequential):
        return nn.Sequential(*map(together, zip(*modules, strict=True)))
    elif isinstance(first, Residual):
        return Residual(*map(together, zip(*(module.blocks for module in modules), strict=True)))
    elif next(first.parameters(), None) is None:
        return first
    else:
        raise TypeError(f"no stacked form of {type(first).__name__}")
    with torch.no_grad():
        for name, parameter in one.named_parameters():
            parameter.copy_(torch.cat([getattr(module, name) for module in modules]))
    return one


def stacked_step(
    network: Stacked, rule: Callable, **hyperparameters: Tensor
) -> Callable[[dict[str, Any], Tensor, Tensor, float | Tensor], tuple[dict[str, Any], Tensor]]:
    """A step as `training_step` is, for all runs at once; the loss is their mean.

    hyperparameters: of the rule, a column each, (P, 1), a number a run. The step's own learning_rate is a
    factor on theirs.
    """
    rates = hyperparameters.pop("learning_rate")
    parameters = dict(network.named_parameters())

    def step(state, batch, labels, learning_rate):
        logits_PNK = network(batch)
        labels_PN = labels.expand(network.num_runs, -1)
        loss = functional.cross_entropy(logits_PNK.flatten(0, 1), labels_PN.flatten()) * network.num_runs
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        new = {}
        with torch.no_grad():
            for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True):
                of_run = parameter.unflatten(0, (network.num_runs, -1)).flatten(1)  # (P, n), a view
                its = {key.partition("/")[2]: x for key, x in state.items() if key.startswith(f"{name}/")}
                values, its = rule(
                    of_run, gradient.reshape(of_run.shape), its, learning_rate=learning_rate * rates,
                    **hyperparameters,
                )  # fmt: skip
                of_run.copy_(values)
                new |= {f"{name}/{key}": x for key, x in its.items()}
        return new, loss.detach() / network.num_runs

    return step
