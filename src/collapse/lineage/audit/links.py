"""Where a number comes from: the chain of files behind it, each held against what its job recorded.

    cell -> run table -> metrics -> class statistics -> checkpoint -> dataset

A link is the files that one job wrote, and the record (collapse.records.provenance) that it left. It is
broken where a file's bytes are not the recorded ones, where a file or its record is altered or missing, and
where the job read other bytes than the link before it wrote.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from collapse.datasets.registry import DATASETS
from collapse.measuring.results import FURTHER
from collapse.records.code_digest import Entries, code_digest
from collapse.records.provenance import PROJECT, RecordError, read_record, sha256
from collapse.study.unconstrained import FOLDER

FURTHER_TABLES = tuple(f"{name}.parquet" for name in FURTHER)  # of a study, and of packs
OK, CHANGED, MISSING, UNKNOWN = "ok", "changed", "missing", "not recorded"
# The links of a run from its numbers to its weights: name, record, files of the pack.
OF_A_PACK = (
    ("metrics", "measure/{}", ("metrics.parquet", "history_metrics.parquet")),
    ("class statistics", "extract_statistics/{}", ("class_statistics.safetensors",)),
    (
        "checkpoint",
        "train/{}",
        ("weights.safetensors", "trajectory.safetensors", "history.parquet", "outcomes.parquet"),
    ),
)


class File(NamedTuple):
    """A file of a link: its hash now, the one recorded (each None where there is none), how they compare."""

    path: Path
    sha256: str | None
    recorded: str | None
    state: str


class Link(NamedTuple):
    """What one job wrote. `record` is None where there is none; `problems` say what breaks the link."""

    name: str
    folder: Path
    files: list[File]
    record_file: Path
    record: dict[str, Any] | None
    problems: list[str]
    unrecorded: bool


def link(name: str, files: Sequence[Path], *, folder: Path, record: str) -> Link:
    """The link of the files (seen from here) whose record is {folder}/lineage/{record}.json."""
    record_file, content, problems = folder / "lineage" / f"{record}.json", None, []
    try:
        content = read_record(record_file)
    except FileNotFoundError:
        pass
    except RecordError:
        problems.append(f"{record_file}: the record itself is not as it was written")
    unrecorded = content is None and not problems
    recorded = {} if content is None else hashes(content["outputs"], folder=folder)
    if content is not None:  # what comes from the project: the paper's reported numbers
        inputs = {PROJECT / its["file"]: its["sha256"] for its in content["inputs"] if "of" in its}
        recorded, files = recorded | inputs, [*files, *inputs]
    compared_files = [compared(file, recorded.get(file)) for file in files]
    return Link(name, folder, compared_files, record_file, content, problems, unrecorded)


def run_table_link(folder: Path, files: Iterable[str]) -> Link:
    """runs.parquet and history.parquet, or those of them that were read."""
    return link("run table", [folder / name for name in files], folder=folder, record="collect")


def further_links(folder: Path, table: str) -> list[Link]:
    """A further table of a study, as depth.parquet, and its parts: of packs, or of optimizers."""
    name = Path(table).stem
    whole = link(f"{name} table", [folder / table], folder=folder, record="collect_further")
    files = {} if whole.record is None else hashes(whole.record["inputs"], folder=folder)
    return [whole, *(part_link(file, folder) for file in files if file.name == table)]


def part_link(file: Path, folder: Path) -> Link:
    """depth.parquet or layers.parquet of a pack, or an optimizer's ufm.parquet."""
    if file.stem == "ufm":
        optimizer = file.parent.name.removeprefix(FOLDER)
        return link("ufm", [file], folder=folder, record=f"unconstrained_features/{optimizer}")
    return link(file.stem, [file], folder=folder, record=f"measure_{file.stem}/{file.parent.name}")


def is_sound(one: Link) -> bool:
    """Whether nothing on disk contradicts the link: it may lack a record."""
    return not one.problems and all(file.state in (OK, UNKNOWN) for file in one.files)


def links_of_runs(packs: Mapping[str, str], *, folder: Path, since: str | None = None) -> list[Link]:
    """From the metrics of the packs to the datasets they were trained on.

    packs: the dataset's name by the pack's. since: the link to begin at, as "checkpoint".
    """
    names = [name for name, _, _ in OF_A_PACK]
    wanted = OF_A_PACK[names.index(since) :] if since else OF_A_PACK
    links = [
        link(
            name,
            [folder / "packs" / pack / file for file in files],
            folder=folder,
            record=record.format(pack),
        )
        for name, record, files in wanted
        for pack in packs
    ]
    return links + [dataset_link(name, folder) for name in dict.fromkeys(packs.values())]


