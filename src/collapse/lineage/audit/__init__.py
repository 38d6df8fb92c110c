"""`collapse lineage`: where a number, a figure or a run comes from, verified against the bytes on disk."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from collapse.lineage.audit import cells, evidence, links
from collapse.lineage.audit.cells import AuditError
from collapse.lineage.audit.links import Link
from collapse.measuring.evidence_files import ABOUT, RUNS
from collapse.study.depth import EXPERIMENT
from collapse.study.families import without_prefix

KEY = re.compile(r"[0-9a-f]{12}")
TABLES = (".csv", ".md", ".html")  # what is printed of a table has its numbers beside it
RUN_TABLE = ("runs.parquet", "history.parquet")
# Of the theory; asked only where there is no record to say so.
WITHOUT_RUNS = ("table_1", "table_102", "theory", "table_11")  # the last of related works


class Lineage(NamedTuple):
    """What was asked about, its chain from there to the dataset, and the runs that it is made of.

    run: the facts of the one run (collapse.lineage.audit.cells), None where there are several or none.
    """

    subject: dict[str, Any]
    links: list[Link]
    keys: list[str]
    run: dict[str, Any] | None


def of_key(key: str, *, results: Path, study: str | None) -> Lineage:
    """The lineage of one run. Raises AuditError where no study has it or, without `study`, several."""
    folders = [results / study] if study else sorted(path.parent for path in results.glob("*/runs.parquet"))
    found = []
    for folder in folders:
        table = evidence.run_table_links(folder, RUN_TABLE)
        runs = cells.run_table(folder, trusted=links.is_sound(table[0]))
        if (runs["key"] == key).any():
            found.append((folder, table, runs))
    if not found:
        raise AuditError(f"no run {key} in {', '.join(map(str, folders)) or results}")
    if len(found) > 1:
        names = ", ".join(folder.name for folder, *_ in found)
        raise AuditError(f"run {key} is in several studies: {names}; say which with --study")
    [(folder, table, runs)] = found
    return through_runs({"run": key}, table, runs=runs, keys=[key], folder=folder)


def of_file(file: Path, *, row: Sequence[str] = (), column: str | None = None) -> Lineage:
    """The lineage of a file of a study's results; with `row` and `column` that of a row or cell of it.

    `row` is cells of a table's row, or the key of one of the runs. Raises AuditError.
    """
    if file.is_dir():
        raise AuditError(f"{file} is a folder; name a file in it, or the key of a run")
    if not file.is_file():
        raise AuditError(f"{file}: neither a file nor the key of a run; `collapse runs STUDY` lists the keys")
    if (file.parent / ABOUT).is_file():
        return of_evidence(file, row=row)
    folder = links.results_folder(file)
    if folder is None:
        raise AuditError(f"{file}: not among the results of a study, results/{{study}}/...")
    inside = file.relative_to(folder).parts
    if inside[0] == "datasets":
        chain = [links.dataset_link(file.stem, folder)]
        return Lineage({"file": str(file)}, links.joined(chain), [], None)
    if inside[-1] == "ufm.parquet" and inside[0] == "packs":
        return Lineage({"file": str(file)}, links.joined([links.part_link(file, folder)]), [], None)
    if inside[0] == "packs":
        return of_pack_file(file, folder=folder, row=row)
    if inside[0] in RUN_TABLE:
        first, read = [], [inside[0]]
    elif inside[0] in links.FURTHER_TABLES:
        first, read = links.further_links(folder, inside[0]), list(RUN_TABLE[:1])
    else:
        first, read = own_links(file, folder=folder)
    subject, keys = {"file": str(file)}, None
    if file.suffix in TABLES and not is_key(row):
        subject, keys = of_table(file, row=row, column=column, broken=not all(map(links.is_sound, first)))
    elif column:
        raise AuditError("--column needs a table, and --row the cells that name a row of it")
    if not read:
        return Lineage(subject, links.joined(first), [], None)
    table = evidence.run_table_links(folder, read)
    runs = cells.run_table(folder, trusted=links.is_sound(table[0]))
    if keys is None:
        of_depth = {"experiment": EXPERIMENT} if inside[0] == "depth.parquet" else {}
        keys = cells.selected_keys(runs, settings_of(first) or of_depth)
    return through_runs(subject, [*first, *table], runs=runs, keys=narrowed(keys, row), folder=folder)


def own_links(file: Path, *, folder: Path) -> tuple[list[Link], list[str]]:
    """The link of a table, figure or page with those of the tables it read; and what it read of the runs.

    Of a table that is printed in several forms the one asked about counts, and its numbers.
    """
    numbers = file.with_suffix(".csv")
    files = [file, numbers] if file.suffix in TABLES and file != numbers and numbers.is_file() else [file]
    kind = {".csv": "table", ".pdf": "figure", ".png": "figure"}.get(files[-1].suffix, "page")
    own = links.link(kind, files, folder=folder, record=file.stem)
    if own.record is None:
        return [own], [] if without_prefix(file.stem) in WITHOUT_RUNS else list(RUN_TABLE)
    found, read = [own], set()
    for name in (entry["file"] for entry in own.record["inputs"] if "of" not in entry):
        if name in RUN_TABLE:
            read.add(name)
        elif name in links.FURTHER_TABLES:
            found += links.further_links(folder, name)
        else:
            before, its = own_links(links.seen_from(folder, name), folder=folder)
            found, read = found + before, read | set(its)
    return found, sorted(read, reverse=True)


def of_table(
    file: Path, *, row: Sequence[str], column: str | None, broken: bool
) -> tuple[dict[str, Any], list[str] | None]:
    """What a table's file, row or cell is, and the keys of its runs; None where the table names none.

    Where the table is `broken`, a row that cannot be found in it is one more sign of that, and no error.
    """
    if column and not row:
        raise AuditError("--column needs --row, the cells that name a row of the table")
    subject: dict[str, Any] = {"file": str(file)}
    if not file.with_suffix(".csv").is_file():  # the report's page
        return subject, None
    try:
        table = cells.read_cells(file.with_suffix(".csv"))
        keys = cells.keys_of_table(table)
        if row:
            found = cells.find_row(table, row, file=file)
            subject["row"] = " ".join(row)
            keys = keys if keys is None else cells.keys_of_row(found, column=column)
        if column:
            subject |= {"column": column, "value": cells.cell(found, column, file=file)}
            subject["status"] = found.get("status")
    except AuditError:
        if not broken:
            raise
        return subject | {"row": " ".join(row), "column": column, "value": None}, []
    return subject, keys


def of_pack_file(file: Path, *, folder: Path, row: Sequence[str]) -> Lineage:
    """The lineage of a file of a pack, from the link that it belongs to."""
    sound = links.is_sound(links.run_table_link(folder, RUN_TABLE))
    pack, runs = file.parent.name, cells.run_table(folder, trusted=sound)
    first, since = [], next((name for name, _, files in links.OF_A_PACK if file.name in files), None)
    if file.name in links.FURTHER_TABLES:
        first, since = [links.part_link(file, folder)], "checkpoint"
    if since is None or not (runs["pack"] == pack).any():
        raise AuditError(f"{file}: not a file that the workflow makes of a pack")
    keys = narrowed(list(dict.fromkeys(runs.loc[runs["pack"] == pack, "key"])), row)
    return through_runs({"file": str(file)}, first, runs=runs, keys=keys, folder=folder, since=since)


def of_evidence(file: Path, *, row: Sequence[str]) -> Lineage:
    """The lineage of a file of evidence: where it stands is where its chain ends."""
    chain = [evidence.link_of_folder(file.parent)]
    runs = cells.read_parquet(file.parent / RUNS) if links.is_sound(chain[0]) else None
    keys = [] if runs is None else narrowed(list(runs["key"]), row)
    run = facts_of(keys[0], runs, chain) if len(keys) == 1 else None
    return Lineage({"file": str(file)}, links.joined(chain), keys, run)


def through_runs(
    subject: dict[str, Any],
    first: list[Link],
    *,
    runs: pd.DataFrame,
    keys: list[str],
    folder: Path,
    since: str | None = None,
) -> Lineage:
    """The whole chain: the links so far, those of the runs' packs and the datasets, or of evidence."""
    its = runs[runs["key"].isin(keys)].drop_duplicates("key")
    lost = [key for key in keys if key not in set(its["key"])]
    keys = [key for key in keys if key not in lost]
    if lost and all(map(links.is_sound, first)):  # else a changed byte of the table is why
        raise AuditError(f"{folder}: no run {lost[0]} there, which {subject.get('file')} names")
    packs = dict(zip(its["pack"], its["dataset"], strict=True))
    elsewhere = any(one.name == evidence.EVIDENCE for one in first)
    of_runs = [] if elsewhere else links.links_of_runs(packs, folder=folder, since=since)
    chain = links.joined([*first, *of_runs])
    run = facts_of(keys[0], runs, chain) if len(keys) == 1 else None
    return Lineage(subject | {"study": folder.name}, chain, keys, run)


