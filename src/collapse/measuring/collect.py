"""The two tidy tables between training and paper: `runs` and `history` (columns: README.md)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from collapse.measuring.evidence_files import NO_RUNS, same_runs, under_known_keys
from collapse.measuring.evidence_tables import read_evidence, require_same_metrics
from collapse.measuring.results import (
    FIT,
    HISTORY_COLUMNS,
    MEASURES,
    OUTCOME,
    RUN_COLUMNS,
    SPECTRA,
    with_kernels,
)
from collapse.study.known_nc0 import nc0_ratio_by_epoch
from collapse.study.runs import unique_runs
from collapse.training.pack_files import PackFileError, read_table, save_table

log = logging.getLogger(__name__)
HEAD = ["NC0", "NC0_normalised", "singular_values_W"]
# What is read of each table of a pack.
TRAINED_COLUMNS = ["key", "epoch", "learning_rate", "measured", "running_loss", *FIT, *HEAD]
OF_OUTCOMES = ["key", *OUTCOME]
OF_METRICS = ["key", *MEASURES]
OF_HISTORY_METRICS = ["key", "epoch", *MEASURES, *SPECTRA]
LOSS_OF_ZERO = 0.5  # of outputs that are zero, under squared loss
WHOLE_NUMBERS = ["epochs_done", "threads", "protocol"]  # which a run that is missing has not


def collect(
    table: pd.DataFrame,
    *,
    histories: Sequence[Path],
    outcomes: Sequence[Path],
    metrics: Sequence[Path],
    history_metrics: Sequence[Path],
    evidence: Sequence[Path],
    valid_accuracies: Mapping[str, float],
    runs_file: Path,
    history_file: Path,
) -> None:
    """Join the packs' tables, or those of evidence, into runs.parquet and history.parquet.

    evidence: the files that a study's runs are taken from, none where it trains them. Raises
    PackFileError and EvidenceError.
    """
    if evidence:
        runs, history = taken_over(table, dict.fromkeys(Path(file).parent for file in evidence))
    else:
        ended = stacked(outcomes, OF_OUTCOMES)
        require_all(table, ended, packs=Path(outcomes[0]).parents[1])
        runs, history = joined(
            table,
            histories=stacked(histories, TRAINED_COLUMNS),
            outcomes=ended,
            metrics=stacked(metrics, OF_METRICS),
            history_metrics=stacked(history_metrics, OF_HISTORY_METRICS),
        )
    runs = with_validity(runs, valid_accuracies)[RUN_COLUMNS]
    log.info("%s", ", ".join(f"{n} {status}" for status, n in runs.status.value_counts().items()))
    save_table(runs, runs_file)
    save_table(history, history_file)


def require_all(table: pd.DataFrame, outcomes: pd.DataFrame, *, packs: Path) -> None:
    """That every run has ended somehow. Raises PackFileError."""
    lost = table[~table.key.isin(outcomes.key[outcomes.status.notna()])]
    if len(lost):
        lacking = " ".join(f"{packs / pack}/outcomes.parquet" for pack in lost.pack.unique())
        raise PackFileError(
            f"no outcome of run {lost.key.iloc[0]}: the files of its pack are of other runs; "
            f"snakemake --forcerun {lacking} trains what is missing"
        )


def joined(
    table: pd.DataFrame,
    *,
    histories: pd.DataFrame,
    outcomes: pd.DataFrame,
    metrics: pd.DataFrame,
    history_metrics: pd.DataFrame,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs, still without `valid`, and history: a run table and the packs' tables, all below each other."""
    history = with_closed_form(with_metrics(histories, history_metrics), unique_runs(table))[HISTORY_COLUMNS]
    runs = table.merge(with_kernels(outcomes), on="key", how="left", validate="m:1")
    for columns in (
        last_measured(history)[FIT],
        metrics.set_index("key"),
        history[history.epoch == 0].set_index("key")[MEASURES].add_suffix("_init"),
        history.groupby("key").tail(1).set_index("key").NC0_closed_form,
    ):
        runs = runs.merge(columns, left_on="key", right_index=True, how="left", validate="m:1")
    runs.loc[runs.status != "done", FIT] = np.nan  # what was last seen on the way is not the end
    return runs, history


