"""The unconstrained features that a study trains without a network, in float64 (Zhu et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collapse.study.entries import as_list
from collapse.study.runs import crossed

FOLDER = "unconstrained-"  # before the optimizer, the name of the folder of its job's table, beside the packs
MODEL = ("num_classes", "samples_per_class", "num_features", "steps", "seed")


def unconstrained_rows(study: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """By optimizer the runs of a study's `unconstrained_features`, each with MODEL."""
    asked = study.get("unconstrained_features")
    if asked is None:
        return {}
    model = {name: asked[name] for name in MODEL}
    runs: dict[str, list[dict[str, Any]]] = {}
    for row in asked["rows"]:
        for optimizer in as_list(row["optimizer"]):
            runs.setdefault(optimizer, []).extend(
                model | run for run in crossed(row | {"optimizer": optimizer})
            )
    return runs
