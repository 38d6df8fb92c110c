"""Rule key_numbers: verdicts, effects and table 2 as JSON."""

from collapse.job import job
from collapse.key_numbers import write_key_numbers

with job(snakemake):
    write_key_numbers(
        snakemake.output.json,
        claims=snakemake.input.claims,
        table_2=next(iter(snakemake.input.get("table_2", [])), None),
    )
