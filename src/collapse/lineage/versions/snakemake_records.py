"""Snakemake's records of a study's files (.snakemake/metadata) as one archive, always the same bytes."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path

from collapse.files.atomic import write_atomically
from collapse.files.errors import InputError

RECORDS, UNFINISHED = Path(".snakemake/metadata"), Path(".snakemake/incomplete")
ARCHIVE = "snakemake_records.tar.gz"
LONGEST = 254  # Snakemake cuts the name of a record into folders where it is longer


class VersionError(InputError):
    """Results cannot be recorded or restored; the message says which and what to do."""


def archive_of(study: str) -> Path:
    """Where the archive of a study is."""
    return Path("results") / study / ARCHIVE


def record_path(file: str) -> str:
    """The name of a file's record in .snakemake/metadata."""
    name = urlsafe_b64encode(file.encode()).decode()
    parts = [name[i : i + LONGEST] for i in range(0, len(name), LONGEST)]
    return "/".join([*(f"@{part}" for part in parts[:-1]), parts[-1]])


def recorded_file(record: Path) -> str:
    """The file whose record this is, from its path in .snakemake/metadata."""
    return urlsafe_b64decode("".join(part.removeprefix("@") for part in record.parts)).decode()


def read_records(study: str) -> dict[str, str]:
    """The records, JSON text, of the files of the study that are there, by file."""
    found = {}
    for path in sorted(path for path in RECORDS.rglob("*") if path.is_file()):
        file = recorded_file(path.relative_to(RECORDS))
        if file.startswith(f"results/{study}/") and Path(file).is_file():
            found[file] = path.read_text(encoding="utf-8")
    return found


def write_archive(study: str) -> Path:
    """Write the study's records into its archive. Raises VersionError where Snakemake has none."""
    records = read_records(study)
    if not records:
        raise VersionError(f"Snakemake has no record of results/{study}; run make study STUDY={study}")
    packed = io.BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=packed, mode="wb", mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for file, text in sorted(records.items()):
            member = tarfile.TarInfo(file)  # no time, no owner: the same records are the same bytes
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    write_atomically(archive_of(study), lambda partial: partial.write_bytes(packed.getvalue()))
    return archive_of(study)


def read_archive(study: str) -> dict[str, str]:
    """The records in the study's archive, by file. Raises VersionError."""
    path = archive_of(study)
    try:
        with tarfile.open(path, mode="r:gz") as archive:
            found = {
                member.name: archive.extractfile(member).read().decode()
                for member in archive
                if member.isfile() and member.name.startswith(f"results/{study}/")
            }
            for text in found.values():
                json.loads(text)
    except (OSError, EOFError, tarfile.TarError, ValueError) as error:
        raise VersionError(f"{path} cannot be read ({error}); pull it again") from None
    return found


def restore_records(study: str) -> None:
    """Put the archive's records among Snakemake's, and set the times of the files that they are about.

    Only for files that have just been held against dvc.lock: the archive speaks of those bytes. Records of
    other studies stay as they are. Raises VersionError.
    """
    records = read_archive(study)
    UNFINISHED.mkdir(
        parents=True, exist_ok=True
    )  # without it Snakemake takes the records for an old version's
    for file, text in records.items():
        target = RECORDS / record_path(file)
        write_atomically(target, lambda partial, text=text: partial.write_text(text, encoding="utf-8"))
        (UNFINISHED / record_path(file)).unlink(missing_ok=True)
    inputs = {file: json.loads(text).get("input") or [] for file, text in records.items()}
    order = depths(inputs)
    first = time.time() - max(order.values(), default=0) - 1
    for file, depth in order.items():
        os.utime(file, (first + depth, first + depth))


def depths(inputs: Mapping[str, list[str]]) -> dict[str, int]:
    """How many jobs lie before each file: none is older than what it was made from where times follow this.

    inputs: what each file was made from; what is no key itself (a file of the project) counts as none.
    """
    known: dict[str, int] = {}

    def depth(file: str) -> int:
        if file not in known:
            known[file] = 1 + max((depth(name) for name in inputs[file] if name in inputs), default=-1)
        return known[file]

    for file in inputs:
        depth(file)
    return known
