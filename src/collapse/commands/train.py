"""`collapse train`: training without the workflow, which takes over what lies there as if it had made it.

A pack goes through the jobs of the rules prepare_dataset, train, extract_statistics, measure and, where the
experiment `depth` is trained, measure_depth, to the same files, logs and records. Snakemake believes a pack
whose files it finds, so only whole packs get the workflow's names. A pack of some experiments' runs alone,
or of those that had ended when the time was up, is kept under a name of its own, and the job that trains the
whole one finds these runs there by their keys (collapse.training.reuse).
"""

from __future__ import annotations

import argparse
import difflib
import os
import signal
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd

from collapse.datasets import data_root
from collapse.files.errors import InputError
from collapse.measuring.evidence_files import require_evidence, require_training, runs_in_evidence, same_runs
from collapse.measuring.jobs import Study, keep_ended, measure, train
from collapse.records.interruption import Interrupted, stopped_by_signals
from collapse.study.depth import EXPERIMENT, depth_packs
from collapse.study.parameters import ParameterError, load_parameters
from collapse.study.runs import chosen_runs, run_table, runs_by_pack
from collapse.training.images import choose_device
from collapse.training.kernels.trust import require_fused
from collapse.training.pack_files import PackPaths, read_table
from collapse.training.reuse import keys_in

TIME_IS_UP = 3
# Of a time budget, and a tenth of it at most: for what comes before, and for keeping what there is.
SECONDS_TO_SAVE = 30.0
Run = Mapping[str, Any]


class OutputError(InputError):
    """Nothing can be written where the results should lie."""


def run(arguments: argparse.Namespace) -> int:
    """The command. Returns 0, 2 after one line where a job failed, 3 where the time was up, 128 + signal."""
    parameters = load_parameters(arguments.params)
    require_training(parameters, arguments.study)
    table = run_table(parameters, arguments.study)
    device = arguments.device or parameters["device"]
    if arguments.not_in:
        require_evidence(arguments.not_in)
    kernels = arguments.kernels or parameters["kernels"]
    with_depth = EXPERIMENT in arguments.experiment if arguments.experiment else not arguments.keys
    depth = keys_of_depth(table) if with_depth else frozenset()
    known = measured_already(table, arguments.not_in, depth=depth) if arguments.not_in else ()
    chosen = chosen_runs(table, arguments.experiment, known=known)
    if not chosen:
        print(f"nothing to train: {arguments.not_in} has all runs")
        return 0
    require_fused(kernels, choose_device(device))  # before anything is written
    study = Study(
        folder=writable(arguments.out / arguments.study),
        packs=runs_by_pack(table),
        depth=depth,
        device=device,
        kernels=kernels,
        root=arguments.data or data_root(parameters["data_root"]),
        threads=parameters["threads"],
        save_every_minutes=parameters["save_every_minutes"],
    )
    status, suffix = 0, "-".join(arguments.experiment or ["ended"])
    parts = [(pack, runs, f"{pack}-{suffix}") for pack, runs in chosen.items()]
    if arguments.keys:
        parts = one_by_one(chosen, arguments.keys)
    try:
        with stopped_by_signals(), time_budget(arguments.hours):
            for number, (pack, runs, part) in enumerate(parts, 1):
                print(f"pack {number} of {len(parts)}: {part if arguments.keys else pack}", flush=True)
                finish_pack(study, pack, runs, part=part)
    except Interrupted as stop:
        status = stop.exit_status
    except SystemExit as failed:  # `job` has said why
        status = 2 if failed.code == 1 else failed.code
    if status == 128 + signal.SIGALRM:
        with suppress(SystemExit):  # `job` has said why
            keep_ended(study, pack, folder=study.folder / "packs" / part)
        print("the time is up; the same command goes on from here")
        status = TIME_IS_UP
    print(what_lies_where(study.folder, {run["key"] for _, runs, _ in parts for run in runs}))
    return status


