"""Rule explorer: all runs and histories of the study in one page."""

from pathlib import Path

from collapse.measuring.results import read_results
from collapse.paper.explorer.page import explorer_page
from collapse.paper.explorer.template import read_template
from collapse.paper.report.first_page import scale_sentences
from collapse.records.job import job

with job(snakemake):
    page = explorer_page(
        *read_results(snakemake.input.runs, snakemake.input.history),
        study=snakemake.params.study,
        title=snakemake.params.title,
        notes=scale_sentences(snakemake.params.notes),
        template=read_template(snakemake.input.page),
    )
    Path(snakemake.output.html).write_text(page, encoding="utf-8")
