"""From class statistics to metrics: no network, no data, milliseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from collapse.class_statistics import from_arrays
from collapse.conventions import measure_all
from collapse.pack_files import of_run, read_tensors, write_atomically


def measure_pack(
    runs: Sequence[Mapping[str, Any]], *, statistics: Path, metrics: Path, convention: str
) -> None:
    """Write a table, a row a run: key and every metric of a convention. Raises PackFileError."""
    arrays = {name: tensor.numpy() for name, tensor in read_tensors(statistics).items()}
    rows = [
        {"key": run["key"]} | measure_all(from_arrays(found), convention=convention)
        for run in runs
        if (found := of_run(arrays, run["key"]))
    ]
    table = pd.DataFrame(rows) if rows else pd.DataFrame({"key": pd.Series(dtype=str)})
    write_atomically(metrics, lambda file: table.to_parquet(file, index=False))
