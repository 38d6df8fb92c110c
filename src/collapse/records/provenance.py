"""What made a file: beside its outputs every job leaves a record of what went in, what came out, and by what.

The record of a job is results/{study}/lineage/{rule}.json, of one of a pack .../{rule}/{pack}.json: where
its log is, under another name. It is no output of the rule, so that a missing one reruns nothing.
`collapse lineage` (collapse.lineage.audit) holds it against the bytes on disk.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from collapse.files.atomic import write_atomically
from collapse.records.code_digest import PACKAGE, code_digest
from collapse.study.entries import Entries, entries_of

log = logging.getLogger(__name__)
PROJECT = PACKAGE.parents[1]
PACKAGES = (
    "torch", "torchvision", "numpy", "pandas", "pyarrow", "safetensors", "scikit-learn", "matplotlib",
    "statsmodels", "snakemake",
)  # fmt: skip
OF_CODE = ("code", "entries")  # parameters of a job that stand under `code` in its record
LONGEST = 100_000  # characters of a parameter; of a longer one, a whole run table, the hash is kept


class RecordError(ValueError):
    """A record is not what `write_record` wrote."""


@contextmanager
def recorded(task: Any) -> Iterator[None]:
    """Write the record of the job that this stands around, once it has succeeded.

    `task` is what a script of Snakemake's knows as `snakemake`. Failing to write is a warning: the results
    are there, and `collapse lineage` says that their record is not.
    """
    started = datetime.now(UTC)
    folder, file = results_folder(task.log[0]), record_file(task.log[0])
    inputs = files_of(task.input, folder=folder)  # before the work: what it is about to read
    yield
    try:
        outputs = files_of(task.output, folder=folder)
        write_record(file, record(task, inputs=inputs, outputs=outputs, started=started))
    except OSError as error:
        log.warning("no record for `collapse lineage`: %s", error)


def record(
    task: Any, *, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]], started: datetime
) -> dict[str, Any]:
    """What is to be said of a job that ends now. No name of a machine, nor a path of it, is in it."""
    ended = datetime.now(UTC)
    script = Path(task.scriptdir) / f"{getattr(task.params, 'script', task.rule)}.py"
    entries = entries_in(task.params)
    digest = getattr(task.params, "code", None) or code_digest(script, entries=entries)
    return {
        "rule": task.rule,
        "wildcards": dict(task.wildcards.items()),
        "inputs": inputs,
        "outputs": outputs,
        "params": {name: short(value) for name, value in task.params.items() if name not in OF_CODE},
        "code": {"script": place(script, folder=None)["file"], "digest": digest, "entries": entries}
        | project_state(),
        "environment": environment(),
        "device": device_used(),
        "threads": task.threads,
        "started": started.isoformat(timespec="seconds"),
        "ended": ended.isoformat(timespec="seconds"),
        "seconds": round((ended - started).total_seconds(), 3),
    }


def entries_in(params: Any) -> Entries | None:
    """The entries of the registries that the digest of a job's code covers; None where it covers all."""
    runs = getattr(params, "runs", None)
    return getattr(params, "entries", None) or (entries_of(runs) if runs else None)


def results_folder(log_file: str | Path) -> Path:
    """results/mini of the log results/mini/logs/train/{pack}.log."""
    return next(parent for parent in Path(log_file).parents if parent.name == "logs").parent


def record_file(log_file: str | Path) -> Path:
    """results/mini/lineage/train/{pack}.json of the log results/mini/logs/train/{pack}.log."""
    folder = results_folder(log_file)
    return (folder / "lineage" / Path(log_file).relative_to(folder / "logs")).with_suffix(".json")


def files_of(named: Any, *, folder: Path) -> list[dict[str, Any]]:
    """Every file of a rule's inputs or outputs: its name there, where it is, SHA-256 and size."""
    return [
        {"name": name} | place(file, folder=folder) | {"sha256": sha256(file), "bytes": os.path.getsize(file)}
        for name, files in named.items()
        for file in ([files] if isinstance(files, str | Path) else files)
    ]


def place(file: str | Path, *, folder: Path | None) -> dict[str, str]:
    """Where a file is, so that a copy of the results finds it: seen from their folder, or from the project.

    {"file": "datasets/Digits.safetensors"}; {"file": "reference/reported.yaml", "of": "project"}.
    """
    path = Path(os.path.abspath(file))  # links are not followed
    if folder is not None and path.is_relative_to(os.path.abspath(folder.parent)):
        return {"file": Path(os.path.relpath(path, folder)).as_posix()}
    if path.is_relative_to(PROJECT):
        return {"file": path.relative_to(PROJECT).as_posix(), "of": "project"}
    return {"file": path.name, "of": "elsewhere"}


def sha256(file: str | Path) -> str:
    """Of a file's bytes. Raises OSError."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def short(value: Any) -> Any:
    """A parameter of a rule as JSON has it; of one that is very long, its hash."""
    text = json.dumps(value, default=str, sort_keys=True)
    if len(text) > LONGEST:
        return {"sha256": hashlib.sha256(text.encode()).hexdigest()}
    return json.loads(text)


@cache
def project_state(root: Path = PROJECT) -> dict[str, Any]:
    """The commit of the code, and whether the tree differs from it.

    Without git or a checkout the commit is what COLLAPSE_COMMIT says, where files were copied from one, else
    "unknown"; how the tree compares nobody can say.
    """
    said = {"commit": os.environ.get("COLLAPSE_COMMIT") or "unknown", "dirty": None}
    try:
        if Path(git(root, "rev-parse", "--show-toplevel")) != root.resolve():
            return said
        return {"commit": git(root, "rev-parse", "HEAD"), "dirty": bool(git(root, "status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return said


def git(root: Path, *arguments: str) -> str:
    """What git says of the checkout at `root`, without taking its lock. Raises CalledProcessError."""
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def commit_words(state: Mapping[str, Any]) -> str:
    """ "7b02e39..., tree dirty", of `project_state`."""
    return state["commit"] + {True: ", tree dirty", False: ", tree clean", None: ""}[state["dirty"]]


def environment() -> dict[str, Any]:
    """Python, operating system and processor kind, and the packages that numbers pass through."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": found,
    }


def device_used() -> str:
    """The GPU's name if this process has computed on one, else cpu. Does not import torch."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return torch.cuda.get_device_name()
    return "cpu"


def write_record(file: Path, content: Mapping[str, Any]) -> None:
    """Write a record with its own hash, whole or not at all. Raises OSError."""
    write_atomically(file, lambda partial: partial.write_text(sealed(content), encoding="utf-8"))


def read_record(file: Path) -> dict[str, Any]:
    """The record. Raises RecordError where a byte of it has changed, FileNotFoundError where none is."""
    try:
        text = file.read_text(encoding="utf-8")
        content = json.loads(text)
        del content["record_sha256"]
        if sealed(content) == text:
            return content
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise RecordError(f"{file} is not as it was written")


def sealed(content: Mapping[str, Any]) -> str:
    """A record as text, one way only, with the hash of all else in it."""
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False)
    seal = {"record_sha256": hashlib.sha256(text.encode()).hexdigest()}
    return json.dumps({**content, **seal}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
