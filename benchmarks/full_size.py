"""How long the tools take to look at a finished paper study, and how much memory they need.

    python benchmarks/full_size.py [--rounds 3] [--folder somewhere]

In a clone of this checkout's commit, a synthetic paper study: all its runs and packs, files of the right
names, tables of the right columns and of a row a run and epoch with random numbers, tensors of one number.
`snakemake --touch` and `collapse record` make Snakemake and DVC take them for their own (once, minutes).
What is timed, in turn: importing the library, the run table, a dry run, a `snakemake` that has nothing to do,
`dvc status`; then a dry run after every file was touched, so that contents are compared.

Other work on the machine only ever adds time: of the rounds the lowest counts. Time is that of the clock, and
that of the processors in all processes of a command; memory is the largest resident set of one of them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from alternating import record, spread
from safetensors.numpy import save_file

from collapse.commands.plan import measured_epochs
from collapse.measuring.collect import TRAINED_COLUMNS
from collapse.measuring.results import HISTORY_COLUMNS, MEASURES, OUTCOME, RUN_COLUMNS, SPECTRA
from collapse.study.parameters import load_parameters
from collapse.study.runs import run_table, unique_runs

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
STUDY = ["--config", "study=paper"]
SPECTRUM = 10  # numbers in a spectrum
# A process of its own: what a command is started from counts as memory that it had.
LAUNCHER = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(process.pid, 0)
print(f"\\n{usage.ru_utime + usage.ru_stime} {usage.ru_maxrss}", end="", flush=True)
sys.exit(os.waitstatus_to_exitcode(status))
"""
IDLE = "Nothing to be done"  # says Snakemake


class Cost(NamedTuple):
    """Of one command: seconds of the clock, of the processors, and megabytes."""

    time: float
    processor_time: float
    peak_memory: float


UNITS = {"time": "s", "processor_time": "s", "peak_memory": "MB"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--folder", type=Path, help="to keep the study in; default: a temporary one")
    chosen = parser.parse_args()
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="full_size_"))
    try:
        table = write_study(folder)
        costs = costs_of_commands(folder, rounds=chosen.rounds)
    finally:
        if chosen.folder is None:
            shutil.rmtree(folder)
    tools = ", ".join(f"{name} {version(name)}" for name in ("snakemake", "dvc"))
    what = f"full size: {table.key.nunique()} runs, {table.pack.nunique()} packs; {tools}"
    rows = [
        spread(pd.Series([getattr(cost, quantity) for cost in its]), benchmark=what, case=case,
               quantity=quantity.replace("_", " "), unit=unit)
        for case, its in costs.items()
        for quantity, unit in UNITS.items()
    ]  # fmt: skip
    record(pd.DataFrame(rows))


def costs_of_commands(folder: Path, *, rounds: int) -> dict[str, list[Cost]]:
    """By command, its costs in each round."""
    commands = {
        "import collapse": ([sys.executable, "-c", "import collapse.commands.main"], ""),
        "run table": ([BIN / "collapse", "runs", "paper", "--csv"], "ResNet9"),
        "dry run": ([BIN / "snakemake", "--dry-run", *STUDY], IDLE),
        "nothing to do": ([BIN / "snakemake", *STUDY], IDLE),
        "dvc status": ([BIN / "dvc", "status"], "up to date"),
    }
    costs: dict[str, list[Cost]] = {}
    for _ in range(rounds):
        for case, (command, said) in commands.items():
            costs.setdefault(case, []).append(cost(command, folder, must_say=said))
    for file in folder.glob("results/**/*"):
        os.utime(file)
    command, said = commands["dry run"]
    costs["dry run, all touched"] = [cost(command, folder, must_say=said) for _ in range(rounds)]
    return costs