def one_by_one(chosen: Mapping[str, Sequence[Run]], keys: Sequence[str]) -> list[tuple[str, list[Run], str]]:
    """Pack, runs and name of the part, one run at a time in the order of `keys`. Raises ParameterError."""
    found = {run["key"]: (pack, [run], f"{pack}-{run['key']}") for pack in chosen for run in chosen[pack]}
    for key in keys:
        if key not in found:
            close = difflib.get_close_matches(key, found, n=3)
            meant = f"did you mean {' or '.join(close)}? " if close else ""
            raise ParameterError(f"--run: no run {key!r} to train; {meant}`collapse runs` lists the keys")
    return [found[key] for key in keys]


def finish_pack(study: Study, pack: str, runs: Sequence[Run], *, part: str) -> None:
    """Train, extract and measure what is missing of these runs of a pack; fewer than all are kept as `part`.

    Raises SystemExit, as `job` does, and PackFileError.
    """
    wanted, packs = {run["key"] for run in runs}, study.folder / "packs"
    done = [folder for folder in (packs / pack, packs / part) if wanted <= trained(folder)]
    if done:
        folder = done[0]
    else:
        # What another call left there comes along, for training empties the folder `unfinished`.
        ended = {file.parent.name for file in study.folder.glob(f"unfinished/{pack}/*/outcomes.parquet")}
        ended |= trained(packs / part)
        runs = [run for run in study.packs[pack] if run["key"] in wanted | ended]
        folder = packs / (pack if len(runs) == len(study.packs[pack]) else part)
        train(study, pack, runs, folder=folder)
    kept = keys_in(folder / "outcomes.parquet")
    measure(study, [run for run in study.packs[pack] if run["key"] in kept], folder=folder)


def measured_already(table: pd.DataFrame, place: Path, *, depth: Set[str]) -> set[str]:
    """The runs that evidence has; of those of `depth` it must have that too. Raises EvidenceError."""
    runs, with_depth = (set(same_runs(table, runs_in_evidence(place, name))) for name in (None, EXPERIMENT))
    return runs - (depth - with_depth)


def keys_of_depth(table: pd.DataFrame) -> frozenset[str]:
    """The runs of a study that are measured at every point of their trunk. Raises ParameterError."""
    return frozenset(run["key"] for runs in depth_packs(table).values() for run in runs)


@contextmanager
def time_budget(hours: float | None) -> Iterator[None]:
    """Let SIGALRM come shortly before so many hours have passed."""
    if hours is not None:
        seconds = 3600 * hours
        signal.setitimer(signal.ITIMER_REAL, seconds - min(SECONDS_TO_SAVE, seconds / 10))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def trained(folder: Path) -> set[str]:
    """The keys of the runs that a pack has, without those that failed. Raises PackFileError.

    Once a pack is measured nothing but depth reads its checkpoints: they may be left elsewhere.
    """
    paths = PackPaths.inside(folder)
    needed = [paths.outcomes] if (folder / "history_metrics.parquet").exists() else paths
    if not all(path.exists() for path in needed):
        return set()
    outcomes = read_table(paths.outcomes)
    return set(outcomes.key[outcomes.status != "failed"])


def writable(folder: Path) -> Path:
    """The folder, made if it is not there. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"--out: {folder} cannot be made ({error.strerror}); name another") from None
    if not os.access(folder, os.W_OK):
        raise OutputError(f"--out: {folder} cannot be written to; name another")
    return folder


def what_lies_where(folder: Path, wanted: set[str]) -> str:
    """How many of the wanted runs are trained, and how large each part of the results is."""
    places = [*folder.glob("packs/*/"), *folder.glob("unfinished/*/*/")]
    ended = wanted & set().union(*map(trained, places))
    lines = [f"{len(ended)} of {len(wanted)} runs are trained; {folder} holds"]
    for part in sorted(path for path in folder.iterdir() if path.is_dir()):
        sizes = {file: file.stat().st_size for file in part.rglob("*") if file.is_file()}
        weights = sum(size for file, size in sizes.items() if file.name == "weights.safetensors")
        of_it = f", {weights / 1e6:.2f} MB of it checkpoints (weights.safetensors)" if weights else ""
        if sizes:
            lines.append(f"  {part.name:<12}{sum(sizes.values()) / 1e6:10.2f} MB{of_it}")
    return "\n".join(lines)
