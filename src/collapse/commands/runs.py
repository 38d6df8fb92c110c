"""`collapse runs`: the run table of a study."""

from __future__ import annotations

import argparse
import sys

from collapse.commands.arguments import add_params, add_study
from collapse.study.parameters import load_parameters
from collapse.study.runs import run_table, summary, unique_runs

SHOWN = {"experiment", "key", "pack", "architecture", "dataset", "optimizer", "learning_rate"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its (sub)parser."""
    add_study(parser)
    parser.add_argument("--csv", action="store_true", help="every column, for programs")
    add_params(parser)


def run(arguments: argparse.Namespace) -> int:
    """The run table, then what is in it; with --csv the table alone, with every column."""
    table = run_table(load_parameters(arguments.params), arguments.study)
    if arguments.csv:
        table.to_csv(sys.stdout, index=False)
        return 0
    varying = [name for name in table if name in SHOWN or table[name].nunique(dropna=False) > 1]
    print(table[varying].to_string(index=False, na_rep="", float_format=lambda x: f"{x:g}"))
    same = {name: table[name].iloc[0] for name in table if name not in varying}
    print("\nthe same in all runs:", ", ".join(f"{k} {v}" for k, v in same.items() if v == v))
    print("\n" + summary(table).to_string(index=False))
    print(f"\n{len(unique_runs(table))} trainings; a run of two experiments is trained once.")
    return 0
