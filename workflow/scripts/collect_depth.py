"""Rule collect_depth: the table `depth` of a study."""

from pathlib import Path

from collapse.measuring.depth_table import collect_depth
from collapse.records.job import job

with job(snakemake):
    collect_depth(list(map(Path, snakemake.input.tables)), Path(snakemake.output.depth))
