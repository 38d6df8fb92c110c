"""The experiment `depth`: its networks are measured at every point of their trunk, the others' are not."""

from __future__ import annotations

from typing import Any

import pandas as pd

from collapse.study.parameters import ParameterError
from collapse.study.runs import chosen_runs

EXPERIMENT = "depth"
# Beside collapse.architectures.trunk's own, which cannot be read without torch.
WITH_POINTS = ("ResNet9", "VGG9")


def depth_packs(table: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """The runs of the experiment by pack; none where the study has it not. Raises ParameterError."""
    its = table[table.experiment == EXPERIMENT]
    for architecture in its.architecture.unique():
        if architecture not in WITH_POINTS:
            raise ParameterError(
                f"experiment {EXPERIMENT}: no points of a trunk are known for {architecture}; name them in "
                "src/collapse/architectures/trunk.py and src/collapse/study/depth.py, or remove its rows"
            )
    return chosen_runs(table, [EXPERIMENT]) if len(its) else {}
