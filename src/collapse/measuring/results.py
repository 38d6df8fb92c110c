"""The two tidy tables between training and paper: how they are read, and what they must hold."""

from __future__ import annotations

from collections.abc import Collection
from os import PathLike

import pandas as pd
import pyarrow as pa

from collapse.files.errors import InputError
from collapse.metrics.depth import POINT_METRICS
from collapse.metrics.further import CENTRED
from collapse.metrics.neural_collapse import DIAGNOSTICS, METRICS
from collapse.study.settings import SETTINGS, UNSAID

MEASURES = [*METRICS, *DIAGNOSTICS, *CENTRED]
FIT = ["train_accuracy", "test_accuracy", "train_loss", "test_loss"]
OUTCOME = [
    "status", "reason", "epochs_done", "seconds", "device", "threads", "torch_version", "kernels", "protocol",
]  # fmt: skip
SPECTRA = ["singular_values_W", "singular_values_M"]
RUN_COLUMNS = [
    "experiment", "key", "pack", *SETTINGS, *OUTCOME, "valid", *FIT, *MEASURES,
    *(f"{name}_init" for name in MEASURES), "NC0_closed_form",
]  # fmt: skip
HISTORY_COLUMNS = [
    "key", "epoch", "learning_rate", "measured", "running_loss", *FIT, *MEASURES, "NC0_closed_form",
    *SPECTRA,
]  # fmt: skip
LAYER_METRICS = ["NC1", "NC2", "NC3", "negativity", "balancedness"]
# The tidy tables beside runs and history.
FURTHER = {
    "depth": ["key", "epoch", "view", "point", "depth", "num_features", *POINT_METRICS],
    "layers": [
        "key", "epoch", "layer", "kind", *LAYER_METRICS, "means_rank", "means_gram", "bound_NC1", "bound_NC2",
        "bound_NC3", "condition_last", "condition_tail",
    ],
    "ufm": [
        "optimizer", "learning_rate", "momentum", "weight_decay", "epsilon", "seed", "num_classes",
        "samples_per_class", "num_features", "step", "exposure", "cross_entropy", "objective", "minimum",
        "norm_W", "NC0", "NC1", "NC2", "NC3", "imbalance",
    ],
}  # fmt: skip
DEPTH_COLUMNS = FURTHER["depth"]


def read_runs(path: str | PathLike, *, lacking: Collection[str] = ()) -> pd.DataFrame:
    """runs.parquet: a row a run of an experiment. Raises ValueError for a missing column, InputError.

    lacking: columns that the file may be without, for one that was written before they were there.
    """
    return _read(path, RUN_COLUMNS, lacking)


def with_kernels(table: pd.DataFrame) -> pd.DataFrame:
    """The table with plain kernels where runs have ended and none are recorded: there were no others."""
    if "kernels" not in table:
        table = table.assign(kernels=None)
    lacking = table["kernels"].isna() & table["status"].notna() & (table["status"] != "missing")
    if not lacking.any():
        return table
    return table.assign(kernels=table["kernels"].astype(object).mask(lacking, "plain"))


def with_settings(table: pd.DataFrame) -> pd.DataFrame:
    """The table with what runs do not say of the settings of UNSAID; None and NaN where there is no such.

    A table from before there were these settings lacks them.
    """
    for name, unsaid in UNSAID.items():
        its = table[name] if name in table else pd.Series([unsaid] * len(table), table.index, dtype=object)
        is_text = SETTINGS[name] is str
        table = table.assign(
            **{name: its.astype(object).where(its.notna(), None) if is_text else its.astype(float)}
        )
    return table


def read_history(path: str | PathLike, *, lacking: Collection[str] = ()) -> pd.DataFrame:
    """history.parquet: a row a run and logged epoch, epoch 0 the initialisation. As `read_runs`."""
    return _read(path, HISTORY_COLUMNS, lacking)


def read_depth(path: str | PathLike) -> pd.DataFrame:
    """depth.parquet: a row a run, epoch (0, the initialisation, and the last), view and point."""
    return read_further("depth", path)


def read_further(name: str, path: str | PathLike) -> pd.DataFrame:
    """A table of FURTHER; docs/results.md says what a row of it is."""
    return _read(path, FURTHER[name], ())


def read_results(runs: str | PathLike, history: str | PathLike) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables, joined by `key` where a figure needs it."""
    return read_runs(runs), read_history(history)


def _read(path: str | PathLike, columns: list[str], lacking: Collection[str]) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        words = str(error).splitlines()[0]
        raise InputError(f"{path} cannot be read ({words}); delete it and run again") from None
    if "kernels" in columns and "status" in table:
        table = with_settings(with_kernels(table))
    missing = [name for name in columns if name not in table.columns and name not in lacking]
    if missing:
        raise ValueError(f"{path} lacks the columns {missing}")
    return table
