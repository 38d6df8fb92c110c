"""Rule key_numbers: verdicts, effects and table 2 as JSON."""

from collapse.paper.key_numbers import write_key_numbers
from collapse.records.job import job

with job(snakemake):
    write_key_numbers(
        snakemake.output.json,
        claims=snakemake.input.claims,
        table_2=next(iter(snakemake.input.get("table_2", [])), None),
    )
