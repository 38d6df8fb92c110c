"""Rule summary: the report's first page."""

from pathlib import Path

import pandas as pd

from collapse.measuring.results import read_runs
from collapse.paper.claims.table import print_claims
from collapse.paper.comparison.text import print_summary
from collapse.paper.report.first_page import first_page
from collapse.records.job import job
from collapse.records.provenance import commit_words, project_state

SHOWN = ["Claim", "Verdict", "Effect", "At other thresholds"]  # the rest stands in the table of claims

with job(snakemake):
    numbers = snakemake.input.get("comparison")  # of the paper alone
    comparison = print_summary(pd.read_csv(numbers)) if numbers else None
    page = first_page(
        read_runs(snakemake.input.runs),
        study=snakemake.params.study,
        title=snakemake.params.title,
        notes=snakemake.params.notes,
        lacking=snakemake.params.lacking,
        claims=print_claims(pd.read_csv(snakemake.input.claims))[SHOWN],
        citation=snakemake.params.citation,
        comparison=comparison,
        code=commit_words(project_state()),
    )
    Path(snakemake.output.html).write_text(page, encoding="utf-8")
