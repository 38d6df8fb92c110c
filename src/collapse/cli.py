"""The `collapse` command: looking at studies and measuring one's own models, without Snakemake."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from collapse import measure
from collapse.errors import InputError
from collapse.parameters import load_parameters
from collapse.runs import run_table, summary, unique_runs
from collapse.versions import verbs


def main(arguments: list[str] | None = None) -> int:
    """Entry point. Returns the exit status: 0, or 2 with one line on stderr for bad input."""
    chosen = parser().parse_args(arguments)
    try:
        return chosen.command(chosen)
    except InputError as error:
        print(f"collapse: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `collapse runs paper | head`
        sys.stderr.close()
        return 0


def parser() -> argparse.ArgumentParser:
    """The command line: a subcommand each."""
    top = argparse.ArgumentParser(prog="collapse", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    runs = commands.add_parser("runs", help="print the run table of a study")
    runs.add_argument("study", help="a study of params.yaml: demo, mini, core, paper")
    runs.add_argument("--csv", action="store_true", help="every column, for programs")
    runs.add_argument("--params", default="params.yaml", help="default: %(default)s")
    runs.set_defaults(command=print_runs)
    own = commands.add_parser("measure", help="collapse metrics of your own model's features")
    measure.add_arguments(own)
    own.set_defaults(command=measure.run)
    planning = commands.add_parser("plan", help="what a study costs: jobs, arithmetic, bytes, hours")
    planning.add_argument("study", help="a study of params.yaml: demo, mini, core, paper")
    planning.add_argument("--teraflops", type=positive, help="hours at so many 1e12 operations a second")
    planning.add_argument(
        "--device", help="hours at the speed that make bench measured on it: its name, or a part"
    )
    planning.add_argument(
        "--benchmarks", type=Path, default=Path("benchmarks/results.csv"), help="default: %(default)s"
    )
    planning.add_argument("--csv", action="store_true", help="for programs")
    planning.add_argument("--params", default="params.yaml", help="default: %(default)s")
    planning.set_defaults(command=run_of("collapse.plan"))
    training = commands.add_parser("train", help="train without the workflow, where PyTorch is all there is")
    training.add_argument("--study", required=True, help="a study of params.yaml: demo, mini, core, paper")
    training.add_argument("--experiment", nargs="+", default=[], help="of the study; default: all of it")
    training.add_argument("--device", choices=["auto", "cpu", "cuda"], help="default: as params.yaml says")
    training.add_argument("--out", type=Path, default=Path("results"), help="default: %(default)s")
    training.add_argument(
        "--hours", type=positive, help="stop in time, with status 3; the same command goes on"
    )
    training.add_argument(
        "--data", type=Path, help="folder of the datasets; default: COLLAPSE_DATA, params.yaml"
    )
    training.add_argument("--not-in", type=Path, help="evidence, as evidence/core, whose runs are left out")
    training.add_argument("--params", default="params.yaml", help="default: %(default)s")
    training.set_defaults(command=run_of("collapse.bare_training"))
    keeping = commands.add_parser("evidence", help="what was trained so, as a few small files for git")
    keeping.add_argument("--study", required=True, help="a study of params.yaml: demo, mini, core, paper")
    keeping.add_argument("--experiment", nargs="+", required=True, help="of the study, one or several")
    keeping.add_argument("--results", type=Path, default=Path("results"), help="default: %(default)s")
    keeping.add_argument("--out", type=Path, default=Path("evidence"), help="default: %(default)s")
    keeping.add_argument("--params", default="params.yaml", help="default: %(default)s")
    keeping.set_defaults(command=run_of("collapse.evidence"))
    watching = commands.add_parser("status", help="how far a study's training is")
    watching.add_argument("study", help="a study of params.yaml")
    watching.add_argument("--params", default="params.yaml", help="default: %(default)s")
    watching.add_argument("--results", type=Path, default=Path("results"), help="default: %(default)s")
    watching.set_defaults(command=run_of("collapse.status"))
    judging = commands.add_parser("claims", help="judge the paper's claims on a study's results")
    judging.add_argument("study", help="a study of params.yaml whose results are there")
    judging.add_argument("--details", action="store_true", help="every number behind the verdicts")
    judging.add_argument("--csv", action="store_true", help="the whole table, for programs")
    judging.add_argument("--params", default="params.yaml", help="default: %(default)s")
    judging.add_argument("--results", type=Path, default=Path("results"), help="default: %(default)s")
    judging.set_defaults(command=run_of("collapse.claims.table"))
    tracing = commands.add_parser("lineage", help="where a number, a figure or a run comes from, verified")
    tracing.add_argument("what", help="a file of a study's results, or the key of a run")
    tracing.add_argument("--row", nargs="+", default=[], help="a table's row by its first cells; a run's key")
    tracing.add_argument("--column", help="with --row: the column of a cell")
    tracing.add_argument("--study", help="of a run's key: the study, where several have it")
    tracing.add_argument("--json", action="store_true", help="everything, for programs")
    tracing.add_argument("--results", type=Path, default=Path("results"), help="default: %(default)s")
    tracing.set_defaults(command=run_of("collapse.audit.text"))
    verbs.add_arguments(commands)
    packing = commands.add_parser("crate", help="a study's results with their provenance, as an RO-Crate")
    packing.add_argument("study", help="a study whose results are there")
    packing.add_argument("--output", type=Path, help="a folder or a .zip to copy all to; default: in place")
    packing.add_argument("--results", type=Path, default=Path("results"), help="default: %(default)s")
    packing.set_defaults(command=run_of("collapse.crate"))
    return top


def print_runs(arguments: argparse.Namespace) -> int:
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


def positive(text: str) -> float:
    """A number above 0, for argparse."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError
    return number


def run_of(module: str) -> Callable[[argparse.Namespace], int]:
    """The function `run` of a module, imported when it is called: each needs what the others do without."""

    def run(arguments: argparse.Namespace) -> int:
        return importlib.import_module(module).run(arguments)

    return run


SHOWN = {"experiment", "key", "pack", "architecture", "dataset", "optimizer", "learning_rate"}
