"""The metrics of every dense layer of a pack's networks through training: the table `layers`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from collapse.measuring.measurement import arrays, split
from collapse.measuring.results import FURTHER
from collapse.metrics import layers
from collapse.metrics.layers import LayerStatistics
from collapse.training.pack_files import save_table


def measure_layers(runs: Sequence[Mapping[str, Any]], *, trajectory: Path, table: Path) -> None:
    """Write the table of the runs that have layer statistics, a row a run, measured epoch and layer.

    Raises PackFileError.
    """
    keys = {run["key"] for run in runs}
    rows = [
        {"key": key, "epoch": int(epoch)} | row
        for key, epochs in split(arrays(trajectory))
        if key in keys
        for epoch, found in split(epochs)
        for row in rows_of(layers.from_arrays(of_layers(found)))
    ]
    save_table(pd.DataFrame(rows, columns=FURTHER["layers"]), table)


def of_layers(found: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of the arrays of a moment those of layer statistics, by their own names."""
    return {
        name.removeprefix(layers.PLACE): its for name, its in found.items() if name.startswith(layers.PLACE)
    }


def rows_of(statistics: LayerStatistics) -> list[dict[str, Any]]:
    """The metrics of every layer, and beside each what is known of the network as a whole.

    means_rank, means_gram: of the class means, not centred; the K x K matrix of their products row by row.
    """
    its, whole = statistics, metrics_of_network(statistics)
    return [
        {
            "layer": number + 1,
            "kind": "relu" if number < its.relu_layers else "linear",
            "NC1": layers.layer_nc1(its.means[number], its.within_trace_LK[number], its.counts_K),
            "NC2": layers.layer_nc2(its.means[number]),
            "NC3": float(its.cosine_L[number]),
            "negativity": layers.negativity(its.negative_norm_L[number], its.output_norm_L[number]),
            "balancedness": np.nan
            if number + 1 == its.num_layers
            else layers.balancedness(
                its.imbalance_norm_L[number], its.weight_norm_L[number + 1], its.weight_norm_L[number]
            ),
            "means_rank": layers.means_rank(its.means[number]),
            "means_gram": (its.means[number] @ its.means[number].T).ravel().tolist(),
        }
        | whole
        for number in range(its.num_layers)
    ]


def metrics_of_network(statistics: LayerStatistics) -> dict[str, float]:
    """The bounds of the head's input, which need two linear layers, and both condition numbers."""
    tail = layers.condition(statistics.product_values_K)
    return layers.head_bounds(statistics) | {
        "condition_last": layers.condition(statistics.head_values_K),
        "condition_tail": tail ** (1 / statistics.linear_layers) if statistics.linear_layers else np.nan,
    }
