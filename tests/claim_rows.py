"""Runs to judge claims on, few enough to judge by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd

from collapse.measuring.results import DEPTH_COLUMNS, MEASURES, RUN_COLUMNS

BOOTSTRAP = {"resamples": 200, "confidence": 0.95, "seed": 3141}
OVER = {"floor": 0.001, "bootstrap": BOOTSTRAP}
ORDERED = OVER | {"least_share": 0.9, "tie": 0.02}
SETTING = {
    "architecture": "ResNet9", "width": 1.0, "dataset": "FashionMNIST", "image_size": 32, "train_size": 60000,
    "augmentation": "none", "learning_rate": 0.001, "momentum": 0.9, "weight_decay": 0.0,
    "coupled_fraction": np.nan, "beta2": 0.999, "epsilon": 1e-8, "schedule": "thirds", "epochs": 200,
    "batch_size": 128, "measure_every": 5, "precision": "float32", "seed": 3141,
}  # fmt: skip
NO_DEPTH = pd.DataFrame(columns=DEPTH_COLUMNS)
TABLE_102 = pd.DataFrame(
    {
        "check": ["float32: deviation of W^T 1", "float32, rho = 0: deviation of W^T 1"],
        "simulated": [0.007, 0.4],
    }
)
THEOREMS = pd.DataFrame({"check": ["alpha", "as printed: limit"], "verdict": ["holds", "fails"]})


def table(*rows: dict) -> pd.DataFrame:
    """A row a dict of what differs from a valid run of Adam with metrics 1 and NC0 2 at the start."""
    every = []
    for place, row in enumerate(rows):
        run = dict.fromkeys(RUN_COLUMNS) | SETTING | dict.fromkeys(MEASURES, 1.0)
        run |= {f"{name}_init": 2.0 for name in MEASURES}
        run |= {
            "experiment": "grid",
            "key": f"run{place}",
            "pack": "p",
            "optimizer": "Adam",
            "status": "done",
        }
        run |= {"reason": "", "valid": True, "train_accuracy": 1.0, "test_accuracy": 0.9, "train_loss": 0.01}
        every.append(run | {"NC0_closed_form": np.nan} | row)
    return pd.DataFrame(every)


def both(name: str, decay: float, nc0: float, nc3: float, **more: object) -> dict:
    return {"optimizer": name, "weight_decay": decay, "NC0": nc0, "NC3": nc3} | more


def value_of(finding, quantity: str, part: str = "all") -> float:
    return next(
        row["value"] for row in finding.numbers if row["quantity"] == quantity and row["part"] == part
    )


def history_of(*pairs: tuple[float, float], key: str = "run0") -> pd.DataFrame:
    rows = [
        {"key": key, "epoch": e, "NC0": nc0, "NC0_closed_form": known} for e, (nc0, known) in enumerate(pairs)
    ]
    return pd.DataFrame(rows)
