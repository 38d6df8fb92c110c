"""`collapse crate`: a study's results with their provenance, as an RO-Crate."""

from __future__ import annotations

import argparse
from pathlib import Path

from collapse.commands.arguments import add_folder, add_params
from collapse.lineage.crate import write_crate
from collapse.lineage.orphans import members_of
from collapse.study.parameters import load_parameters


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its (sub)parser."""
    parser.add_argument("study", help="a study whose results are there")
    parser.add_argument("--output", type=Path, help="a folder or a .zip to copy all to; default: in place")
    add_folder(parser, "--results", "results")
    add_params(parser)


def jobs_of(params: str, study: str) -> set[str] | None:
    """The jobs that the study asks for; None, all there are records of, where params.yaml has not the study.

    Results can be packed elsewhere than in the project.
    """
    if not Path(params).exists() or study not in (parameters := load_parameters(params))["studies"]:
        return None
    return members_of(parameters, study).jobs()


def run(arguments: argparse.Namespace) -> int:
    """The command. Raises CrateError."""
    folder: Path = arguments.results / arguments.study
    place = write_crate(folder, arguments.output, jobs=jobs_of(arguments.params, arguments.study))
    print(f"{place}: a Provenance Run Crate (RO-Crate 1.1, Workflow Run RO-Crate 0.5)")
    return 0