def cost(command: Sequence[Any], folder: Path, *, must_say: str) -> Cost:
    """Run a command in the project's `folder`. Raises RuntimeError where it fails or does not say so."""
    began = time.monotonic()
    launcher = [sys.executable, "-S", "-c", LAUNCHER, *command]
    done = subprocess.run(launcher, cwd=folder, capture_output=True, text=True, env=environment(folder))
    seconds = time.monotonic() - began
    said, _, last = done.stdout.rpartition("\n")
    text = said + done.stderr
    if done.returncode or must_say not in text:
        raise RuntimeError(f"{command}: exit status {done.returncode}\n{text[-3000:]}")
    processor_time, peak_kilobytes = map(float, last.split())
    return Cost(seconds, processor_time, peak_kilobytes / 1024)


def environment(folder: Path) -> dict[str, str]:
    """With the clone's library, and the tools that its dvc.yaml asks for."""
    return os.environ | {"PYTHONPATH": str(folder / "src")}


def write_study(folder: Path) -> pd.DataFrame:
    """Every file that the workflow would make, made up, for both tools as if made. Returns the run table."""
    called("git", "clone", "--quiet", ROOT, folder, folder=ROOT)
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "workflow/recorded.yaml").write_text("recorded: []\n")
    table = run_table(load_parameters(folder / "params.yaml"), "paper")
    packs = dict(list(unique_runs(table).groupby("pack")))
    listed = called(BIN / "snakemake", "--summary", *STUDY, folder=folder).splitlines()
    files = [folder / line.split("\t")[0] for line in listed if line.startswith("results/")]
    files += [
        folder / f"results/paper/lineage/{rule}/{pack}.json"
        for rule in ("train", "measure")
        for pack in packs
    ]
    for file in dict.fromkeys(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_file(file, table=table, runs=packs.get(file.parent.name))
    print(f"{len(files)} files, {sum(file.stat().st_size for file in files) / 1e6:.0f} MB", flush=True)
    called(BIN / "snakemake", "--touch", "--forceall", "--quiet", "all", *STUDY, folder=folder)
    called(BIN / "collapse", "record", "paper", folder=folder)
    return table


def called(*command: Any, folder: Path) -> str:
    """What a command prints. Raises RuntimeError where it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment(folder))
    if done.returncode:
        raise RuntimeError(
            f"{command}: exit status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return done.stdout


def write_file(file: Path, *, table: pd.DataFrame, runs: pd.DataFrame | None) -> None:
    """A file by its name; `runs` are those of its pack."""
    whole = unique_runs(table)
    match file.name:
        case "runs.parquet":
            write_table(file, RUN_COLUMNS, table.key)
        case "history.parquet" if runs is None:
            write_table(file, HISTORY_COLUMNS, whole.key.repeat(whole.epochs + 1))
        case "history.parquet":
            write_table(file, TRAINED_COLUMNS, runs.key.repeat(runs.epochs + 1))
        case "history_metrics.parquet":
            epochs = [measured_epochs(run) for run in runs.to_dict("records")]
            write_table(file, ["key", "epoch", *MEASURES, *SPECTRA], runs.key.repeat(epochs))
        case "metrics.parquet":
            write_table(file, ["key", *MEASURES, *SPECTRA], runs.key)
        case "outcomes.parquet":
            write_table(file, ["key", *OUTCOME], runs.key)
        case name if name.endswith(".safetensors") and runs is not None:
            save_file({f"{key}/head.weight": np.zeros(1, np.float32) for key in runs.key}, file)
        case name if name.endswith(".json"):
            file.write_text('{"made_up": true}\n')
        case _:
            file.write_bytes(os.urandom(50_000))


def write_table(file: Path, columns: Sequence[str], keys: pd.Series) -> None:
    """A row a key, with a random number in each column, in those of spectra a list."""
    rng = np.random.default_rng(0)
    made: dict[str, Any] = {"key": pa.array(keys)}
    for name in columns:
        if name in ("singular_values_W", "singular_values_M"):
            offsets = np.arange(len(keys) + 1, dtype=np.int32) * SPECTRUM
            made[name] = pa.ListArray.from_arrays(offsets, rng.random(len(keys) * SPECTRUM))
        elif name != "key":
            made[name] = rng.random(len(keys))
    pq.write_table(pa.table(made), file)


if __name__ == "__main__":
    main()
