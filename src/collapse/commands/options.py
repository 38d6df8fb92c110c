"""Arguments of the commands whose work needs torch: apart, so that their --help does not wait for it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from collapse.commands.arguments import (
    add_folder,
    add_params,
    add_study,
    existing_file,
    existing_folder,
    positive,
)


def plan(parser: argparse.ArgumentParser) -> None:
    """What a study costs."""
    add_study(parser)
    parser.add_argument("--teraflops", type=positive, help="hours at so many 1e12 operations a second")
    parser.add_argument(
        "--device", help="hours at the speed that make bench measured on it: its name, or a part"
    )
    parser.add_argument(
        "--benchmarks",
        type=existing_file,
        default=Path("benchmarks/results.csv"),
        help="default: %(default)s",
    )
    add_folder(parser, "--results", "results")
    parser.add_argument("--csv", action="store_true", help="for programs")
    add_params(parser)


def train(parser: argparse.ArgumentParser) -> None:
    """Training without the workflow."""
    add_study(parser, flag=True)
    parser.add_argument("--experiment", nargs="+", default=[], help="of the study; default: all of it")
    parser.add_argument(
        "--run", dest="keys", nargs="+", default=[], help="keys: these runs alone, in this order"
    )
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], help="default: as params.yaml says")
    parser.add_argument(
        "--kernels", choices=["auto", "plain", "fused"], help="of a GPU's steps; default: as params.yaml says"
    )
    add_folder(parser, "--out", "results", written=True)
    parser.add_argument(
        "--hours", type=positive, help="stop in time, with status 3; the same command goes on"
    )
    parser.add_argument(
        "--data", type=existing_folder, help="folder of the datasets; default: COLLAPSE_DATA, params.yaml"
    )
    parser.add_argument(
        "--not-in", type=existing_folder, help="evidence, as evidence/core, whose runs are left out"
    )
    add_params(parser)


def evidence(parser: argparse.ArgumentParser) -> None:
    """Keeping what was measured."""
    add_study(parser, flag=True)
    parser.add_argument("--experiment", nargs="+", required=True, help="of the study, one or several")
    add_folder(parser, "--results", "results")
    add_folder(parser, "--out", "evidence", written=True)
    add_params(parser)


def status(parser: argparse.ArgumentParser) -> None:
    """How far a training is."""
    add_study(parser)
    add_params(parser)
    add_folder(parser, "--results", "results")


def claims(parser: argparse.ArgumentParser) -> None:
    """The paper's claims."""
    add_study(parser)
    parser.add_argument("--details", action="store_true", help="every number behind the verdicts")
    parser.add_argument("--csv", action="store_true", help="the whole table, for programs")
    add_params(parser)
    add_folder(parser, "--results", "results")


def measure(parser: argparse.ArgumentParser) -> None:
    """The metrics of a file."""
    from collapse.metrics.conventions import CONVENTIONS  # NumPy: no other --help waits for it

    parser.add_argument(
        "file",
        type=Path,
        help="npz, safetensors or pt file with features (N x p, the input of the last linear layer), labels "
        "(N, from 0) and weight (K x p); optional: bias (K), test_features (T x p), test_labels (T)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, not a table")
    parser.add_argument(
        "--convention",
        choices=list(CONVENTIONS),
        default="reported",
        help="whose definitions to use (default: as the paper reports them)",
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = every_metric()


def every_metric() -> str:
    """Every metric in a line: those of `reported`, then of each other convention what differs."""
    from collapse.metrics.conventions import CONVENTIONS
    from collapse.metrics.neural_collapse import DIAGNOSTICS
    from collapse.own_models.result import meaning

    paragraphs, known = [], {}
    for convention, metrics in CONVENTIONS.items():
        own = metrics if known else metrics | DIAGNOSTICS
        said = {
            name: f"as {known[metric]} of reported" if metric in known else meaning(metric)
            for name, metric in own.items()
            if known.get(metric) != name
        }
        same = [name for name, metric in own.items() if known.get(metric) == name]
        also = f" (and, as reported: {', '.join(same)})" if same else ""
        width = max(map(len, said))
        lines = [f"  {name:<{width}}  {words}" for name, words in said.items()]
        paragraphs.append("\n".join([f"{convention}{also}:", *lines]))
        known = known or {metric: name for name, metric in metrics.items()}
    return "\n\n".join(["Metrics by convention:", *paragraphs])


OPTIONS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "plan": plan,
    "train": train,
    "evidence": evidence,
    "status": status,
    "claims": claims,
    "measure": measure,
}
