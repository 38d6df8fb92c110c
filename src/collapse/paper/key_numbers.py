"""The numbers to compare from one version of a study to the next: `dvc metrics show`, `dvc metrics diff`."""

from __future__ import annotations

import json
import math
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from collapse.paper.tables import TABLE_METRICS


def key_numbers(claims: pd.DataFrame, table_2: pd.DataFrame | None) -> dict[str, Any]:
    """The verdict and effect of every claim, and table 2 by optimizer, as JSON has it.

    Of NC0 the decimal logarithm: `dvc metrics show` rounds to five decimals, and NC0 falls to 5e-6.

    claims: as collapse.paper.claims.table makes it; table_2: as `final_metrics` (collapse.paper.tables), None
    in a study without its runs. What is not known (NaN: nothing to judge, no such run) is None, and so is
    what is infinite, which JSON has not.
    """
    verdicts = claims[claims["row"] == "verdict"]
    found = {
        "claims": {
            row.claim: {"verdict": row.verdict, "effect": number(row.value)} for row in verdicts.itertuples()
        }
    }
    if table_2 is not None:
        found["table_2"] = {
            row["optimizer"]: {"log10_NC0": log10(row["NC0"])}
            | {name: number(row[name]) for name in TABLE_METRICS if name != "NC0"}
            for row in table_2.to_dict("records")
        }
    return found


def number(value: float) -> float | None:
    """A finite number; else None."""
    return float(value) if math.isfinite(value) else None


def log10(value: float) -> float | None:
    """Of a positive finite number; else None."""
    return number(math.log10(value)) if value > 0 else None


def write_key_numbers(
    file: str | PathLike, *, claims: str | PathLike, table_2: str | PathLike | None
) -> None:
    """Write the JSON from the two tables' CSV files."""
    two = None if table_2 is None else pd.read_csv(table_2)
    text = json.dumps(key_numbers(pd.read_csv(claims), two), indent=1, allow_nan=False)
    Path(file).write_text(text + "\n", encoding="utf-8")
