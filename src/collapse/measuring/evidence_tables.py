"""What a folder of evidence (collapse.measuring.evidence_files) holds, read and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor

from collapse.measuring.definitions import (
    DEFINITIONS,
    columns_since,
    history_as_defined_now,
    runs_as_defined_now,
)
from collapse.measuring.evidence_files import (
    ABOUT,
    CONVENTION,
    DEPTH,
    HISTORY,
    RUNS,
    STATISTICS,
    EvidenceError,
    definitions_of,
    read_about,
    tables_in,
)
from collapse.measuring.measurement import measured, split
from collapse.measuring.results import read_depth, read_history, read_runs
from collapse.metrics.further import CENTRED
from collapse.metrics.neural_collapse import METRICS
from collapse.records.provenance import sha256, write_record
from collapse.training.pack_files import (
    of_run,
    read_tensors,
    save_table,
    save_tensors,
    tensors_of,
    unwritable,
)

# Of a metric that is computed anew: another machine's linear algebra rounds otherwise in the last digits.
SAME = {"rtol": 1e-6, "atol": 1e-12, "equal_nan": True}


class Evidence(NamedTuple):
    """Measured runs of an experiment.

    runs, history: their rows of the two tidy tables. statistics: the class statistics at the end,
    `{key}/{name}`. made: by key, in words what run it is, on what and by whose code it was made. depth: their
    rows of depth.parquet, of the experiment `depth` alone.
    """

    runs: pd.DataFrame
    history: pd.DataFrame
    statistics: dict[str, Tensor]
    made: dict[str, dict[str, Any]]
    depth: pd.DataFrame | None = None


def read_evidence(folder: Path) -> Evidence:
    """The evidence of an experiment, its metrics as the code defines them now.

    Raises EvidenceError where a byte of it has changed.
    """
    about = read_about(folder)
    definitions = definitions_of(about)
    lacking = columns_since(definitions)
    runs = read_runs(folder / RUNS, lacking=lacking)
    history = read_history(folder / HISTORY, lacking=lacking)
    statistics = read_tensors(folder / STATISTICS)
    history = history_as_defined_now(history, definitions=definitions)
    final = final_metrics(statistics) if lacking else {}
    runs = runs_as_defined_now(runs, history, final=final, definitions=definitions)
    depth = read_depth(folder / DEPTH) if DEPTH in tables_in(folder) else None
    return Evidence(runs, history, statistics, about["runs"], depth)


def final_metrics(statistics: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
    """By key, what the class statistics at the end give."""
    arrays = {name: tensor.numpy() for name, tensor in statistics.items()}
    return {key: measured(found, CONVENTION) for key, found in split(arrays)}


def write_evidence(
    evidence: Evidence, folder: Path, *, study: str, experiment: str, missing: Mapping[str, str]
) -> None:
    """Write the files, about.json last: it says what the others are. The same runs give the same bytes.

    missing: in words by key, the runs of the experiment that are not there. Raises PackFileError.
    """
    save_table(evidence.runs, folder / RUNS)
    save_table(evidence.history, folder / HISTORY)
    save_tensors(evidence.statistics, folder / STATISTICS)
    if evidence.depth is not None:
        save_table(evidence.depth, folder / DEPTH)
    about = {
        "study": study,
        "experiment": experiment,
        "convention": CONVENTION,
        "definitions": DEFINITIONS,
        "runs": evidence.made,
        "missing": dict(missing),
        "sha256": {name: sha256(folder / name) for name in tables_in(folder)},
    }
    try:
        write_record(folder / ABOUT, about)
    except OSError as error:
        raise unwritable(folder / ABOUT, error) from None


def only(evidence: Evidence, keys: Sequence[str]) -> Evidence:
    """The same of some runs alone, in their order."""

    def of_keys(table: pd.DataFrame) -> pd.DataFrame:
        return pd.concat([table[table.key == key] for key in keys], ignore_index=True)

    return Evidence(
        of_keys(evidence.runs),
        of_keys(evidence.history),
        {name: tensor for key in keys for name, tensor in tensors_of(evidence.statistics, key)},
        {key: evidence.made[key] for key in keys},
        None if evidence.depth is None else of_keys(evidence.depth),
    )


def both(one: Evidence, other: Evidence) -> Evidence:
    """The runs of two, which have none in common."""
    return Evidence(
        pd.concat([one.runs, other.runs], ignore_index=True),
        pd.concat([one.history, other.history], ignore_index=True),
        one.statistics | other.statistics,
        one.made | other.made,
        None if one.depth is None else pd.concat([one.depth, other.depth], ignore_index=True),
    )


def require_same_metrics(evidence: Evidence) -> None:
    """That the final metrics are those of the class statistics, computed anew. Raises EvidenceError."""
    for run in evidence.runs[evidence.runs.status == "done"].to_dict("records"):
        found = {name: tensor.numpy() for name, tensor in of_run(evidence.statistics, run["key"]).items()}
        if not found:
            raise EvidenceError(f"run {run['key']} was done, and {STATISTICS} has nothing of it")
        again = measured(found, CONVENTION)
        for name in (*METRICS, *CENTRED):
            if not np.isclose(run[name], again[name], **SAME):
                raise EvidenceError(
                    f"{name} of run {run['key']} is {run[name]!r} in {RUNS}, {again[name]!r} by its class "
                    "statistics and the code here; delete history_metrics.parquet of its pack, and "
                    "`collapse train` and `collapse evidence` make them anew"
                )
