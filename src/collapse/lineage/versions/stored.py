"""What dvc.lock says of a study's files, and whether DVC's cache has their bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

from collapse.files.errors import CONFLICT
from collapse.lineage.versions.snakemake_records import VersionError

LOCK = Path("dvc.lock")
STAGES = ("datasets", "runs", "tables", "figures", "study")  # of dvc.yaml, each @ a study


# What DVC and `record` read, and what settles a conflict of two versions.
SETTLED_BY = {
    LOCK: "take either side (git checkout --ours {0}), then make record STUDY={1}",
    Path("dvc.yaml"): "keep what both sides say, then make record STUDY={1}",
    Path("workflow/recorded.yaml"): "keep the studies of both sides, then make record STUDY={1}",
}


class Stored(NamedTuple):
    """A file as recorded: where it is in the checkout, and the MD5 of its bytes."""

    path: Path
    md5: str


def require_no_conflict(study: str) -> None:
    """Raises VersionError where git has left a conflict in a file that DVC reads."""
    for file, remedy in SETTLED_BY.items():
        if file.is_file() and CONFLICT.search(file.read_text(encoding="utf-8", errors="replace")):
            raise VersionError(f"{file} has git's conflict markers; {remedy.format(file, study)}")


def stages_of(study: str) -> list[str]:
    """The stages of dvc.yaml that make the study, in their order."""
    return [f"{stage}@{study}" for stage in STAGES]


def outputs_of(study: str) -> list[Stored]:
    """The files and folders (an MD5 that ends in .dir) that dvc.lock has of the study.

    Raises VersionError where it has none, or not of every stage.
    """
    try:
        stages = yaml.safe_load(LOCK.read_text(encoding="utf-8"))["stages"]
        found = [stages.get(name) for name in stages_of(study)]
    except FileNotFoundError:
        found = [None]
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise VersionError(f"{LOCK} cannot be read ({error}); take git's version of it") from None
    if None in found:
        raise VersionError(f"{LOCK} has no whole record of study {study}; make study STUDY={study} makes one")
    return [Stored(Path(out["path"]), out["md5"]) for stage in found for out in stage.get("outs", [])]


def in_cache(cache: Path, md5: str) -> Path:
    """Where DVC keeps these bytes."""
    return cache / "files/md5" / md5[:2] / md5[2:]


def files_in(outputs: Iterable[Stored], *, cache: Path) -> Iterator[Stored]:
    """Every single file of the outputs; of a folder whose list the cache has not, the folder."""
    for output in outputs:
        listing = in_cache(cache, output.md5)
        if not output.md5.endswith(".dir") or problem_of(output, cache=cache):
            yield output
            continue
        for entry in json.loads(listing.read_text(encoding="utf-8")):
            yield Stored(output.path / entry["relpath"], entry["md5"])


def problem_of(stored: Stored, *, cache: Path) -> str | None:
    """ "missing" or "corrupted" for what the cache cannot give; None where it can."""
    found = md5_of(in_cache(cache, stored.md5))
    if found is None:
        return "missing"
    return None if found == stored.md5.removesuffix(".dir") else "corrupted"


def unusable(outputs: Iterable[Stored], *, cache: Path) -> dict[Stored, str]:
    """What the cache cannot give of the outputs and how (`problem_of`), lists of folders included."""
    outputs = list(outputs)
    every = [*(one for one in outputs if one.md5.endswith(".dir")), *files_in(outputs, cache=cache)]
    problems = {one: problem_of(one, cache=cache) for one in dict.fromkeys(every)}
    return {one: problem for one, problem in problems.items() if problem}


def lacking_in(
    output: Stored, listing: Callable[[str], list[dict[str, str]]], *, cache: Path
) -> list[Stored]:
    """The files that the cache lacks of a folder whose list it lacks too; else the output itself.

    listing: by its MD5 the list from elsewhere, empty where it is not to be had.
    """
    if not output.md5.endswith(".dir") or in_cache(cache, output.md5).exists():
        return [output]
    files = [Stored(output.path / entry["relpath"], entry["md5"]) for entry in listing(output.md5)]
    return [one for one in files if problem_of(one, cache=cache)] or [output]


def unsaved(outputs: Iterable[Stored], files: Mapping[Path, str], *, cache: Path) -> list[Path]:
    """Files in the outputs' places whose bytes are neither the recorded ones nor anywhere in the cache.

    files: the recorded MD5 by path. Overwriting one of these would lose it.
    """
    lost = []
    for output in outputs:
        here = [output.path] if output.path.is_file() else sorted(output.path.rglob("*"))
        for path in here:
            md5 = md5_of(path) if path.is_file() else None
            if md5 and md5 != files.get(path) and md5_of(in_cache(cache, md5)) != md5:
                lost.append(path)
    return lost


def md5_of(path: Path) -> str | None:
    """The MD5 of a file's bytes; None where there is no such file."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return None
