"""Rule measure_layers: the metrics of every dense layer of a pack's networks."""

from pathlib import Path

from collapse.measuring.layers import measure_layers
from collapse.records.job import job

with job(snakemake):
    measure_layers(
        snakemake.params.runs,
        trajectory=Path(snakemake.input.trajectory),
        table=Path(snakemake.output.layers),
    )
