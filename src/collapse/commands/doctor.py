"""`collapse doctor`: what a study needs, and whether it is here, before anything is begun.

Beside the standard library only PyYAML is wanted, for what params.yaml says; so `make doctor` works before
`make setup`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from collapse.commands.arguments import add_params, add_study
from collapse.datasets.files import missing_files
from collapse.datasets.registry import DATASETS, Dataset, DatasetError, data_root
from collapse.files import environment

PROJECT = Path(environment.PROJECT)
OK, NOTE, WRONG = "ok", "--", "NO"  # a note: something works less well, or not at all, without
ENVIRONMENT_GB = 3.0  # of PyTorch for a CPU; for CUDA twice as much and more
LEAST_GB = 1.0


class Finding(NamedTuple):
    """A line of the report."""

    state: str
    what: str
    words: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its (sub)parser."""
    add_study(parser)
    add_params(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print a line each. Returns 1 where something has to be mended first. Raises ParameterError."""
    found = [*of_machine(Path.cwd()), *of_study(arguments.study, arguments.params)]
    for one in found:
        print(f"{one.state:3} {one.what:12} {one.words}")
    return int(any(one.state == WRONG for one in found))


def of_machine(folder: Path) -> Iterator[Finding]:
    """What is the same for every study. folder: where results are to lie."""
    yield finding(
        "Python", environment.problem_of_python(sys.version_info), ".".join(map(str, sys.version_info[:3]))
    )
    yield finding("path", environment.problem_of_path(str(PROJECT)), str(PROJECT))
    yield of_environment()
    yield of_git()
    yield of_disk(folder)
    yield of_gpu()
    yield of_slurm()


def finding(what: str, problem: str | None, words: str) -> Finding:
    """The problem where there is one."""
    return Finding(WRONG, what, problem) if problem else Finding(OK, what, words)


def of_environment() -> Finding:
    """Whether .venv is the one that `make setup` would leave; another one may do as well."""
    state, words = environment.compared(environment.recorded(str(PROJECT)), environment.wanted(str(PROJECT)))
    if state is None:
        return Finding(OK, "environment", ".venv")
    if not (PROJECT / ".venv").exists():
        inside = (
            "snakemake and PyTorch are installed" if installed("snakemake") and installed("torch") else ""
        )
        return Finding(NOTE, "environment", inside or "no .venv yet: make setup builds it")
    return Finding(WRONG, "environment", f".venv {state} ({words}): make setup mends it")


def of_git() -> Finding:
    """The checkout, without which DVC keeps no versions."""
    if not shutil.which("git"):
        return Finding(NOTE, "git", "not installed: results are made, but no version of them is recorded")
    top = said("git", "-C", str(PROJECT), "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != PROJECT:
        return Finding(NOTE, "git", "no clone: results are made, but no version of them is recorded")
    commit = said("git", "-C", str(PROJECT), "rev-parse", "--short", "HEAD") or "no commit yet"
    return Finding(OK, "git", f"a clone, at {commit}")


def of_disk(folder: Path) -> Finding:
    """Room for results, and for the environment where there is none."""
    free = shutil.disk_usage(folder).free / 1e9
    needed = LEAST_GB + (0 if (PROJECT / ".venv").exists() else ENVIRONMENT_GB)
    if not os.access(folder, os.W_OK):
        return Finding(WRONG, "disk", f"{folder} cannot be written; make it writable")
    if free < needed:
        return Finding(WRONG, "disk", f"{free:.1f} GB free in {folder}, {needed:g} GB are needed; make room")
    return Finding(OK, "disk", f"{free:,.0f} GB free; `collapse plan` says what a study writes")


def of_gpu() -> Finding:
    """The GPUs, and whether PyTorch can compute on them."""
    listed = said("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
    if not listed:
        return Finding(NOTE, "GPU", "none: the demo takes minutes on two cores, core and paper want one")
    names = "; ".join(listed.splitlines())
    if "+cpu" in installed("torch"):
        return Finding(NOTE, "GPU", f"{names}; but PyTorch {installed('torch')} is built for a CPU alone")
    return Finding(OK, "GPU", names)


def of_slurm() -> Finding:
    """What `make cluster` starts jobs with."""
    if not shutil.which("sbatch"):
        return Finding(NOTE, "Slurm", "none: make cluster needs it, or PROFILE=profiles/gpu_node")
    return Finding(OK, "Slurm", said("sbatch", "--version") or "sbatch does not answer")


def of_study(study: str, params: str) -> Iterator[Finding]:
    """Whether params.yaml can be read, and where the study's datasets are. Raises ParameterError."""
    if not installed("PyYAML") or not installed("jsonschema"):
        yield Finding(NOTE, "data", "seen to once make setup has installed what reads params.yaml")
        return
    from collapse.study.entries import entries_used
    from collapse.study.parameters import ParameterError, load_parameters, suggestion

    parameters = load_parameters(params)
    studies: dict[str, Any] = parameters["studies"]
    if study not in studies:
        raise ParameterError(f"unknown study {study!r}; {suggestion(study, list(studies))}")
    yield Finding(OK, "study", studies[study]["title"])
    if "evidence" in studies[study]:
        return
    try:
        root = data_root(parameters["data_root"])
    except DatasetError as error:
        yield Finding(WRONG, "data", str(error))
        return
    for name in entries_used(studies, study)["dataset"]:
        yield of_dataset(DATASETS[name], root)


def of_dataset(dataset: Dataset, root: Path) -> Finding:
    """Whether a dataset is found, comes with the program, or has to be fetched."""
    if dataset.stays_on_disk:
        if (root / dataset.folder).is_dir():
            return Finding(
                OK,
                dataset.name,
                f"a folder {root / dataset.folder}; its images are counted when it is prepared",
            )
        return Finding(WRONG, dataset.name, f"not under {root}: {dataset.layout}; {dataset.how_to_get}")
    if not dataset.files:
        return Finding(OK, dataset.name, "made when it is needed")
    if missing := missing_files(dataset, root=root, cache=Path("data")):
        whole = len(missing) == len(dataset.files)
        named = "its files" if whole else ", ".join(file.name for file in missing)
        return Finding(NOTE, dataset.name, f"{named} to be downloaded: not under {root}")
    return Finding(OK, dataset.name, f"found under {root}; its checksums are verified when it is prepared")


def installed(package: str) -> str:
    """Its version; "" where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def said(*command: str) -> str | None:
    """What a program prints; None where it is absent, fails, or does not answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
