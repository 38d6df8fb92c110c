"""Features, labels and last layers with which many implementations were run."""

from pathlib import Path

import numpy as np

CASES = Path(__file__).parent / "cases"


def case(name):
    """Arguments of class_statistics: `random32`, or `imbalanced32` with 3 to 400 samples a class."""
    with np.load(CASES / f"{name}.npz") as file:
        return {
            "features_ND": file["features"],
            "labels_N": file["labels"],
            "weight_KD": file["weight"],
            "bias_K": file["bias"],
            "test_features": file["test_features"],
            "test_labels": file["test_labels"],
        }


def in_float64(data, **factors):
    """The same in float64, some arrays times a factor."""
    wide = {name: array.astype(float) if array.dtype == np.float32 else array for name, array in data.items()}
    return wide | {name: wide[name] * factor for name, factor in factors.items()}
