"""Evidence: measured runs of an experiment as a few small files, evidence/{study}/{experiment}/, kept in git.

`collapse evidence` writes them (collapse.commands.evidence) where runs were trained and measured; a study
that says `evidence:` in params.yaml has its two tables made of them (collapse.measuring.collect) and trains
nothing. about.json says on what and by whose code each run was made, which are missing, and the SHA-256 of
the other files.

Apart from what reads the tables because the Snakefile reads this module, and torch takes seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collapse.files.errors import InputError
from collapse.records.provenance import RecordError, read_record, sha256
from collapse.study.parameters import ParameterError

ABOUT = "about.json"
RUNS, HISTORY, STATISTICS = "runs.parquet", "history.parquet", "class_statistics.safetensors"
TABLES = (RUNS, HISTORY, STATISTICS)
CONVENTION = "reported"  # of the metrics, as rule measure has it


class EvidenceError(InputError):
    """Evidence cannot be made, or is not what was made; the message names the file or run and the remedy."""


def evidence_files(parameters: Mapping[str, Any], study: str) -> list[str]:
    """The files that the runs of a study are taken from, none where it trains them. Raises ParameterError."""
    entry = parameters["studies"][study]
    if "evidence" not in entry:
        return []
    folders = [Path(entry["evidence"]) / experiment for experiment in entry["experiments"]]
    files = [folder / name for folder in folders for name in (ABOUT, *TABLES)]
    for file in files:
        if not file.is_file():
            which = f"--study {file.parts[-3]} --experiment {file.parent.name}"
            raise ParameterError(
                f"study {study} is made of {file}, which is not there: `collapse train {which}` on a GPU, "
                f"then `collapse evidence {which}`, make it"
            )
    return [str(file) for file in files]


def require_training(parameters: Mapping[str, Any], study: str) -> None:
    """That the study trains its runs itself. Raises ParameterError."""
    folder = parameters["studies"].get(study, {}).get("evidence")
    if folder is not None:
        raise ParameterError(
            f"study {study} trains nothing, its runs are taken from {folder}; name the study that they are "
            f"of, {Path(folder).name}"
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


def damaged(file: Path) -> EvidenceError:
    words = f"{file} is not what `collapse evidence` wrote there"
    return EvidenceError(f"{words}; `git checkout {file}` brings back what git has")