def dataset_link(name: str, folder: Path) -> Link:
    """The prepared file of a dataset of the study."""
    file = folder / "datasets" / f"{name}.safetensors"
    return link("dataset", [file], folder=folder, record=f"prepare_dataset/{name}")


def compared(file: Path, recorded: str | None) -> File:
    """A file as it is on disk, beside the hash recorded for it."""
    found = hash_now(file)
    if found is None:
        return File(file, None, recorded, MISSING)
    if recorded is None:
        return File(file, found, None, UNKNOWN)
    return File(file, found, recorded, OK if found == recorded else CHANGED)


def hash_now(file: Path) -> str | None:
    """SHA-256 of a file's bytes; None where it cannot be read."""
    try:
        return sha256(file)
    except OSError:
        return None


def hashes(entries: Iterable[Mapping[str, Any]], *, folder: Path) -> dict[Path, str]:
    """The recorded hashes of a job's inputs or outputs that are among the results, by path from here."""
    return {seen_from(folder, its["file"]): its["sha256"] for its in entries if "of" not in its}


def seen_from(folder: Path, file: str) -> Path:
    """`file`, which a record names as seen from its study's folder, as seen from here."""
    return Path(os.path.normpath(folder / file))


def joined(links: Sequence[Link]) -> list[Link]:
    """The links with what breaks between them: a job that read other bytes than the one before it wrote.

    A file without a producer's record is judged by what the job that read it recorded.
    """
    written: dict[Path, str] = {}
    read: dict[Path, str] = {}
    for one in links:
        if one.record is not None:
            folder = one.folder
            written |= hashes(one.record["outputs"], folder=folder)
            read |= hashes(one.record["inputs"], folder=folder)
    return [with_joints(one, written=written, read=read) for one in links]


def with_joints(one: Link, *, written: Mapping[Path, str], read: Mapping[Path, str]) -> Link:
    """A link with all its problems in words."""
    files = [compared(f.path, read.get(f.path)) if f.state == UNKNOWN else f for f in one.files]
    problems = list(one.problems)
    for file in files:
        if file.state == CHANGED:
            problems.append(f"{file.path}: its bytes are not those recorded when it was made")
        elif file.state == MISSING:
            problems.append(f"{file.path}: no such file")
        elif file.state == UNKNOWN and one.record is not None:
            problems.append(f"{file.path}: not among the outputs that {one.record_file} has")
    if one.record is not None:
        for file, its in hashes(one.record["inputs"], folder=one.folder).items():
            if written.get(file, its) != its:
                problems.append(f"made from another version of {file} than the one recorded there")
    return one._replace(files=files, problems=problems)


def results_folder(file: Path) -> Path | None:
    """results/mini of results/mini/tables/table_2.csv: where the run table or the records are."""
    parents = list(file.parents)
    return next((p for p in parents if (p / "lineage").is_dir() or (p / "runs.parquet").is_file()), None)


def verdict(links: Sequence[Link]) -> list[str]:
    """A line a problem, in the order of the chain; none where every byte is verified."""
    broken = [f"broken at {one.name}: {words}" for one in links for words in one.problems]
    unknown = [
        f"not verified at {one.name}: no record {one.record_file}; made by an older version"
        for one in links
        if one.unrecorded
    ]
    return broken + unknown


def digest_here(script: str, entries: Entries | None) -> str | None:
    """The digest of the code that this checkout has for a recorded script; None where it has none."""
    file = PROJECT / script
    return code_digest(file, entries=entries) if file.is_file() else None


def job_facts(one: Link) -> dict[str, Any]:
    """Who made a link: the code, the environment, the device and the time of its job."""
    record = one.record or {}
    names = ("rule", "wildcards", "code", "environment", "device", "threads", "started", "ended", "seconds")
    facts = {name: record[name] for name in names}
    here = digest_here(facts["code"]["script"], facts["code"].get("entries"))
    same = None if here is None else here == facts["code"]["digest"]
    return facts | {"link": one.name, "same_code_here": same}


def dataset_words(name: str) -> str:
    """What the registry says a dataset's files must be, and where that ends."""
    if name not in DATASETS:
        return f"{name}: not among the datasets of this version"
    ends = (
        "; an index: names and sizes of image files, not their bytes" if DATASETS[name].stays_on_disk else ""
    )
    return f"{name}, checksum of its source files {DATASETS[name].digest}{ends}"
