"""zhu_table_12: accuracy, metrics and cost with a learned or a fixed head, with p or K features."""

from collections.abc import Sequence

import pandas as pd

from collapse.measuring.results import read_results
from collapse.paper.fixed_heads import fixed_head_rows, print_fixed_heads
from collapse.paper.selection import select
from collapse.paper.tables import write_target
from collapse.records.job import job


def make(
    runs: pd.DataFrame, history: pd.DataFrame, *, experiment: str, optimizers: Sequence[str]
) -> pd.DataFrame:
    """A row a network, optimizer, head and feature dimension (collapse.paper.fixed_heads)."""
    chosen = select(runs, experiment=experiment, optimizers=optimizers, valid=False)
    return fixed_head_rows(chosen, history, optimizers=optimizers)


if "snakemake" in globals():
    with job(snakemake):
        tables = read_results(snakemake.input.runs, snakemake.input.history)
        table = make(*tables, **snakemake.params.settings)
        write_target(snakemake, table, print_fixed_heads(table))
