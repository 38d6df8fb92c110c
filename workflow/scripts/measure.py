"""Rule measure: the metrics of the runs of one pack, in the convention of the paper's tables."""

from pathlib import Path

from collapse.measuring.measurement import measure_pack
from collapse.records.job import job

with job(snakemake):
    measure_pack(
        statistics=Path(snakemake.input.statistics),
        trajectory=Path(snakemake.input.trajectory),
        metrics=Path(snakemake.output.metrics),
        history_metrics=Path(snakemake.output.history_metrics),
        convention=snakemake.params.convention,
    )
