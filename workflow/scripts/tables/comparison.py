"""Every number that the paper reports beside ours and the closed form."""

from pathlib import Path

import yaml

from collapse.measuring.results import read_runs
from collapse.paper.comparison.table import comparison_table as make
from collapse.paper.comparison.text import write_comparison
from collapse.records.job import job

if "snakemake" in globals():
    with job(snakemake):
        reported = yaml.safe_load(Path(snakemake.input.reported).read_text(encoding="utf-8"))
        runs = read_runs(snakemake.input.runs)
        write_comparison(
            make(runs, reported, snakemake.params.known, **snakemake.params.settings),
            csv=snakemake.output.csv,
            markdown=snakemake.output.markdown,
            html=snakemake.output.html,
            title=snakemake.params.caption,
            study=snakemake.params.study,
        )
