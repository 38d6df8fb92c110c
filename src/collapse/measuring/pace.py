"""How long trainings and jobs took: what the results of studies say, for a plan of the next one.

A training takes seconds = arithmetic / speed + steps x the cost of a step: Python, and starting a kernel,
cost the same however narrow the network is. A job takes what its work takes and the start of its program.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from collapse.records.provenance import RecordError, read_record

LEAST_RUNS = 8  # fewer tell nothing of two numbers


class Pace(NamedTuple):
    """What a device does in a second, and what cannot be had faster. source: where the numbers are from."""

    flops_per_second: float | None  # None: as images_per_second says
    step_seconds: float
    job_seconds: float  # of a job that trains or measures a pack, beside its work
    target_seconds: float  # of a table's or a figure's job, all of it
    source: str


# One step of ResNet9 of width 0.125 on a GPU as a graph, and jobs of the demo on a CPU.
GUESSED = Pace(None, 5e-5, 6.0, 4.0, "a guess of what steps and jobs cost beside it")


def fitted(flops: Sequence[float], steps: Sequence[int], seconds: Sequence[float]) -> tuple[float, float]:
    """Speed and cost of a step, neither below zero, that explain what trainings took: least squares.

    Relative deviations count, so that short runs weigh as much as long ones.
    """
    taken = np.asarray(seconds, dtype=float)
    parts = np.column_stack([flops, steps]).astype(float) / taken[:, None]
    scale = parts.max(axis=0)
    best, *_ = np.linalg.lstsq(parts / scale, np.ones(len(taken)), rcond=None)
    if (best < 0).any():  # the other one alone
        kept = int(best.argmax())
        alone = parts[:, kept] / scale[kept]
        best = np.zeros(2)
        best[kept] = alone.sum() / (alone @ alone)
    per_flop, per_step = best / scale
    return (1 / per_flop if per_flop else np.inf), float(per_step)


def trained_on(results: Path, *, device: str) -> pd.DataFrame:
    """The trainings in a study's results that ended on a device (a part of its name): key and seconds."""
    files = sorted(results.glob("packs/*/outcomes.parquet"))
    columns = ["key", "status", "seconds", "device"]
    tables = [pd.read_parquet(file).reindex(columns=columns) for file in files]
    every = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)
    here = every.device.astype(str).str.contains(device, case=False, regex=False)
    return every[here & (every.status == "done") & (every.seconds > 0)].drop_duplicates("key")


def beside_training(results: Path) -> pd.Series:
    """By pack, the seconds of its job that no training took, where one job trained all of its runs."""
    found = {}
    for file in sorted((results / "benchmarks/train").glob("*.tsv")):
        outcomes, record = (
            results / f"packs/{file.stem}/outcomes.parquet",
            results / f"lineage/train/{file.stem}.json",
        )
        if not outcomes.exists() or not record.exists():
            continue
        seconds, trained = pd.read_csv(file, sep="\t").s.iloc[0], pd.read_parquet(outcomes).seconds.sum()
        if len(read_record(record)["params"]["runs"]) and seconds > trained:
            found[file.stem] = seconds - trained
    return pd.Series(found, dtype=float)


def seconds_by_rule(results: Path) -> pd.DataFrame:
    """A row a job that left a record: rule and seconds, without the start of its program."""
    rows = []
    for file in sorted((results / "lineage").rglob("*.json")):
        try:
            job = read_record(file)
        except RecordError:
            continue
        rows.append({"rule": job["rule"], "seconds": job["seconds"]})
    return pd.DataFrame(rows, columns=["rule", "seconds"])


def starting_seconds(results: Path) -> float:
    """The median of what the jobs of extract_statistics took beside what their records say: their start."""
    found = []
    for file in sorted((results / "benchmarks/extract_statistics").glob("*.tsv")):
        record = results / f"lineage/extract_statistics/{file.stem}.json"
        if record.exists():
            found.append(pd.read_csv(file, sep="\t").s.iloc[0] - read_record(record)["seconds"])
    return float(np.median(found)) if found else GUESSED.target_seconds


def pace_of(results: Path, *, speed: tuple[float, float], runs: int, device: str) -> Pace:
    """What a study's results say of a device. speed: `fitted` of `runs` trainings there."""
    beside, rules = beside_training(results), seconds_by_rule(results)
    drawn = rules[rules.rule.str.match(r"(table|figure)_\d+$")].seconds
    start = starting_seconds(results)
    return Pace(
        *speed,
        job_seconds=float(beside.median()) if len(beside) else GUESSED.job_seconds,
        target_seconds=start + (float(drawn.median()) if len(drawn) else 0.0),
        source=f"what {runs} trainings and their jobs in {results} took on {device}",
    )
