"""Table 3: the same as table 2 for the valid run with the smallest NC3 of each optimizer."""

from collections.abc import Sequence

import pandas as pd

from collapse.job import job
from collapse.results import read_runs
from collapse.selection import select, smallest
from collapse.tables import final_metrics, print_metrics, write_target


def make(
    runs: pd.DataFrame,
    *,
    experiment: str,
    architecture: str | None,
    dataset: str | None,
    optimizers: Sequence[str],
) -> pd.DataFrame:
    """The valid run of smallest NC3, a row an optimizer (collapse.tables `final_metrics`)."""
    chosen = {"experiment": experiment, "architecture": architecture, "dataset": dataset}
    every = select(runs, **chosen, valid=False)
    best = smallest(select(runs, **chosen), metric="NC3")
    return final_metrics(best, of_all=every, optimizers=optimizers)


if "snakemake" in globals():
    with job(snakemake):
        table = make(read_runs(snakemake.input.runs), **snakemake.params.settings)
        write_target(snakemake, table, print_metrics(table))