def facts_of(key: str, runs: pd.DataFrame, chain: Sequence[Link]) -> dict[str, Any]:
    """The facts of a run, as its pack has them, or the evidence."""
    if (made := evidence.made(chain, key)) is not None:
        return cells.run_facts(runs, key, outcomes=None) | {"commit": made["commit"], "code": made["code"]}
    found = [f for one in chain for f in one.files if f.path.name == "outcomes.parquet"]
    sound = [file.path for file in found if file.state in (links.OK, links.UNKNOWN)]
    return cells.run_facts(runs, key, outcomes=cells.read_parquet(sound[0]) if sound else None)


def settings_of(first: Sequence[Link]) -> Mapping[str, Any]:
    """The settings with which a table or figure was made, as recorded; none where nothing was."""
    record = first[0].record if first else None
    return {} if record is None else record["params"].get("settings", {})


def narrowed(keys: list[str], row: Sequence[str]) -> list[str]:
    """The one run that `row` names, where it names one by its key. Raises AuditError."""
    if not is_key(row):
        return keys
    if row[0] not in keys:
        raise AuditError(f"run {row[0]} is not one of the {len(keys)} runs that this is made of")
    return list(row)


def is_key(row: Sequence[str]) -> bool:
    """Whether a row is named by the key of a run."""
    return len(row) == 1 and bool(KEY.fullmatch(row[0]))
