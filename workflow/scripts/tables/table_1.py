"""Table 1: the theorems on NC0, each with a check against simulation in float64."""

from collections.abc import Sequence

import pandas as pd
import torch

from collapse.job import job
from collapse.tables import write_table
from collapse.theorem_table import print_theorems, theorem_table


def make(
    *,
    num_classes: Sequence[int],
    learning_rate: float,
    weight_decay: float,
    momentum: float,
    steps: int,
    seed: int,
) -> pd.DataFrame:
    """A row a check of a theorem (collapse.theorem_table); needs no run, and takes seconds."""
    return theorem_table(
        num_classes=num_classes,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        momentum=momentum,
        steps=steps,
        seed=seed,
    )


if "snakemake" in globals():
    with job(snakemake):
        torch.set_num_threads(1)
        table = make(**snakemake.params.settings)
        write_table(
            table,
            print_theorems(table),
            csv=snakemake.output.csv,
            markdown=snakemake.output.markdown,
            html=snakemake.output.html,
            title=snakemake.params.caption,
            note=snakemake.params.note,
        )
