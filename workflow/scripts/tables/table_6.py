"""Table 6: least squares of NC3 on log10 NC0 by learning rate and over all."""

from collections.abc import Sequence

import pandas as pd

from collapse.measuring.results import read_runs
from collapse.paper.regression import fit_nc3_on_log_nc0
from collapse.paper.selection import select
from collapse.paper.tables import print_regression, write_target
from collapse.records.job import job


def make(
    runs: pd.DataFrame,
    *,
    experiment: str,
    architecture: str | None,
    dataset: str | None,
    optimizers: Sequence[str],
) -> pd.DataFrame:
    """The fits over the valid runs (collapse.paper.regression)."""
    chosen = {"experiment": experiment, "architecture": architecture, "dataset": dataset}
    valid = select(runs, **chosen, optimizers=optimizers)
    return fit_nc3_on_log_nc0(valid, by_learning_rate=True)


if "snakemake" in globals():
    with job(snakemake):
        table = make(read_runs(snakemake.input.runs), **snakemake.params.settings)
        write_target(snakemake, table, print_regression(table))
