"""Table 4: how many runs were planned and what became of them, by setting."""

import pandas as pd

from collapse.measuring.results import read_runs
from collapse.paper.selection import select
from collapse.paper.tables import overview, write_target
from collapse.records.job import job


def make(runs: pd.DataFrame, *, experiment: str) -> pd.DataFrame:
    """A row an architecture, dataset and optimizer of the experiment (collapse.paper.tables)."""
    return overview(select(runs, experiment=experiment, valid=False))


if "snakemake" in globals():
    with job(snakemake):
        table = make(read_runs(snakemake.input.runs), **snakemake.params.settings)
        write_target(snakemake, table, table.rename(columns=str.capitalize))
