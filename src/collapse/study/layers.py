"""The runs whose dense layers are measured one by one: those of networks that end in a linear tail."""

from __future__ import annotations

from typing import Any

import pandas as pd

from collapse.study.runs import runs_by_pack


def layer_packs(table: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """The runs of a run table that have linear layers, by pack; none where the study has none."""
    return runs_by_pack(table[table.linear_layers.notna()])
