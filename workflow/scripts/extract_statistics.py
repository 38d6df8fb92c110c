"""Rule extract_statistics: class statistics of the runs of one pack."""

from pathlib import Path

from collapse.extraction import extract_statistics
from collapse.job import job

with job(snakemake.log[0], threads=snakemake.threads):
    extract_statistics(
        snakemake.params.runs,
        prepared=Path(snakemake.input.prepared),
        weights=Path(snakemake.input.weights),
        statistics=Path(snakemake.output.statistics),
        device=snakemake.config["device"],  # no param: moving to a GPU reruns nothing
    )
