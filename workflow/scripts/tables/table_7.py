"""Table 7: the smallest NC1, NC2 and NC3 that runs reach without and with weight decay."""

from collections.abc import Sequence

import pandas as pd

from collapse.measuring.results import read_runs
from collapse.paper.selection import select
from collapse.paper.tables import print_smallest, smallest_metrics, write_target
from collapse.records.job import job


def make(
    runs: pd.DataFrame,
    *,
    experiment: str,
    architecture: str | None,
    dataset: str | None,
    optimizers: Sequence[str],
    metrics: Sequence[str],
) -> pd.DataFrame:
    """A row without decay a length of training, then with decay (collapse.paper.tables)."""
    chosen = {"experiment": experiment, "architecture": architecture, "dataset": dataset}
    every = select(runs, **chosen, optimizers=optimizers, valid=False)
    return smallest_metrics(every, metrics=metrics)


if "snakemake" in globals():
    with job(snakemake):
        table = make(read_runs(snakemake.input.runs), **snakemake.params.settings)
        write_target(snakemake, table, print_smallest(table, metrics=snakemake.params.settings["metrics"]))
