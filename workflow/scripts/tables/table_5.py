"""Table 5: the hyperparameters of table 3's runs."""

from collections.abc import Sequence

import pandas as pd

from collapse.measuring.results import read_runs
from collapse.paper.selection import select, smallest
from collapse.paper.tables import hyperparameters, print_hyperparameters, write_target
from collapse.records.job import job


def make(
    runs: pd.DataFrame,
    *,
    experiment: str,
    architecture: str | None,
    dataset: str | None,
    optimizers: Sequence[str],
) -> pd.DataFrame:
    """The valid run of smallest NC3, a row an optimizer (collapse.paper.tables `hyperparameters`)."""
    chosen = {"experiment": experiment, "architecture": architecture, "dataset": dataset}
    every = select(runs, **chosen, valid=False)
    best = smallest(select(runs, **chosen), metric="NC3")
    return hyperparameters(best, of_all=every, optimizers=optimizers)


if "snakemake" in globals():
    with job(snakemake):
        table = make(read_runs(snakemake.input.runs), **snakemake.params.settings)
        write_target(snakemake, table, print_hyperparameters(table))
