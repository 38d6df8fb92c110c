"""Table 101: NC0 against its closed form, and the other metrics, of every optimizer and setting."""

from collections.abc import Sequence

import pandas as pd

from collapse.measuring.results import read_runs
from collapse.paper.optimizer_table import optimizer_rows, print_optimizers
from collapse.paper.selection import select
from collapse.paper.tables import write_target
from collapse.records.job import job


def make(
    runs: pd.DataFrame,
    *,
    experiment: str,
    architecture: str | None,
    dataset: str | None,
    optimizers: Sequence[str],
    floor: float,
) -> pd.DataFrame:
    """A row a setting of each optimizer, over its seeds (collapse.paper.optimizer_table)."""
    chosen = {"experiment": experiment, "architecture": architecture, "dataset": dataset}
    return optimizer_rows(select(runs, **chosen, valid=False), optimizers=optimizers, floor=floor)


if "snakemake" in globals():
    with job(snakemake):
        table = make(read_runs(snakemake.input.runs), **snakemake.params.settings)
        write_target(snakemake, table, print_optimizers(table))
