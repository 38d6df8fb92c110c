"""How far a study's training is: read from the files that its jobs write, while they write them."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from collapse.commands.plan import run_flops
from collapse.measuring.collect import last_measured, stacked, with_validity
from collapse.measuring.evidence_files import require_training
from collapse.paper.tables import fates
from collapse.records.durations import duration
from collapse.study.parameters import load_parameters
from collapse.study.runs import records, run_table, runs_by_pack, unique_runs, valid_accuracies
from collapse.training.pack_files import PackPaths
from collapse.training.pack_lock import holder_lives

DONE, RUNNING, STOPPED, WAITING = "done", "running", "stopped", "waiting"
# A job on another machine of a cluster: its lock cannot be asked, its log tells that it lives.
QUIET_MINUTES = 15


def study_status(table: pd.DataFrame, *, results: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What there is of a run table's trainings in a study's results.

    Returns a row a pack: pack, state (DONE, RUNNING, STOPPED: begun, and nobody is at it, WAITING),
    trained, runs, said (the last line of its log); and a row a trained run: key, status, reason, seconds,
    train_accuracy.
    """
    rows, parts = [], []
    for pack, runs in runs_by_pack(table).items():
        keys = [run["key"] for run in runs]
        trained = trained_runs(pack, keys, results=results)
        said = last_line(results / f"logs/train/{pack}.log")
        if len(trained) == len(keys):
            state = DONE
        elif is_running(pack, results=results):
            state = RUNNING
        else:
            state = STOPPED if said else WAITING
        rows.append({"pack": pack, "state": state, "trained": len(trained), "runs": len(keys), "said": said})
        parts.append(trained)
    numbers = {"seconds": float, "train_accuracy": float}  # where nothing is trained pandas cannot tell
    return pd.DataFrame(rows), pd.concat(parts, ignore_index=True).astype(numbers)


def trained_runs(pack: str, keys: Sequence[str], *, results: Path) -> pd.DataFrame:
    """The runs of a pack that have ended, in its files or those of its unfinished job."""
    folders = [results / "packs" / pack, *(results / "unfinished" / pack).glob("*/")]
    places = [paths for paths in map(PackPaths.inside, folders) if paths.outcomes.exists()]
    outcomes = stacked_or_none([p.outcomes for p in places], ["key", "status", "reason", "seconds"])
    fit = ["train_accuracy", "train_loss"]
    history = stacked_or_none([p.history for p in places], ["key", "epoch", "measured", *fit])
    last = last_measured(history) if len(history) else pd.DataFrame(columns=fit, dtype=float)
    outcomes = outcomes[outcomes.key.isin(keys)].drop_duplicates("key", keep="last")
    return outcomes.assign(**{name: outcomes.key.map(last[name]) for name in fit})


def stacked_or_none(files: Sequence[Path], columns: Sequence[str]) -> pd.DataFrame:
    """`stacked`, of no file a table without rows."""
    return stacked(files, columns) if files else pd.DataFrame(columns=list(columns), dtype=object)


def is_running(pack: str, *, results: Path) -> bool:
    """Whether a job trains the pack, as far as can be seen from here."""
    try:
        lives = holder_lives(results / "unfinished" / pack)
        quiet = time.time() - os.path.getmtime(results / f"logs/train/{pack}.log")
    except OSError:
        return False
    return quiet < 60 * QUIET_MINUTES if lives is None else lives


def last_line(file: Path) -> str:
    """Of a log; nothing where there is none."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def seconds_left(table: pd.DataFrame, trained: pd.DataFrame) -> float:
    """How long one job would train what is left, at the speed of what was trained; NaN if nothing was.

    Speed is arithmetic a second by architecture and width, and of one not yet trained that of all.
    """
    its = records(unique_runs(table))
    runs = pd.DataFrame(its).assign(flops=[run_flops(run) for run in its])
    known = runs.merge(trained[trained.status == "done"], on="key")
    if known.empty:
        return np.nan
    kind = ["architecture", "width"]
    sums = known.groupby(kind)[["flops", "seconds"]].sum()
    speeds = sums.flops / sums.seconds
    left = runs[~runs.key.isin(trained.key)]
    speed = left.join(speeds.rename("speed"), on=kind).speed.fillna(known.flops.sum() / known.seconds.sum())
    return float((left.flops / speed).sum())


def run_counts(table: pd.DataFrame, trained: pd.DataFrame, accuracies: Mapping[str, float]) -> pd.DataFrame:
    """A row an experiment: planned, the `fates` (collapse.paper.tables) of what was trained, and left."""
    ended = with_validity(table.merge(trained, on="key"), accuracies)
    planned = table.groupby("experiment", sort=False).size()
    counts = fates(ended).groupby(ended.experiment).sum().reindex(planned.index, fill_value=0)
    return counts.assign(planned=planned, left=planned - counts.planned).reset_index()


def status_lines(study: str, packs: pd.DataFrame, counts: pd.DataFrame, *, seconds: float) -> list[str]:
    """For the terminal: packs, runs, what runs now and what stopped, and how long it will take."""
    states = packs.state.value_counts()
    tally = [f"{states[state]} {state}" for state in (DONE, RUNNING, STOPPED, WAITING) if state in states]
    lines = [f"study {study}: {len(packs)} packs, {', '.join(tally)}", "", counts.to_string(index=False)]
    for state in (RUNNING, STOPPED):
        for pack in packs[packs.state == state].itertuples():
            lines += ["", f"{state}  {pack.pack}  {pack.trained} of {pack.runs} runs", f"  {pack.said}"]
    if (packs.state != DONE).any():
        at_once = max(1, int(states.get(RUNNING, 0)))
        unknown = np.isnan(seconds)
        known = "not known, no run is done" if unknown else duration(seconds / at_once)
        lines += ["", f"left to train: {known}" + ("" if unknown else f", {at_once} at a time")]
    return lines


def run(arguments: argparse.Namespace) -> int:
    """Print. Returns the exit status. Raises ParameterError, PackFileError."""
    parameters: dict[str, Any] = load_parameters(arguments.params)
    require_training(parameters, arguments.study)
    table = run_table(parameters, arguments.study)
    packs, trained = study_status(table, results=arguments.results / arguments.study)
    counts = run_counts(table, trained, valid_accuracies(parameters, arguments.study))
    print("\n".join(status_lines(arguments.study, packs, counts, seconds=seconds_left(table, trained))))
    return 0
