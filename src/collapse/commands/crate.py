"""`collapse crate`: a study's results with their provenance, as an RO-Crate."""

from __future__ import annotations

import argparse
from pathlib import Path

from collapse.commands.arguments import add_folder
from collapse.lineage.crate import write_crate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its (sub)parser."""
    parser.add_argument("study", help="a study whose results are there")
    parser.add_argument("--output", type=Path, help="a folder or a .zip to copy all to; default: in place")
    add_folder(parser, "--results", "results")


def run(arguments: argparse.Namespace) -> int:
    """The command. Raises CrateError."""
    folder: Path = arguments.results / arguments.study
    place = write_crate(folder, arguments.output)
    print(f"{place}: a Provenance Run Crate (RO-Crate 1.1, Workflow Run RO-Crate 0.5)")
    return 0
