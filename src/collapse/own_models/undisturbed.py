"""Looking at a model without changing it or the training around it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def undisturbed(
    model: nn.Module, *, device: torch.device | str | None, loaders: Iterable[object]
) -> Iterator[None]:
    """In eval mode, without gradients, on a device if one is given; afterwards all is as before.

    That is the mode of every module, the model's device, and the random numbers of PyTorch, NumPy, Python and
    the loaders, which shuffling draws: so a training goes on as if nothing had been looked at.
    """
    modes = {module: module.training for module in model.modules()}
    places = {tensor.device for tensor in model.parameters()}
    with random_numbers_kept(loaders), torch.no_grad():
        try:
            model.eval()
            if device is not None:
                model.to(device)
            yield
        finally:
            for module, training in modes.items():
                module.training = training
            if device is not None and len(places) == 1:
                model.to(places.pop())


@contextmanager
def random_numbers_kept(loaders: Iterable[object]) -> Iterator[None]:
    """What is drawn meanwhile is not drawn, for whoever comes after."""
    generators = [
        each for loader in loaders for each in (generator_of(loader), generator_of(sampler_of(loader)))
    ]
    generators = [each for each in generators if isinstance(each, torch.Generator)]
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


def generator_of(drawer: object) -> object:
    """The generator that a loader or sampler draws from, where it has its own."""
    return getattr(drawer, "generator", None)


def sampler_of(loader: object) -> object:
    """What chooses a loader's samples, where it has that."""
    return getattr(loader, "sampler", None)
