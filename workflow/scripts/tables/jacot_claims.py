"""Claims J-a to J-f, judged on the study (Jacot et al. 2024)."""

from collections.abc import Mapping

import pandas as pd

from collapse.measuring.results import read_further, read_runs
from collapse.paper.claims.jacot import CRITERIA, STATEMENTS, JacotExperiments, JacotThresholds, findings
from collapse.paper.claims.table import claims_table, print_claims
from collapse.paper.tables import write_target
from collapse.records.job import job


def make(
    runs: pd.DataFrame,
    layers: pd.DataFrame,
    notes: Mapping[str, str | None],
    *,
    experiments: JacotExperiments,
    thresholds: JacotThresholds,
) -> pd.DataFrame:
    """A row a claim, then its numbers (collapse.paper.claims.table); `notes` is the scale."""
    found = findings(runs, layers, experiments=experiments, thresholds=thresholds)
    looked_in = {name.replace("_", "-"): list(its) for name, its in experiments.items()}
    return claims_table(
        found,
        dict.fromkeys(found, ""),
        settings={**thresholds, "experiments": looked_in},
        notes=notes,
        statements=STATEMENTS,
        criteria=CRITERIA,
    )


if "snakemake" in globals():
    with job(snakemake):
        tables = read_runs(snakemake.input.runs), read_further("layers", snakemake.input.layers)
        table = make(*tables, snakemake.params.notes, **snakemake.params.settings)
        write_target(snakemake, table, print_claims(table))
