"""Learning-rate schedules: pure functions of the epoch. To add one: a function and an entry in SCHEDULES."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def milestones(epochs: int) -> tuple[int, int]:
    """The epochs at which the paper divides the learning rate by ten: int(E/3) and int(2E/3)."""
    return int(epochs / 3), int(2 * epochs / 3)


def thirds(epoch: int, epochs: int) -> float:
    """The factor on the learning rate in epoch 0, 1, ... (paper, section 3.1; Papyan et al. 2020)."""
    return 0.1 ** sum(epoch >= milestone for milestone in milestones(epochs))


def constant(epoch: int, epochs: int) -> float:
    """No schedule: the factor is 1 throughout."""
    return 1.0


def cosine_warmup(epoch: int, epochs: int) -> float:
    """A linear rise over the first 5% of the epochs, then half a cosine towards 0 (the paper's ViT)."""
    warmup = max(1, round(0.05 * epochs))
    if epoch < warmup:
        return (epoch + 1) / warmup
    return (1 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup))) / 2


def fifths(epoch: int, epochs: int) -> float:
    """Divided by ten at epochs int(E/5), int(2E/5), ...: every 40 of 200 (Zhu et al. 2021)."""
    return 0.1 ** sum(epoch >= int(part * epochs / 5) for part in range(1, 5))


def last_fifth(epoch: int, epochs: int) -> float:
    """Divided by ten for the last fifth of the epochs (Jacot et al. 2024)."""
    return 0.1 if epoch >= int(0.8 * epochs) else 1.0


SCHEDULES: dict[str, Callable[[int, int], float]] = {
    "thirds": thirds,
    "constant": constant,
    "cosine_warmup": cosine_warmup,
    "fifths": fifths,
    "last_fifth": last_fifth,
}


def is_measured(epoch: int, *, epochs: int, measure_every: int) -> bool:
    """Whether the features are looked at after `epoch`, 0 being initialisation, `epochs` the end.

    After 1, 2, 4, ... epochs, where most happens, until every `measure_every`-th is due; and at both ends.
    """
    early = epoch < measure_every and epoch & (epoch - 1) == 0  # 0 or a power of two
    return early or epoch % measure_every == 0 or epoch == epochs


def batches_per_epoch(num_samples: int, batch_size: int) -> int:
    """Batches an epoch, the last smaller one kept: 469 for 60,000 samples in batches of 128."""
    return math.ceil(num_samples / batch_size)


def step_learning_rates(
    *, learning_rate: float, schedule: str, epochs: int, num_samples: int, batch_size: int
) -> Iterator[float]:
    """The learning rate of every single optimizer step of a run, in order."""
    factor = SCHEDULES[schedule]
    for epoch in range(epochs):
        rate = learning_rate * factor(epoch, epochs)
        for _ in range(batches_per_epoch(num_samples, batch_size)):
            yield rate


def learning_rates_of(run: Mapping[str, Any]) -> Iterator[float]:
    """`step_learning_rates` of a row of the run table."""
    return step_learning_rates(
        learning_rate=run["learning_rate"],
        schedule=run["schedule"],
        epochs=int(run["epochs"]),
        num_samples=int(run["train_size"]),
        batch_size=int(run["batch_size"]),
    )


def by_epoch(values: np.ndarray, run: Mapping[str, Any]) -> np.ndarray:
    """Of values after 0, 1, ... steps of a run those after 0, 1, ... epochs."""
    return values[:: batches_per_epoch(int(run["train_size"]), int(run["batch_size"]))]


def sum_of_schedule(*, schedule: str, epochs: int, num_samples: int, batch_size: int) -> float:
    """Sum over all steps of the schedule's factor: what weight decay accumulates against.

    34,411 for the paper's 200 epochs of 469 steps. A scaled-down study multiplies the paper's weight
    decays by the ratio of the two sums, so that weight_decay * sum(learning_rate) is the paper's.
    """
    factor = SCHEDULES[schedule]
    steps = batches_per_epoch(num_samples, batch_size)
    return steps * sum(factor(epoch, epochs) for epoch in range(epochs))
