"""Which runs of the paper to measure first on a GPU that is lent for minutes, and in which order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from collapse.study.runs import run_table

BEST_KNOWN = ("MuonW", "MuonHiddenW", "LionW", "AdamW", "SOAPW", "ShampooW", "MARSW")


class Wanted(NamedTuple):
    """A run of a study's experiment by its key, and with which kernels: as params.yaml says, or fused."""

    study: str
    experiment: str
    key: str
    kernels: str | None = None


def wanted_runs(parameters: Mapping[str, Any], reported: Mapping[str, Any]) -> list[Wanted]:
    """The order: table 2's last three; its first three with fused kernels; figure 5; table 5; other seeds;
    then the optimizers that the paper leaves open, the best known first.

    reported: the numbers of reference/reported.yaml, which name the runs of table 5.
    """
    core = run_table(parameters, "core")
    table_2, heatmap = of_experiment(core, "table_2"), of_experiment(core, "momentum_heatmap")
    grid = of_experiment(run_table(parameters, "paper"), "grid")
    again = table_2[table_2.optimizer.isin(["SGD", "Adam", "AdamW"])]
    return [
        *wanted("core", table_2[~table_2.index.isin(again.index)]),
        *wanted("core", again),
        *wanted("core", again, kernels="fused"),
        *wanted("core", corners_first(heatmap)),
        *wanted("paper", runs_of_table_5(grid, reported["table5"])),
        *wanted("core", of_experiment(core, "seeds")),
        *wanted("core", best_known_first(of_experiment(core, "optimizers"))),
    ]


def of_experiment(table: pd.DataFrame, experiment: str) -> pd.DataFrame:
    """The runs of one experiment."""
    return table[table.experiment == experiment]


def wanted(study: str, runs: pd.DataFrame, *, kernels: str | None = None) -> list[Wanted]:
    """These runs, in their order."""
    return [Wanted(study, row.experiment, row.key, kernels) for row in runs.itertuples()]


def best_known_first(runs: pd.DataFrame) -> pd.DataFrame:
    """The same runs, those of the optimizers in BEST_KNOWN before the others."""
    places = {name: place for place, name in enumerate(BEST_KNOWN)}
    return runs.loc[runs.optimizer.map(places).fillna(len(places)).sort_values(kind="stable").index]


def corners_first(heatmap: pd.DataFrame) -> pd.DataFrame:
    """The cells of figure 5 by their distance to the nearest corner, which the other cells lie between."""
    distances = pd.Series(0, index=heatmap.index)
    for axis in ("momentum", "weight_decay"):
        place = heatmap[axis].rank(method="dense")
        distances += pd.concat([place - 1, place.max() - place], axis=1).min(axis=1).astype(int)
    return heatmap.loc[distances.sort_values(kind="stable").index]


def runs_of_table_5(grid: pd.DataFrame, settings: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """The runs of smallest NC3 that the paper reports, of ResNet9 on FashionMNIST."""
    its = grid[(grid.architecture == "ResNet9") & (grid.dataset == "FashionMNIST")]
    rows = [
        its[(its.optimizer == optimizer) & (its[list(values)] == pd.Series(values)).all(axis=1)]
        for optimizer, values in settings.items()
    ]
    return pd.concat(rows)
