"""The input of a model's last linear layer, taken while the model runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from collapse.own_models.batches import Batch, moved
from collapse.own_models.errors import ModelError

BY_HAND = "or take the features yourself: collapse.CollapseMetrics"


def unwrapped(model: nn.Module) -> nn.Module:
    """The module that torch.compile, DataParallel and the like are around: they hide hooks."""
    parallel = nn.DataParallel, nn.parallel.DistributedDataParallel
    while isinstance(model, parallel) or hasattr(model, "_orig_mod"):
        model = model.module if isinstance(model, parallel) else model._orig_mod
    return model


def linear_layers(model: nn.Module, head: str | None) -> dict[str, nn.Linear]:
    """Those that may be the last one: all, or the one that is named. Raises ModelError."""
    known = {name: each for name, each in model.named_modules() if isinstance(each, nn.Linear)}
    if not known:
        raise ModelError(f"{type(model).__name__} has no nn.Linear; {BY_HAND}")
    if head is None:
        return known
    if head not in known:
        there = "is no nn.Linear" if head in dict(model.named_modules()) else "is not there"
        names = ", ".join(list(known)[-8:])
        raise ModelError(f"head {head!r} {there}; {type(model).__name__} has {names}")
    return {head: known[head]}


class Features:
    """Runs a model on batches and gives the input of its last linear layer.

    Which layer is the last to run is seen on the first batch, unless `head` names it.
    """

    def __init__(self, model: nn.Module, head: str | None) -> None:
        self.model = model
        self.candidates = linear_layers(model, head)
        self.name: str | None = head
        parameters = [each for each in model.parameters() if each.is_floating_point()]
        self.device = parameters[0].device
        dtypes = {each.dtype for each in parameters}
        # A model that is bfloat16 throughout wants its images in bfloat16.
        self.dtype = dtypes.pop() if len(dtypes) == 1 else None

    @property
    def layer(self) -> nn.Linear:
        """The last linear layer, once it is known."""
        return self.candidates[self.name]

    def of(self, batch: Batch, *, loader: str) -> Tensor:
        """The features of a batch, B x p, as the model computes them. Raises ModelError."""
        if self.name is None:
            self.name = self.last_to_run(batch)
        if self.layer.out_features < 2:
            raise ModelError(
                f"head {self.name!r} has one output; a row for each class is needed, two or more"
            )
        inputs = [each for name, each in self.run(batch) if name == self.name]
        if len(inputs) != 1:
            times = f"runs {len(inputs)} times" if inputs else "does not run"
            raise ModelError(f"head {self.name!r} {times} in a forward pass; name another, {BY_HAND}")
        features = inputs[0]
        rows = features.reshape(features.shape[0], -1) if features.ndim > 2 else features
        if rows.ndim != 2 or rows.shape[1] != self.layer.in_features:
            raise ModelError(
                f"head {self.name!r} gets inputs of shape {tuple(features.shape)} ({loader}), not one row a "
                f"sample; name a layer after the pooling, {BY_HAND}"
            )
        return rows

    def last_to_run(self, batch: Batch) -> str:
        """The name of the linear layer that runs last. Raises ModelError."""
        names = [name for name, _ in self.run(batch)]
        if not names:
            raise ModelError(f"no nn.Linear of {type(self.model).__name__} runs; {BY_HAND}")
        return names[-1]

    def run(self, batch: Batch) -> list[tuple[str, Tensor]]:
        """One forward pass: the layers looked at in the order in which they ran, with their inputs."""
        watched = self.candidates if self.name is None else {self.name: self.layer}
        with inputs_of(watched) as seen:
            args, kwargs = (moved(each, self.device, self.dtype) for each in (batch.args, batch.kwargs))
            self.model(*args, **kwargs)
        return seen


@contextmanager
def inputs_of(layers: dict[str, nn.Linear]) -> Iterator[list[tuple[str, Tensor]]]:
    """Fills a list with (name, input) of layers that run meanwhile; no hook is left behind."""
    seen: list[tuple[str, Tensor]] = []

    def hook(name: str):
        def look(layer: nn.Linear, args: tuple, kwargs: dict) -> None:
            seen.append((name, (args[0] if args else kwargs["input"]).detach()))

        return look

    handles = [
        layer.register_forward_pre_hook(hook(name), with_kwargs=True) for name, layer in layers.items()
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def sums_device(tensor: Tensor) -> torch.device:
    """Where its sums in float64 are made: beside it, but for Apple's GPUs, which have no float64."""
    return torch.device("cpu") if tensor.device.type == "mps" else tensor.device


def in_float64(tensor: Tensor) -> Tensor:
    """A copy of its own in float64, which may be overwritten."""
    return tensor.detach().to(sums_device(tensor)).to(torch.float64, copy=True)
