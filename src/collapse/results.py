"""The two tidy tables between training and paper: how they are read, and what they must hold."""

from __future__ import annotations

from os import PathLike

import pandas as pd

METRICS = (
    "NC0",
    "NC0_normalised",
    "NC1",
    "NC2",
    "NC2W",
    "NC2M",
    "NC2n",
    "NC2a",
    "NC2Wn",
    "NC2Wa",
    "NC3",
    "NC4",
    "condition_number",
    "effective_rank",
)
SETTING_COLUMNS = (
    "experiment",
    "key",
    "pack",
    "architecture",
    "width",
    "dataset",
    "image_size",
    "train_size",
    "augmentation",
    "optimizer",
    "learning_rate",
    "momentum",
    "weight_decay",
    "coupled_fraction",
    "epochs",
    "batch_size",
    "seed",
)
OUTCOME_COLUMNS = ("status", "reason", "valid", "epochs_done", "seconds")
FIT_COLUMNS = ("train_accuracy", "test_accuracy", "train_loss", "test_loss")
RUN_COLUMNS = (
    *SETTING_COLUMNS,
    *OUTCOME_COLUMNS,
    *FIT_COLUMNS,
    *METRICS,
    *(f"{name}_init" for name in METRICS),
    "NC0_closed_form",
)
HISTORY_COLUMNS = (
    "key",
    "epoch",
    "learning_rate",
    "measured",
    "running_loss",
    *FIT_COLUMNS,
    *METRICS,
    "NC0_closed_form",
    "singular_values_W",
    "singular_values_M",
)


def read_runs(path: str | PathLike) -> pd.DataFrame:
    """runs.parquet: a row a run of an experiment. Raises ValueError for a missing column."""
    return _read(path, RUN_COLUMNS)


def read_history(path: str | PathLike) -> pd.DataFrame:
    """history.parquet: a row a run and logged epoch, epoch 0 the initialisation. As `read_runs`."""
    return _read(path, HISTORY_COLUMNS)


def read_results(runs: str | PathLike, history: str | PathLike) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables, joined by `key` where a figure needs it."""
    return read_runs(runs), read_history(history)


def _read(path: str | PathLike, columns: tuple[str, ...]) -> pd.DataFrame:
    table = pd.read_parquet(path)
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise ValueError(f"{path} lacks the columns {missing}")
    return table
