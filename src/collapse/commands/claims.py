"""`collapse claims`: the paper's claims, judged on a study's results."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from collapse.measuring.results import read_depth, read_results
from collapse.paper.claims.table import judged_claims, terminal_lines
from collapse.paper.scale import face_note, scale_notes
from collapse.paper.targets import target_settings
from collapse.paper.theorem_table import theorem_table
from collapse.study.families import family_of
from collapse.study.parameters import ParameterError, load_parameters


def run(arguments: argparse.Namespace) -> int:
    """Judge the study and print. Returns the exit status. Raises ParameterError."""
    parameters = load_parameters(arguments.params)
    if arguments.study not in parameters["studies"]:
        known = ", ".join(parameters["studies"])
        raise ParameterError(f"unknown study {arguments.study!r}; one of {known}")
    results = arguments.results / arguments.study
    study = parameters["studies"][arguments.study]
    if family_of(study).prefix:  # judged by the workflow, which has all that they read
        table = pd.read_csv(existing(results / "tables/claims.csv", arguments.study))
        return show(arguments, table.fillna({"changes": "", "words": ""}), None)
    files = [results / f"{name}.parquet" for name in ("runs", "history", "depth")]
    files.append(results / "tables/table_102.csv")
    for file in files:
        existing(file, arguments.study)
    settings = target_settings(parameters, arguments.study, parameters["analysis"]["claims"]["settings"])
    theorems = theorem_table(**parameters["theory"]["table_1"]["settings"])
    notes = scale_notes(parameters, arguments.study)
    runs, history, depth = *read_results(*files[:2]), read_depth(files[2])
    table = judged_claims(runs, history, theorems, depth, pd.read_csv(files[3]), notes, **settings)
    return show(arguments, table, face_note(notes))


def existing(file: Path, study: str) -> Path:
    """The file. Raises ParameterError where it is not there."""
    if not file.is_file():
        raise ParameterError(f"{file}: no such file; run make study STUDY={study} first")
    return file


def show(arguments: argparse.Namespace, table: pd.DataFrame, note: str | None) -> int:
    """Print the judged claims as asked for. Returns the exit status."""
    if arguments.csv:
        table.to_csv(sys.stdout, index=False)
    else:
        print("\n".join(terminal_lines(table, note=note, details=arguments.details)))
    return 0
