"""Evidence: measured runs of an experiment as a few small files, evidence/{study}/{experiment}/, kept in git.

`collapse evidence` writes them (collapse.commands.evidence) where runs were trained and measured; a study
that says `evidence:` in params.yaml has its two tables made of them (collapse.measuring.collect) and trains
nothing. about.json says on what and by whose code each run was made, which are missing, and the SHA-256 of
the other files. Of the experiment `depth` there is one more, what was measured of its checkpoints.

Apart from what reads the tables because the Snakefile reads this module, and torch takes seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from collapse.files.errors import InputError
from collapse.measuring.definitions import columns_since
from collapse.measuring.results import read_runs
from collapse.records.provenance import RecordError, read_record, sha256
from collapse.study.depth import EXPERIMENT
from collapse.study.parameters import ParameterError
from collapse.study.runs import records, run_table
from collapse.study.settings import SETTINGS

ABOUT = "about.json"
RUNS, HISTORY, STATISTICS = "runs.parquet", "history.parquet", "class_statistics.safetensors"
TABLES = (RUNS, HISTORY, STATISTICS)
DEPTH = "depth.parquet"  # of the experiment `depth` alone
CONVENTION = "reported"  # of the metrics, as rule measure has it


NO_RUNS = pd.DataFrame(columns=["key", *SETTINGS])


class EvidenceError(InputError):
    """Evidence cannot be made, or is not what was made; the message names the file or run and the remedy."""


def tables_in(folder: Path) -> tuple[str, ...]:
    """The files beside about.json, {study}/{experiment}/about.json."""
    return (*TABLES, DEPTH) if folder.name == EXPERIMENT else TABLES


def evidence_folders(place: Path) -> list[Path]:
    """The folders of evidence at `place`: {study}/{experiment} or {experiment} inside it."""
    return sorted(about.parent for depth in ("*", "*/*") for about in place.glob(f"{depth}/{ABOUT}"))


def evidence_files(parameters: Mapping[str, Any], study: str) -> list[str]:
    """The files that the runs of a study are taken from, none where it trains them. Raises ParameterError."""
    entry = parameters["studies"][study]
    if "evidence" not in entry:
        return []
    place = Path(entry["evidence"])
    folders = evidence_folders(place)
    if not folders:
        raise ParameterError(
            f"study {study} is made of evidence in {place}, and there is none; `collapse train --study S "
            "--experiment E` on a GPU, then `collapse evidence --study S --experiment E`, make it"
        )
    return [str(folder / name) for folder in folders for name in (ABOUT, *tables_in(folder))]


def measured_experiments(parameters: Mapping[str, Any], study: str) -> dict[str, Any]:
    """The study without the experiments of which its evidence has no run: nothing could be shown of them.

    `depth` has the runs of other experiments, and is left out where it has no evidence of its own. Raises
    ParameterError, EvidenceError.
    """
    entry = parameters["studies"][study]
    if "evidence" not in entry:
        return entry
    table, place = run_table(parameters, study), Path(entry["evidence"])
    known, of_depth = (same_runs(table, runs_in_evidence(place, name)) for name in (None, EXPERIMENT))
    kept = {
        name: its
        for name, its in entry["experiments"].items()
        if table.key[table.experiment == name].isin(of_depth if name == EXPERIMENT else known).any()
    }
    if not kept:
        raise EvidenceError(f"{place} has no run of study {study}; see `collapse runs {study}`")
    return {**entry, "experiments": kept}


def require_training(parameters: Mapping[str, Any], study: str) -> None:
    """That the study trains its runs itself. Raises ParameterError."""
    place = parameters["studies"].get(study, {}).get("evidence")
    if place is not None:
        others = ", ".join(name for name, entry in parameters["studies"].items() if "evidence" not in entry)
        raise ParameterError(
            f"study {study} trains nothing, its runs are taken from {place}; name the study that they are "
            f"of: one of {others}"
        )


def read_about(folder: Path) -> dict[str, Any]:
    """about.json, with the files beside it held against it. Raises EvidenceError."""
    try:
        about = read_record(folder / ABOUT)
    except (RecordError, FileNotFoundError):
        raise damaged(folder / ABOUT) from None
    for name, recorded in about["sha256"].items():
        try:
            found = sha256(folder / name)
        except OSError:
            found = None
        if found != recorded:
            raise damaged(folder / name)
    return about


def definitions_of(about: Mapping[str, Any]) -> int:
    """The definitions (collapse.measuring.definitions) under which evidence was written."""
    return about.get("definitions", 1)


def require_evidence(place: Path) -> None:
    """Raises EvidenceError where there is none: every run would be one that it has not."""
    if not evidence_folders(place):
        raise EvidenceError(f"{place}: no evidence there; name evidence/ or a study of it, as evidence/core")


def runs_in_evidence(place: Path, experiment: str | None = None) -> pd.DataFrame:
    """The runs of all evidence at `place`, evidence/ or evidence/{study}, each once; or of one experiment.

    Raises EvidenceError.
    """
    folders = [folder for folder in evidence_folders(place) if experiment in (None, folder.name)]
    tables = [runs_of(folder) for folder in folders]
    return pd.concat(tables, ignore_index=True).drop_duplicates("key") if tables else NO_RUNS


def runs_of(folder: Path) -> pd.DataFrame:
    """The runs of one experiment's evidence. Raises EvidenceError where a byte of it has changed."""
    about = read_about(folder)
    return read_runs(folder / RUNS, lacking=columns_since(definitions_of(about)))


def same_runs(table: pd.DataFrame, known: pd.DataFrame) -> dict[str, str]:
    """By key in `table`, the key under which `known` has the run with the same settings.

    Keys change with the training protocol; what was measured under an earlier one stays what it is.
    """
    keys = {tuple(row.values()): key for row, key in zip(settings_of(known), known.key, strict=True)}
    found = zip(table.key, settings_of(table), strict=True)
    return {key: keys[values] for key, row in found if (values := tuple(row.values())) in keys}


def settings_of(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """The settings of every run; None where it has no such setting."""
    return records(runs.reindex(columns=list(SETTINGS)))


def under_known_keys(table: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """The same runs; those that `known` has under the keys that they have there."""
    return table.assign(key=table.key.replace(same_runs(table, known)))


def damaged(file: Path) -> EvidenceError:
    words = f"{file} is not what `collapse evidence` wrote there"
    return EvidenceError(f"{words}; `git checkout {file}` brings back what git has")
