"""Table 2: NC0-NC3 at the end of training and their change, the runs of figure 6."""

from collections.abc import Sequence

import pandas as pd

from collapse.measuring.results import read_runs
from collapse.paper.selection import drawable, select
from collapse.paper.tables import final_metrics, print_metrics, write_target
from collapse.records.job import job


def make(
    runs: pd.DataFrame,
    *,
    experiment: str,
    architecture: str | None,
    dataset: str | None,
    optimizers: Sequence[str],
    require_valid: bool,
) -> pd.DataFrame:
    """The runs of the experiment, a row an optimizer; an undertrained one has that in its status."""
    chosen = {"experiment": experiment, "architecture": architecture, "dataset": dataset}
    every = select(runs, **chosen, valid=False)
    shown = drawable(every, require_valid=require_valid)
    return final_metrics(shown, of_all=every, optimizers=optimizers)


if "snakemake" in globals():
    with job(snakemake):
        table = make(read_runs(snakemake.input.runs), **snakemake.params.settings)
        write_target(snakemake, table, print_metrics(table))
