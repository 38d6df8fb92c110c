"""Table 2: NC0-NC3 at the end of training and their change, the six runs of figure 6."""

from collections.abc import Sequence

import pandas as pd

from collapse.results import read_runs
from collapse.selection import select
from collapse.tables import final_metrics, print_metrics, write_table


def make(
    runs: pd.DataFrame,
    *,
    experiment: str,
    architecture: str | None,
    dataset: str | None,
    optimizers: Sequence[str],
) -> pd.DataFrame:
    """The valid runs of the experiment, a row an optimizer (collapse.tables `final_metrics`)."""
    chosen = {"experiment": experiment, "architecture": architecture, "dataset": dataset}
    every = select(runs, **chosen, valid=False)
    return final_metrics(select(runs, **chosen), of_all=every, optimizers=optimizers)


if "snakemake" in globals():
    table = make(read_runs(snakemake.input.runs), **snakemake.params.settings)
    write_table(
        table,
        print_metrics(table),
        csv=snakemake.output.csv,
        markdown=snakemake.output.markdown,
        title=snakemake.params.caption,
        note=snakemake.params.note,
    )
