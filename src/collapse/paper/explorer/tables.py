"""The runs and histories of a study as the explorer's page has them: columns as JSON, curves as float32."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from collapse.measuring.results import FIT, OUTCOME
from collapse.optimizers import OPTIMIZERS
from collapse.paper.figures.style import METRIC_LABELS
from collapse.paper.selection import outcome
from collapse.study.settings import SETTINGS

ENDS = ["NC0", "NC1", "NC2", "NC3", "NC4", *FIT]  # at the end of training
CURVES = ["NC0", "NC1", "NC2", "NC3", "train_loss", "train_accuracy", "test_loss", "test_accuracy"]
DIGITS = 6  # of the numbers of runs


def columns_of_runs(runs: pd.DataFrame) -> dict[str, list]:
    """A column a setting, result or outcome; NaN and infinity are None, numbers have `DIGITS` digits."""
    names = ["experiment", "key", *SETTINGS, *OUTCOME, *ENDS, *(f"{name}_init" for name in ENDS[:5])]
    columns = {name: [plain(value) for value in runs[name]] for name in names if name in runs}
    return columns | {"outcome": outcome(runs).tolist()}


def plain(value: Any) -> Any:
    """A cell as JSON has it: None for what is missing or infinite."""
    if isinstance(value, str | bool):
        return value
    if value is None or pd.isna(value) or not math.isfinite(value):
        return None
    number = float(f"{value:.{DIGITS}g}")
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def curves(history: pd.DataFrame, *, keys: Sequence[str]) -> dict[str, Any]:
    """The epochs at which all was measured, of every run: where each begins, and columns as base64.

    starts: len(keys) + 1 places in the columns; epoch: uint32; each of CURVES: float32, NaN where not
    measured, all little-endian.
    """
    place = {key: number for number, key in enumerate(keys)}
    logged = history[history["measured"].astype(bool) & history["key"].isin(place)]
    logged = logged.assign(run=logged["key"].map(place)).sort_values(["run", "epoch"], kind="stable")
    starts = np.searchsorted(logged["run"].to_numpy(), np.arange(len(keys) + 1))
    columns = {"epoch": logged["epoch"].to_numpy("<u4")}
    columns |= {name: logged[name].to_numpy("<f4") for name in CURVES}
    packed = {name: base64.b64encode(values.tobytes()).decode("ascii") for name, values in columns.items()}
    return {"starts": starts.tolist(), "columns": packed}


def page_data(runs: pd.DataFrame, history: pd.DataFrame) -> dict[str, Any]:
    """All that the page draws: runs by column, curves by key, looks of optimizers, labels of metrics."""
    keys = sorted(set(runs["key"]))
    used = [name for name in OPTIMIZERS if name in set(runs["optimizer"])]
    return {
        "settings": list(SETTINGS),
        "runs": columns_of_runs(runs),
        "keys": keys,
        "curves": curves(history, keys=keys),
        "optimizers": {
            name: {
                "label": OPTIMIZERS[name].label,
                "colour": OPTIMIZERS[name].colour,
                "kind": str(OPTIMIZERS[name].weight_decay_kind),
            }
            for name in used
        },
        "labels": {name: METRIC_LABELS[name] for name in ENDS},
    }
