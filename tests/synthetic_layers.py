"""Made-up runs and layers of the study jacot_demo: laws in the place of training.

Coupled decay and SGDW's balance the linear layers, other decoupled decay leaves them and has the smallest
NC1; NC1 is as weight decay to the power 1.5; NC2 falls to 1 with the number of linear layers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from collapse.measuring.results import FURTHER, RUN_COLUMNS
from collapse.study.parameters import load_parameters
from collapse.study.runs import run_table

STUDY, NUM_CLASSES = "jacot_demo", 10
UNBALANCED = ("AdamW", "SignumW")


def make_layers_study(file) -> tuple[pd.DataFrame, pd.DataFrame]:
    """runs and layers, of three measured epochs. file: params.yaml."""
    table = run_table(load_parameters(file), STUDY)
    runs = table.assign(status="done", reason="", valid=True, train_accuracy=1.0, train_loss=0.01)
    runs = runs.reindex(columns=RUN_COLUMNS)
    rows = [row for run in runs.drop_duplicates("key").to_dict("records") for row in layers_of(run)]
    return runs, pd.DataFrame(rows)[FURTHER["layers"]]


def layers_of(run: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a layer at the beginning, in the middle and at the end."""
    relu, linear = int(run["relu_layers"]), int(run["linear_layers"])
    share = run["coupled_fraction"] if run["coupled_fraction"] == run["coupled_fraction"] else 1.0
    balanced = run["optimizer"] not in UNBALANCED and share > 0
    noise = 1 + 0.01 * (run["seed"] % 7)
    rows = []
    for epoch, left in ((0, 1.0), (run["epochs"] // 2, 0.1), (run["epochs"], 0.01)):
        nc1 = left * run["weight_decay"] ** 1.5 if balanced else 1e-9 * left
        bound = 5 * nc1 if epoch else np.inf
        network = {
            "key": run["key"], "epoch": epoch, "bound_NC1": bound if linear > 1 else np.nan,
            "bound_NC2": 3.0, "bound_NC3": 0.1, "condition_last": 2.0, "condition_tail": 2.0,
            "means_rank": NUM_CLASSES, "means_gram": np.eye(NUM_CLASSES).ravel().tolist(),
            "NC1": noise * nc1, "NC2": 1 + noise / linear, "negativity": noise / relu,
        }  # fmt: skip
        tail = noise * (left if balanced else 3.0)
        for layer in range(1, relu + linear + 1):
            own = {"layer": layer, "kind": "relu" if layer <= relu else "linear"}
            own["NC3"] = np.nan if layer < relu else 1 - 0.2 * noise / linear
            own["balancedness"] = noise / relu if layer <= relu else tail
            rows.append(network | own)
        rows[-1]["balancedness"] = np.nan  # the last layer has no next
    return rows
