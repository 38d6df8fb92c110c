"""Rule measure_depth: metrics at every point of the trunk, of the runs of one pack."""

from pathlib import Path

from collapse.datasets import data_root
from collapse.measuring.depth import measure_depth
from collapse.records.job import job

with job(snakemake, threads=snakemake.threads):
    measure_depth(
        snakemake.params.runs,
        prepared=Path(snakemake.input.prepared),
        weights=Path(snakemake.input.weights),
        depth=Path(snakemake.output.depth),
        # No params: moving to a GPU reruns nothing, nor does moving the data.
        device=snakemake.config["device"],
        root=data_root(snakemake.config["data_root"]),
    )
