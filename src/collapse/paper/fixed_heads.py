"""zhu_table_12: what a fixed head and fewer features cost and keep, a row a head and feature dimension.

Zhu et al. 2021 (arXiv 2105.02375), section 4.3: the head can be fixed as a simplex ETF and the features be as
few as classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd
import torch

from collapse.architectures.initialisation import initial_network
from collapse.optimizers import OPTIMIZERS
from collapse.paper.optimizer_table import fate, mean_and_deviation, seeds_in_words, with_deviation
from collapse.paper.tables import MISSING
from collapse.study.runs import records
from collapse.study.schedules import batches_per_epoch

SETTING = ["architecture", "stem", "dataset", "optimizer", "head", "feature_dimension"]
METRICS = ["test_accuracy", "NC0", "NC1", "NC2", "NC3", "condition"]
LOGARITHMIC = ("NC0", "NC1", "condition")
COSTS = ["parameters", "bytes", "seconds_a_step"]
BYTES_OF_FLOAT = 4


def fixed_head_rows(runs: pd.DataFrame, history: pd.DataFrame, *, optimizers: Sequence[str]) -> pd.DataFrame:
    """A row a network, optimizer, head and feature dimension: means over its valid runs, its seeds.

    Columns: SETTING, learning_rate, weight_decay, valid, seeds, of METRICS each the mean and, as ..._sd, the
    sample deviation (of LOGARITHMIC ones of the logarithms), COSTS, status, keys. condition: s_1 / s_(K-1) of
    the centred class means, 1 at collapse. parameters: that are trained; bytes: of these, their gradients and
    the optimizer's state, and of a head that is not trained.
    """
    shown = runs[runs["optimizer"].isin(optimizers)].merge(condition_of_means(history), on="key", how="left")
    shown = shown.assign(place=shown["optimizer"].map(list(optimizers).index))
    order = shown.sort_values(["architecture", "dataset", "place"], kind="stable")
    rows = [_row(its) for _, its in order.groupby(SETTING, dropna=False, sort=False)]
    means = [each for name in METRICS for each in (name, f"{name}_sd")]
    columns = [*SETTING, "learning_rate", "weight_decay", "valid", "seeds", *means, *COSTS, "status", "keys"]
    return pd.DataFrame(rows, columns=columns)


def condition_of_means(history: pd.DataFrame) -> pd.DataFrame:
    """By key, s_1 / s_(K-1) of the centred class means when they were last measured: the K-th is zero."""
    measured = history[history["measured"].astype(bool)].groupby("key").tail(1)
    values = [np.asarray(its, dtype=float) for its in measured["singular_values_M"]]
    with np.errstate(divide="ignore", invalid="ignore"):
        found = [its[0] / its[min(len(its), _rank(its)) - 1] for its in values]
    return pd.DataFrame({"key": measured["key"], "condition": found})


def _rank(values: np.ndarray) -> int:
    """K - 1, of the K or fewer singular values that centred class means have."""
    return max(len(values) - 1, 1)


def _row(its: pd.DataFrame) -> dict[str, object]:
    first, valid = its.iloc[0], its[its["valid"].astype(bool)]
    row = {name: first[name] for name in (*SETTING, "learning_rate", "weight_decay")}
    row |= {"valid": len(valid), "seeds": len(its)}
    for name in METRICS:
        row[name], row[f"{name}_sd"] = mean_and_deviation(valid[name], log=name in LOGARITHMIC)
    trained, fixed = count_parameters(tuple(sorted(records(its[:1])[0].items(), key=lambda item: item[0])))
    row["parameters"] = trained
    row["bytes"] = BYTES_OF_FLOAT * (trained * (2 + state_vectors(first["optimizer"])) + fixed)
    batches = batches_per_epoch(int(first["train_size"]), int(first["batch_size"]))
    row["seconds_a_step"] = (valid["seconds"] / (valid["epochs_done"] * batches)).astype(float).median()
    return row | {"status": fate(its), "keys": " ".join(valid["key"])}


@cache
def count_parameters(run: tuple[tuple[str, object], ...]) -> tuple[int, int]:
    """How many parameters the network of a run trains, and how many entries a fixed head has."""
    network = initial_network(dict(run))
    trained = sum(parameter.numel() for parameter in network.parameters())
    fixed = sum(buffer.numel() for name, buffer in network.head.named_buffers())
    return trained, fixed


@cache
def state_vectors(optimizer: str) -> int:
    """How many vectors as long as the parameters an optimizer keeps between steps: 1 of SGD, 2 of Adam."""
    entry, values = OPTIMIZERS[optimizer], torch.ones(3)
    coupled = {"coupled_fraction": 0.5 if optimizer == "AdamInterpolated" else None}
    fixed = entry.hyperparameters(momentum=0.9, weight_decay=0.0, beta2=0.99, epsilon=1e-8, **coupled)
    fixed |= {"layout": ()} if "layout" in entry.takes else {}
    _, state = entry.rule(values, values, {}, learning_rate=0.1, **fixed)
    return sum(isinstance(its, torch.Tensor) and its.numel() == values.numel() for its in state.values())


def print_fixed_heads(table: pd.DataFrame) -> pd.DataFrame:
    """`fixed_head_rows` for the eye: each number with its deviation over seeds."""
    printed = pd.DataFrame()
    for names, heading in (("architecture", "Network"), ("dataset", "Dataset")):
        if table[names].nunique() > 1:
            printed[heading] = table[names]
    if table["stem"].notna().any():
        printed["Stem"] = table["stem"].fillna("as published")
    printed["Optimizer"] = table["optimizer"]
    printed["Head"] = table["head"].map({"learned": "learned", "fixed_etf": "fixed ETF"})
    printed["d"] = table["feature_dimension"]
    printed["Seeds"] = [seeds_in_words(row) for row in table.itertuples()]
    headings = {"test_accuracy": "Validation accuracy", "condition": "Condition of M"}
    for name in METRICS:
        pairs = zip(table[name], table[f"{name}_sd"], strict=True)
        printed[headings.get(name, name)] = [
            with_deviation(*pair, log=name in LOGARITHMIC, name=name) for pair in pairs
        ]
    printed["Parameters"] = [f"{count:,}" for count in table["parameters"]]
    printed["Bytes in training"] = [f"{count:,}" for count in table["bytes"]]
    printed["ms a step"] = [
        MISSING if np.isnan(each) else f"{1000 * each:.3g}" for each in table["seconds_a_step"]
    ]
    printed["Note"] = table["status"].where(table["status"] != "valid", "")
    return printed
