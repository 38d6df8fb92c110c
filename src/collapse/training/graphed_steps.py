"""Optimizer steps on a GPU, launched at once: each is captured as a CUDA graph and replayed on new batches.

A step is a hundred small kernels, whose launching takes longer than they do. The graph has the same kernels
in the same order, and is held against a step without it before it is trusted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger(__name__)
WARM_UP = 3  # steps before the first capture, in which libraries make what they need
# Of what the captured step may differ from the plain one, in parts of the step's length: rounding.
TOLERANCE = 1e-3
State = dict[str, Any]
Step = Callable[[State, Tensor, Tensor, "float | Tensor"], tuple[State, Tensor]]


def cuda_graph(work: Callable[[], None]) -> Callable[[], None]:
    """The work, recorded without doing it: calling the result does it, on the same memory."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def on_device(x: Tensor | float, device: torch.device) -> Tensor:
    """A tensor as it is, a number as one."""
    return x if isinstance(x, Tensor) else torch.tensor(x, dtype=torch.float64, device=device)


class CapturedStep:
    """`step` on batches of one size: what it reads and writes keeps its place in memory."""

    def __init__(
        self, step: Step, state: State, batch: Tensor, labels: Tensor, rate: Tensor, *, capture: Callable
    ):
        self.batch, self.labels = batch.clone(), labels.clone()
        self.state = {name: x.clone() for name, x in state.items()}
        self.loss = torch.zeros((), dtype=torch.float32, device=batch.device)

        def work() -> None:
            new, loss = step(self.state, self.batch, self.labels, rate)
            for name, x in new.items():
                self.state[name].copy_(x)
            self.loss.copy_(loss)

        self.replay = capture(work)

    def __call__(self, state: State, batch: Tensor, labels: Tensor) -> tuple[State, Tensor]:
        self.batch.copy_(batch)
        self.labels.copy_(labels)
        if state is not self.state:
            for name, x in state.items():
                self.state[name].copy_(x)
        self.replay()
        return self.state, self.loss


def move(tensors: Sequence[Tensor], to: Sequence[Tensor]) -> None:
    """Give tensors other values where they lie."""
    for x, value in zip(tensors, to, strict=True):
        x.copy_(value)


class GraphedSteps:
    """A `step` as `training_step` is, captured for every size of batch once the first steps are done.

    Where a graph cannot be made, or does not do what the step does, the steps go on without, with a warning.
    moved: all that a step changes beside its state; by the first of it a graph is held against the step.
    capture: makes a replay of the work it is given; a test without a GPU gives one that does it again.
    """

    def __init__(self, step: Step, moved: Sequence[Tensor], *, capture: Callable = cuda_graph):
        self.step, self.moved, self.capture = step, moved, capture
        self.captured: dict[int, CapturedStep | None] = {}
        self.warm_up = WARM_UP
        self.rate = on_device(0.0, moved[0].device)

    def __call__(
        self, state: State, batch: Tensor, labels: Tensor, learning_rate: float
    ) -> tuple[State, Tensor]:
        self.rate.fill_(learning_rate)
        if self.warm_up:
            self.warm_up -= 1
            return self.plain(state, batch, labels)
        if len(batch) not in self.captured:
            return self.captured_and_held_against(state, batch, labels)
        return (self.captured[len(batch)] or self.plain)(state, batch, labels)

    def plain(self, state: State, batch: Tensor, labels: Tensor) -> tuple[State, Tensor]:
        """The step without a graph, its numbers on the device as in one: they round otherwise elsewhere."""
        state, loss = self.step(state, batch, labels, self.rate)
        return {name: on_device(x, self.rate.device) for name, x in state.items()}, loss

    def captured_and_held_against(self, state: State, batch: Tensor, labels: Tensor) -> tuple[State, Tensor]:
        """Take the step, take it back, take it as a graph and take that back: the former stays.

        In this order a kernel that only this size of batch needs is loaded before the capture, which forbids
        loading.
        """
        before = [x.clone() for x in self.moved]
        self.captured[len(batch)] = None
        taken = self.plain(
            {name: on_device(x, self.rate.device).clone() for name, x in state.items()}, batch, labels
        )
        after = [x.clone() for x in self.moved]
        move(self.moved, before)
        try:
            graph = CapturedStep(self.step, state, batch, labels, self.rate, capture=self.capture)
            graph(state, batch, labels)
        except (RuntimeError, torch.AcceleratorError) as error:
            log.warning("no CUDA graph of a step (%s): training goes on without", str(error).splitlines()[0])
            graph = None
        found = self.moved[0].clone()
        move(self.moved, after)
        if graph is None:
            return taken
        length = (self.moved[0] - before[0]).norm()
        if (difference := (found - self.moved[0]).norm()) <= TOLERANCE * length:
            self.captured[len(batch)] = graph
        else:
            log.warning(
                "a CUDA graph differs from its step by %.2g of its length: training goes on without",
                (difference / length).item(),
            )  # fmt: skip
        return taken
