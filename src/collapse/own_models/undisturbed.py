"""Looking at a model without changing it or the training around it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from collapse.own_models.errors import ModelError


@contextmanager
def undisturbed(
    model: nn.Module, *, device: torch.device | str | None, loaders: Iterable[object]
) -> Iterator[None]:
    """In eval mode, without gradients, on a device if one is given; afterwards all is as before.

    That is the mode of every module, the model's device, and the random numbers of PyTorch, NumPy, Python and
    the loaders, which shuffling draws: so a training goes on as if nothing had been looked at. Raises
    ModelError for a device where the model is on several.
    """
    modes = {module: module.training for module in model.modules()}
    places = {tensor.device for tensor in model.parameters()}
    if device is not None and len(places) > 1:
        raise ModelError(f"the model is on several devices, {', '.join(map(str, places))}: leave device out")
    with random_numbers_kept(loaders), torch.no_grad():
        try:
            model.eval()
            if device is not None:
                model.to(device)
            yield
        finally:
            for module, training in modes.items():
                module.training = training
            if device is not None and places:
                model.to(places.pop())


@contextmanager
def random_numbers_kept(loaders: Iterable[object]) -> Iterator[None]:
    """What is drawn meanwhile is not drawn, for whoever comes after."""
    generators = [each for loader in loaders for each in generators_of(loader)]
    states = [each.get_state() for each in generators]
    pythons, numpys = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(pythons)
        np.random.set_state(numpys)
        for each, state in zip(generators, states, strict=True):
            each.set_state(state)


def generators_of(loader: object) -> list[torch.Generator]:
    """Those that a loader and its samplers draw from, where they have their own."""
    batches = getattr(loader, "batch_sampler", None)
    drawers = (loader, getattr(loader, "sampler", None), batches, getattr(batches, "sampler", None))
    found = [getattr(each, "generator", None) for each in drawers]
    return [each for each in found if isinstance(each, torch.Generator)]
