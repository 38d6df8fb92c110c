"""`collapse prune`: what lies in a study's results that its settings ask for no more."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from collapse.commands.arguments import PathError, add_folder, add_params, add_study
from collapse.lineage.orphans import members_of, orphans, size_of
from collapse.study.parameters import load_parameters


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its (sub)parser."""
    add_study(parser)
    parser.add_argument("--yes", action="store_true", help="remove them; without it they are listed")
    add_folder(parser, "--results", "results")
    add_params(parser)


def run(arguments: argparse.Namespace) -> int:
    """List or remove. Raises ParameterError, PathError, PackFileError."""
    members = members_of(load_parameters(arguments.params), arguments.study)
    folder: Path = arguments.results / arguments.study
    if not folder.is_dir():
        raise PathError(f"{folder}: no such folder; there is nothing of study {arguments.study}")
    found = orphans(folder, members)
    sizes = {path: size_of(path) for path in found}
    for path, size in sizes.items():
        print(f"{size / 1e6:10.2f} MB  {path}")
        if arguments.yes:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    total = f"{len(found)} files and packs, {sum(sizes.values()) / 1e6:.2f} MB"
    if not found:
        print(f"nothing in {folder} that the study does not ask for")
    elif arguments.yes:
        print(f"removed {total}; make record STUDY={arguments.study} lets DVC know")
    else:
        print(f"{total} are of no use to the study; collapse prune {arguments.study} --yes removes them")
    return 0
