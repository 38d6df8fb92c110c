"""Table 4: how many runs were planned and what became of them, by setting."""

import pandas as pd

from collapse.job import job
from collapse.results import read_runs
from collapse.selection import select
from collapse.tables import overview, write_target


def make(runs: pd.DataFrame, *, experiment: str) -> pd.DataFrame:
    """A row an architecture, dataset and optimizer of the experiment (collapse.tables)."""
    return overview(select(runs, experiment=experiment, valid=False))


if "snakemake" in globals():
    with job(snakemake):
        table = make(read_runs(snakemake.input.runs), **snakemake.params.settings)
        write_target(snakemake, table, table.rename(columns=str.capitalize))
