"""Table 5: the hyperparameters of table 3's runs."""

from collections.abc import Sequence

import pandas as pd

from collapse.job import job
from collapse.results import read_runs
from collapse.selection import select, smallest
from collapse.tables import hyperparameters, print_hyperparameters, write_target


def make(
    runs: pd.DataFrame,
    *,
    experiment: str,
    architecture: str | None,
    dataset: str | None,
    optimizers: Sequence[str],
) -> pd.DataFrame:
    """The valid run of smallest NC3, a row an optimizer (collapse.tables `hyperparameters`)."""
    chosen = {"experiment": experiment, "architecture": architecture, "dataset": dataset}
    every = select(runs, **chosen, valid=False)
    best = smallest(select(runs, **chosen), metric="NC3")
    return hyperparameters(best, of_all=every, optimizers=optimizers)


if "snakemake" in globals():
    with job(snakemake):
        table = make(read_runs(snakemake.input.runs), **snakemake.params.settings)
        write_target(snakemake, table, print_hyperparameters(table))
