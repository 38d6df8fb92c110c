"""From class statistics to metrics: no network, no data, milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from collapse.metrics.class_statistics import ClassStatistics, from_arrays
from collapse.metrics.conventions import measure_all
from collapse.metrics.further import CENTRED
from collapse.metrics.neural_collapse import singular_values_M, singular_values_W
from collapse.training.pack_files import key_of, of_run, read_tensors, save_table

Arrays = Mapping[str, np.ndarray]


def measure_pack(
    *, statistics: Path, trajectory: Path, metrics: Path, history_metrics: Path, convention: str
) -> None:
    """Write the metrics of a convention, as tables: at the end (key), and on the way (key, epoch).

    A run without class statistics has no row. Raises PackFileError.
    """
    final = {key: {"key": key} | measured(found, convention) for key, found in split(arrays(statistics))}
    on_the_way = [
        {"key": key, "epoch": int(epoch)} | measured(found, convention)
        for key, epochs in split(arrays(trajectory))
        for epoch, found in split(epochs)
    ]
    on_the_way.sort(key=lambda row: (row["key"], row["epoch"]))
    for path, rows in ((metrics, list(final.values())), (history_metrics, on_the_way)):
        table = pd.DataFrame(rows) if rows else pd.DataFrame({"key": pd.Series(dtype=str)})
        save_table(table, path)


def measured(found: Arrays, convention: str) -> dict[str, Any]:
    """The metrics of a convention, those of centred W and both spectra, of one set of class statistics.

    Statistics of dense layers, if there are any beside, are for collapse.measuring.layers.
    """
    statistics: ClassStatistics = from_arrays({name: its for name, its in found.items() if "/" not in name})
    return (
        measure_all(statistics, convention=convention)
        | {name: metric(statistics) for name, metric in CENTRED.items()}
        | {
            "singular_values_W": singular_values_W(statistics).tolist(),
            "singular_values_M": singular_values_M(statistics).tolist(),
        }
    )


def arrays(path: Path) -> dict[str, np.ndarray]:
    """A safetensors file as NumPy arrays. Raises PackFileError."""
    return {name: tensor.numpy() for name, tensor in read_tensors(path).items()}


def split(named: Arrays) -> list[tuple[str, dict[str, np.ndarray]]]:
    """Arrays by the first part of their names, `{first}/{rest}`."""
    return [(first, of_run(named, first)) for first in dict.fromkeys(map(key_of, named))]
