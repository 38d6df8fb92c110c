"""Table 3: the same as table 2 for the valid run with the smallest NC3 of each optimizer."""

from collections.abc import Sequence

import pandas as pd

from collapse.measuring.results import read_runs
from collapse.paper.selection import select, smallest
from collapse.paper.tables import final_metrics, print_metrics, write_target
from collapse.records.job import job


def make(
    runs: pd.DataFrame,
    *,
    experiment: str,
    architecture: str | None,
    dataset: str | None,
    optimizers: Sequence[str],
) -> pd.DataFrame:
    """The valid run of smallest NC3, a row an optimizer (collapse.paper.tables `final_metrics`)."""
    chosen = {"experiment": experiment, "architecture": architecture, "dataset": dataset}
    every = select(runs, **chosen, valid=False)
    best = smallest(select(runs, **chosen), metric="NC3")
    return final_metrics(best, of_all=every, optimizers=optimizers)


if "snakemake" in globals():
    with job(snakemake):
        table = make(read_runs(snakemake.input.runs), **snakemake.params.settings)
        write_target(snakemake, table, print_metrics(table))
