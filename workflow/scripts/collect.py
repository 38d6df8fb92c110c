"""Rule collect: the tables `runs` and `history` of a study."""

from io import StringIO
from pathlib import Path

import pandas as pd

from collapse.measuring.collect import collect
from collapse.records.job import job

with job(snakemake):
    collect(
        pd.read_csv(StringIO(snakemake.params.table), dtype={"key": str}),
        histories=snakemake.input.histories,
        outcomes=snakemake.input.outcomes,
        metrics=snakemake.input.metrics,
        history_metrics=snakemake.input.history_metrics,
        evidence=snakemake.input.evidence,
        valid_accuracies=snakemake.params.valid_accuracies,
        runs_file=Path(snakemake.output.runs),
        history_file=Path(snakemake.output.history),
    )
