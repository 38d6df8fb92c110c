"""Which runs stand behind a cell of a table, a figure or a file of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from collapse.files.errors import InputError
from collapse.measuring.results import OUTCOME
from collapse.paper.selection import select
from collapse.records.provenance import RecordError, read_record
from collapse.study.settings import SETTINGS


class AuditError(InputError):
    """What was asked for is not there, or is not one thing."""


def read_cells(file: Path) -> pd.DataFrame:
    """A table's CSV as text. Raises AuditError."""
    try:
        return pd.read_csv(file, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise AuditError(f"{file}: cannot be read ({str(error).splitlines()[0]})") from None


def find_row(cells: pd.DataFrame, words: Sequence[str], *, file: Path) -> pd.Series:
    """The row that has all the words among its first cells, in as few columns as any row has them in.

    Numbers are the same however they are written. Raises AuditError where no row is or several are.
    """
    for width in range(1, cells.shape[1] + 1):
        first = cells.iloc[:, :width].values
        fits = cells[[all(any(same(word, cell) for cell in row) for word in words) for row in first]]
        if len(fits) == 1:
            return fits.iloc[0]
        if len(fits):
            shown = "; ".join(", ".join(row[:4]) for row in fits.values[:6])
            wanted = f"{len(fits)} rows have {' and '.join(words)}: {shown}"
            raise AuditError(f"{file}: {wanted}; give --row more of their cells")
    known = ", ".join(dict.fromkeys(cells.iloc[:, 0]))
    raise AuditError(f"{file}: no row has {' and '.join(words)}; the first column has {known}")


def same(word: str, cell: str) -> bool:
    """Whether a word of the command line is what a cell holds."""
    try:
        return word == cell or float(word) == float(cell)
    except ValueError:
        return False


def cell(row: pd.Series, column: str, *, file: Path) -> str:
    """One cell as the table has it. Raises AuditError."""
    if column not in row:
        raise AuditError(f"{file}: no column {column}; it has {', '.join(map(str, row.index))}")
    return row[column]


def keys_of_row(row: pd.Series, *, column: str | None) -> list[str]:
    """The keys of the runs that a row is of: its column's own (`NC1_key`), else the row's."""
    cell = row.get(f"{column}_key", row.get("key", ""))
    return cell.split()


def keys_of_table(cells: pd.DataFrame) -> list[str] | None:
    """The keys that a table names anywhere; None where it has no column of keys."""
    columns = [name for name in cells if name == "key" or name.endswith("_key")]
    if not columns:
        return None
    return list(dict.fromkeys(key for name in columns for cell in cells[name] for key in cell.split()))


def read_parquet(file: Path) -> pd.DataFrame | None:
    """A table; None where it cannot be read."""
    try:
        return pd.read_parquet(file)
    except (OSError, ValueError, pa.ArrowException):
        return None


def run_table(folder: Path, *, trusted: bool) -> pd.DataFrame:
    """The runs of a study: runs.parquet if it can be trusted, else what the jobs that trained recorded.

    A row a run of an experiment; from records a row a run, without experiment and outcome. Raises
    AuditError where there is neither.
    """
    if trusted and (found := read_parquet(folder / "runs.parquet")) is not None:
        return found
    runs = []
    for file in sorted((folder / "lineage/train").glob("*.json")):
        try:
            of_pack = read_record(file)["params"]["runs"]
        except (OSError, RecordError):
            continue
        runs += of_pack if isinstance(of_pack, list) else []
    if not runs:
        raise AuditError(f"{folder}: no runs.parquet to be read, nor records of training to say what ran")
    return pd.DataFrame(runs)


def selected_keys(runs: pd.DataFrame, settings: Mapping[str, Any]) -> list[str]:
    """The keys of the runs that a table's or figure's settings select, valid or not; without settings all."""
    if "experiment" not in runs:
        return list(dict.fromkeys(runs["key"]))
    if "experiment" in settings:
        names = ("experiment", "architecture", "dataset", "optimizers", "where")
        chosen = {name: settings[name] for name in names if name in settings}
        if settings.get("optimizer"):
            chosen["optimizers"] = [settings["optimizer"]]
        runs = select(runs, **chosen, valid=False)
    elif "experiments" in settings:
        runs = runs[runs["experiment"].isin(leaves(settings["experiments"]))]
    return list(dict.fromkeys(runs["key"]))


def leaves(value: Any) -> list[Any]:
    """All that lists and mappings hold at their ends."""
    if isinstance(value, Mapping):
        value = list(value.values())
    return [leaf for one in value for leaf in leaves(one)] if isinstance(value, list) else [value]


def run_facts(runs: pd.DataFrame, key: str, *, outcomes: pd.DataFrame | None) -> dict[str, Any]:
    """One run: its settings, how it ended, on what and by whose code; None where that is not known.

    `outcomes` is its pack's, None where that cannot be trusted: then the run table says how it ended.
    """
    its = runs[runs["key"] == key]
    row = its.iloc[0].to_dict()
    found = its.iloc[:0] if outcomes is None else outcomes[outcomes["key"] == key]
    outcome = found.iloc[0].to_dict() if len(found) else row
    facts = {name: row.get(name) for name in ("key", "pack", *SETTINGS)}
    facts["experiments"] = list(its["experiment"]) if "experiment" in its else None
    facts |= {name: outcome.get(name) for name in OUTCOME}
    facts["reason"] = row.get("reason") or facts["reason"]  # the run table's also says undertrained
    facts["valid"] = bool(its["valid"].any()) if "valid" in its else None
    facts |= {name: outcome.get(name) for name in ("commit", "code")}
    facts = {name: plain(value) for name, value in facts.items()}
    if facts["device"] is not None and facts["kernels"] is None:
        facts["kernels"] = "plain"  # before there were others none were recorded
    return facts


def plain(value: Any) -> Any:
    """A value of a table as JSON has it; None for NaN and its like."""
    if isinstance(value, list):
        return value
    value = value.item() if hasattr(value, "item") else value
    return None if pd.isna(value) else value
