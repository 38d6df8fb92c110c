"""`collapse lineage`: where a number, a figure or a run comes from, verified against the bytes on disk."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from collapse.commands.arguments import add_folder
from collapse.lineage.audit import KEY, links, of_file, of_key
from collapse.lineage.audit.cells import AuditError
from collapse.lineage.audit.text import as_json, lines
from collapse.study.parameters import ParameterError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its (sub)parser."""
    parser.add_argument("what", help="a file of a study's results, or the key of a run")
    parser.add_argument("--row", nargs="+", default=[], help="a table's row by its first cells; a run's key")
    parser.add_argument("--column", help="with --row: the column of a cell")
    parser.add_argument("--study", help="of a run's key: the study, where several have it")
    parser.add_argument("--json", action="store_true", help="everything, for programs")
    add_folder(parser, "--results", "results")


def run(arguments: argparse.Namespace) -> int:
    """Print the lineage. Returns 0 where every byte is verified, else 1. Raises ParameterError."""
    file = Path(arguments.what)
    try:
        if KEY.fullmatch(arguments.what) and not file.exists():
            found = of_key(arguments.what, results=arguments.results, study=arguments.study)
        else:
            found = of_file(file, row=arguments.row, column=arguments.column)
    except AuditError as error:
        raise ParameterError(str(error)) from None
    print(json.dumps(as_json(found), indent=1, default=str) if arguments.json else "\n".join(lines(found)))
    problems = links.verdict(found.links)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        sys.stdout.flush()
        print(f"collapse: {problems[0]}{more}", file=sys.stderr)
    return int(bool(problems))
