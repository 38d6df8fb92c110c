"""What Snakemake and DVC say of a study, asked through their command lines."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from collapse.lineage.versions.snakemake_records import VersionError
from collapse.lineage.versions.stored import stages_of
from collapse.records.provenance import git


def call(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `dvc` or `snakemake` of this environment; nothing is asked of the terminal."""
    environment = os.environ | {"DVC_NO_ANALYTICS": "1", "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", tool, *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    """What a tool that failed said of it, in one line."""
    said = f"{done.stdout}\n{done.stderr}"  # a dry run of Snakemake says all on stdout
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return " ".join((errors or lines)[-1:]) or f"status {done.returncode}"


def planned_jobs(study: str) -> dict[str, int]:
    """How many jobs of each rule Snakemake would run for the study; none where it is up to date.

    Raises VersionError where Snakemake refuses to plan.
    """
    done = call("snakemake", "--dry-run", "--config", f"study={study}")
    if done.returncode:
        raise VersionError(f"snakemake --dry-run --config study={study}: {last_words(done)}")
    counts = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE))
    return {rule: int(count) for rule, count in counts.items() if rule not in ("all", "total")}


def jobs_in_words(planned: dict[str, int]) -> str:
    """ "figure_7, train (2)"; "nothing" where nothing is planned."""
    return ", ".join(rule + (f" ({n})" if n > 1 else "") for rule, n in sorted(planned.items())) or "nothing"


def changed_stages(study: str) -> dict[str, list[str]]:
    """What differs from dvc.lock, in words by stage of the study; nothing where DVC is up to date.

    Raises VersionError.
    """
    done = call("dvc", "status", "--json", "--with-deps", f"study@{study}")
    if done.returncode:
        raise VersionError(f"dvc status: {last_words(done)}")
    return {stage: [words for change in changes for words in in_words(change)]
            for stage, changes in json.loads(done.stdout).items()}  # fmt: skip


def in_words(change: str | dict) -> list[str]:
    """ "changed outs: modified results/demo/figures", of what `dvc status --json` says of a stage."""
    if isinstance(change, str):
        return [change]
    lines = []
    for kind, named in change.items():
        for name, how in named.items() if isinstance(named, dict) else [(str(named), "")]:
            of_keys = how if isinstance(how, str) else ", ".join(f"{key} {was}" for key, was in how.items())
            lines.append(f"{kind}: {name} {of_keys}".rstrip())
    return lines


def is_clone() -> bool:
    """Whether this folder is a checkout of git's, without which DVC does nothing."""
    try:
        return Path(git(Path.cwd(), "rev-parse", "--show-toplevel")) == Path.cwd().resolve()
    except (OSError, subprocess.CalledProcessError):
        return False


def cache_folder() -> Path:
    """DVC's cache. Raises VersionError."""
    return Path(checked("dvc", "cache", "dir"))


def has_remote() -> bool:
    """Whether DVC has a remote to fetch from. Raises VersionError."""
    return bool(checked("dvc", "remote", "list"))


def listing_in_remote(md5: str) -> list[dict[str, str]]:
    """What a folder holds (relpath and md5 of each file), as the remote has it; nothing where it has not.

    `dvc fetch` leaves the list of a folder behind of which a file is missing.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            remote = repo.cloud.get_remote_odb()
            with remote.fs.open(remote.get(md5).path, mode="rb") as stream:
                return json.loads(stream.read())
    except (DvcException, OSError, ValueError):
        return []


def checked(tool: str, *arguments: str) -> str:
    """What a tool prints. Raises VersionError where it fails."""
    done = call(tool, *arguments)
    if done.returncode:
        raise VersionError(f"{tool} {' '.join(arguments)}: {last_words(done)}")
    return done.stdout.strip()


def commit(study: str) -> None:
    """Let dvc.lock say what is there now. Raises VersionError."""
    checked("dvc", "commit", "--force", *stages_of(study))
