"""Rule extract_statistics: class statistics of the runs of one pack."""

from pathlib import Path

from collapse.datasets import data_root
from collapse.measuring.extraction import extract_statistics
from collapse.records.job import job

with job(snakemake, threads=snakemake.threads):
    extract_statistics(
        snakemake.params.runs,
        prepared=Path(snakemake.input.prepared),
        weights=Path(snakemake.input.weights),
        statistics=Path(snakemake.output.statistics),
        # No params: moving to a GPU reruns nothing, nor does moving the data.
        device=snakemake.config["device"],
        root=data_root(snakemake.config["data_root"]),
    )