def taken_over(table: pd.DataFrame, folders: Iterable[Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """As `joined`, from folders of evidence. A run that none of them has is missing, and says so.

    Runs are found by their settings and keep the keys under which they were trained. A run that several
    folders have is the first one's. Raises EvidenceError.
    """
    known, histories = NO_RUNS, []
    for folder in folders:
        found = read_evidence(folder)
        require_same_metrics(found)
        new = found.runs[~found.runs.key.isin(same_runs(found.runs, known))]
        known = pd.concat([known, new], ignore_index=True) if len(known) else new
        histories.append(found.history[found.history.key.isin(new.key)])
    table = under_known_keys(table, known)
    history = pd.concat(histories, ignore_index=True)
    return on_run_table(table, known), history[history.key.isin(table.key)].reset_index(drop=True)


def on_run_table(table: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """The runs of a table with what `known`, runs collected elsewhere, has of them; still without `valid`."""
    found = known[["key", *(name for name in RUN_COLUMNS if name not in (*table, "valid"))]]
    runs = table.merge(found, on="key", how="left", validate="m:1")
    if (missing := runs.status.isna()).any():
        runs.loc[missing, ["status", "reason"]] = "missing", "not measured yet"
        runs = runs.astype(dict.fromkeys(WHOLE_NUMBERS, "Int64"))
    # That a run is undertrained was said by the bar of where it was collected.
    return runs.assign(reason=runs.reason.mask(runs.status == "done", ""))


def stacked(files: Iterable[Path], columns: Sequence[str]) -> pd.DataFrame:
    """The tables of all packs below each other; a column that a table lacks is empty there."""
    return pd.concat(
        [read_table(file).reindex(columns=columns).astype({"key": object}) for file in files],
        ignore_index=True,
    )


def with_metrics(history: pd.DataFrame, on_the_way: pd.DataFrame) -> pd.DataFrame:
    """Adds the metrics of the measured epochs; between them what the last layer told stays."""
    at = ["key", "epoch"]
    joined = history.merge(on_the_way, on=at, how="left", validate="1:1", suffixes=("_trained", ""))
    for name in HEAD:
        joined[name] = joined[name].where(joined[name].notna(), joined[f"{name}_trained"])
    return joined


def last_measured(history: pd.DataFrame) -> pd.DataFrame:
    """By key, the last row of the history in which the features were measured."""
    return history[history.measured.astype(bool)].groupby("key").tail(1).set_index("key")


def with_validity(runs: pd.DataFrame, valid_accuracies: Mapping[str, float]) -> pd.DataFrame:
    """Adds `valid`, and to runs that were done but are not valid the reason.

    valid_accuracies: the training accuracy that a valid run reaches, by experiment. Under squared loss a run
    whose outputs went to zero is not valid either: its loss is 1/2.
    """
    done = runs.status == "done"
    collapsed = done & (runs.loss == "squared") & ~(runs.train_loss < LOSS_OF_ZERO - 0.01)
    wanted = runs.experiment.map(valid_accuracies).astype(float)
    # Not >=: an accuracy that is missing must not pass.
    undertrained = done & ~(runs.train_accuracy >= wanted)
    why = [
        f"undertrained: training accuracy {accuracy:.4f} < {least:g}"
        for accuracy, least in zip(runs.train_accuracy, wanted, strict=True)
    ]
    to_zero = [f"collapsed to zero: training loss {loss:.4f}" for loss in runs.train_loss]
    reason = runs.reason.mask(undertrained, why).mask(collapsed, to_zero).fillna("")
    return runs.assign(valid=done & ~undertrained & ~collapsed, reason=reason)


def with_closed_form(history: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Adds NC0_closed_form, known before training under the optimizers of NC0_RATIOS; NaN elsewhere."""
    settings = runs.set_index("key").to_dict("index")
    history = history.assign(NC0_closed_form=np.nan)
    for key, rows in history.groupby("key", sort=False):
        ratios = nc0_ratio_by_epoch(settings[key])
        if ratios is not None and not rows.empty:
            start = rows.NC0[rows.epoch == 0].iloc[0]
            history.loc[rows.index, "NC0_closed_form"] = start * ratios[rows.epoch]
    return history
