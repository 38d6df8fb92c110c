"""NC0 that theory knows before training: the closed forms over the schedule of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from collapse.study.schedules import batches_per_epoch, step_learning_rates
from collapse.study.settings import UNSAID
from collapse.theory.closed_forms import NC0_RATIOS


def nc0_ratio_by_epoch(run: Mapping[str, Any]) -> np.ndarray | None:
    """NC0 / NC0(0) after 0, 1, ... epochs in closed form; None where there is none.

    It needs that the loss has gradients of W with a row sum of zero, and that W is trained.
    """
    closed_form = NC0_RATIOS.get(run["optimizer"])
    if any(run.get(name, UNSAID[name]) != UNSAID[name] for name in ("loss", "head")):
        return None
    return None if closed_form is None else ratio_by_epoch(run, closed_form)


def ratio_by_epoch(run: Mapping[str, Any], closed_form: Callable[..., np.ndarray]) -> np.ndarray:
    """A closed form of collapse.theory.closed_forms after 0, 1, ... epochs of a run's schedule."""
    rates = step_learning_rates(
        learning_rate=run["learning_rate"],
        schedule=run["schedule"],
        epochs=int(run["epochs"]),
        num_samples=int(run["train_size"]),
        batch_size=int(run["batch_size"]),
    )
    ratios = closed_form(rates, momentum=run["momentum"], weight_decay=run["weight_decay"])
    return ratios[:: batches_per_epoch(int(run["train_size"]), int(run["batch_size"]))]
