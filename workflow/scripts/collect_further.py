"""Rule collect_further: the tables `depth`, `layers` and `ufm` of a study."""

from pathlib import Path

from collapse.measuring.further_tables import collect_further
from collapse.measuring.results import FURTHER
from collapse.records.job import job

with job(snakemake):
    for name in FURTHER:
        collect_further(name, list(map(Path, snakemake.input[name])), Path(snakemake.output[name]))
