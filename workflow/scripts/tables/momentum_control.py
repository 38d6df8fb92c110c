"""Table 103: momentum at equal learning_rate / (1 - momentum), the control of claim C5."""

import pandas as pd

from collapse.measuring.results import read_runs
from collapse.paper.momentum_control import momentum_table, print_momentum_table
from collapse.paper.selection import select
from collapse.paper.tables import write_target
from collapse.records.job import job


def make(
    runs: pd.DataFrame,
    *,
    experiment: str,
    beside: str,
    architecture: str | None,
    dataset: str | None,
    equivalence: float,
    most_momentum: float,
    level: float,
) -> pd.DataFrame:
    """A row a momentum of `experiment`, then of the runs of `beside` with its decay and one learning rate."""
    where = {"architecture": architecture, "dataset": dataset, "optimizers": ["SGD"], "valid": False}
    control, equal_rate = (select(runs, experiment=name, **where) for name in (experiment, beside))
    how = {"margin": equivalence, "level": level, "most_momentum": most_momentum}
    return momentum_table(control, equal_rate, **how)


if "snakemake" in globals():
    with job(snakemake):
        settings = snakemake.params.settings
        table = make(read_runs(snakemake.input.runs), **settings)
        write_target(snakemake, table, print_momentum_table(table, level=settings["level"]))
