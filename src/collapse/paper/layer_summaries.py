"""What the table `layers` says of a network as a whole, a row a run and measured epoch (Jacot et al. 2024).

The last features are those that the head sees, of layer L - 1; a pair is a layer and the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from collapse.optimizers import OPTIMIZERS, WeightDecayKind
from collapse.study.schedules import by_epoch, learning_rates_of

AT = ["key", "epoch"]
PASSED_ON = ["bound_NC1", "bound_NC2", "bound_NC3", "condition_last", "condition_tail"]
SUMMARIES = [
    "layer_NC1", "layer_NC2", "layer_NC3", "tail_input_NC2", "tail_balancedness", "relu_balancedness",
    "mean_relu_balancedness", "relu_negativity", *PASSED_ON,
]  # fmt: skip


def summaries(layers: pd.DataFrame) -> pd.DataFrame:
    """By run and epoch: AT, then SUMMARIES; NaN where a network has no such layer or pair.

    layer_NC1, layer_NC2, layer_NC3: of the last features; tail_input_NC2: of the last ReLU layer's.
    tail_balancedness: the largest over pairs of linear layers. relu_balancedness, mean_relu_balancedness: the
    least and the mean over pairs of ReLU layers. relu_negativity: the mean over ReLU layers.
    """
    last = layers.groupby(AT)["layer"].transform("max")
    features = layers[layers["layer"] == last - 1].set_index(AT)
    found = features[["NC1", "NC2", "NC3"]].add_prefix("layer_").join(features[PASSED_ON])
    relu = layers[layers["kind"] == "relu"].sort_values("layer")
    before_tail = relu.groupby(AT).tail(1).set_index(AT)
    numbers = {
        "tail_input_NC2": before_tail["NC2"],
        "tail_balancedness": tail_pairs(layers).groupby(AT)["balancedness"].max(),
        "relu_balancedness": relu_pairs(layers).groupby(AT)["balancedness"].min(),
        "mean_relu_balancedness": relu_pairs(layers).groupby(AT)["balancedness"].mean(),
        "relu_negativity": relu.groupby(AT)["negativity"].mean(),
    }
    return found.join(pd.DataFrame(numbers), how="left").reset_index()[[*AT, *SUMMARIES]]


def tail_pairs(layers: pd.DataFrame) -> pd.DataFrame:
    """The rows of linear layers that another one follows; `pair` counts from 1."""
    its = layers[(layers["kind"] == "linear") & layers["balancedness"].notna()]
    return its.assign(pair=its["layer"] - its.groupby(AT)["layer"].transform("min") + 1)


def relu_pairs(layers: pd.DataFrame) -> pd.DataFrame:
    """The rows of ReLU layers that a ReLU layer follows."""
    relu = layers[layers["kind"] == "relu"]
    return relu[relu["layer"] < relu.groupby(AT)["layer"].transform("max")]


def at_the_end(runs: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """The runs with SUMMARIES of their last measured epoch, NaN where nothing was measured."""
    every = summaries(layers)
    last = every.sort_values("epoch").groupby("key").tail(1).drop(columns="epoch")
    return runs.merge(last, on="key", how="left")


def with_exposure(runs: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """The rows of `layers` that are of the runs, with their optimizer and `exposure_by_epoch`."""
    acted = {run["key"]: exposure_by_epoch(run) for run in runs.to_dict("records")}
    its = layers[layers["key"].isin(acted)]
    found = [acted[key][epoch] for key, epoch in zip(its["key"], its["epoch"], strict=True)]
    return its.assign(exposure=found)


def exposure_by_epoch(run: Mapping[str, Any]) -> np.ndarray:
    """weight_decay * sum of learning rates after 0, 1, ... epochs; of SGD over 1 - momentum.

    By it what is not balanced falls as e^(-2 x) under coupled decay (Jacot et al. 2024).
    """
    sums = by_epoch(np.concatenate([[0.0], np.cumsum(list(learning_rates_of(run)))]), run)
    coupled = OPTIMIZERS[run["optimizer"]].weight_decay_kind is WeightDecayKind.COUPLED
    faster = 1 - run["momentum"] if run["optimizer"] == "SGD" and coupled else 1.0
    return run["weight_decay"] * sums / faster
