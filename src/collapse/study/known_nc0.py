"""NC0 that theory knows before training: the closed forms over the schedule of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from collapse.study.schedules import by_epoch, learning_rates_of
from collapse.study.settings import said
from collapse.theory.closed_forms import NC0_RATIOS


def nc0_ratio_by_epoch(run: Mapping[str, Any]) -> np.ndarray | None:
    """NC0 / NC0(0) after 0, 1, ... epochs in closed form; None where there is none.

    It needs that the loss has gradients of W with a row sum of zero, and that W is trained.
    """
    closed_form = NC0_RATIOS.get(run["optimizer"])
    if said(run, ("loss", "head")):
        return None
    return None if closed_form is None else ratio_by_epoch(run, closed_form)


def ratio_by_epoch(run: Mapping[str, Any], closed_form: Callable[..., np.ndarray]) -> np.ndarray:
    """A closed form of collapse.theory.closed_forms after 0, 1, ... epochs of a run's schedule."""
    how = {"momentum": run["momentum"], "weight_decay": run["weight_decay"]}
    return by_epoch(closed_form(learning_rates_of(run), **how), run)
