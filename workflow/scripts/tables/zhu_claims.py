"""Claims Z-a to Z-e, judged on the study (Zhu et al. 2021)."""

from collections.abc import Mapping

import pandas as pd

from collapse.measuring.results import read_further, read_runs
from collapse.paper.claims.table import claims_table, print_claims
from collapse.paper.claims.zhu import CRITERIA, STATEMENTS, ZhuThresholds, findings, looks_in
from collapse.paper.tables import write_target
from collapse.records.job import job


def make(
    runs: pd.DataFrame,
    ufm: pd.DataFrame,
    zhu_table_11: pd.DataFrame,
    notes: Mapping[str, str | None],
    *,
    experiment: str,
    epsilon: float,
    thresholds: ZhuThresholds,
) -> pd.DataFrame:
    """A row a claim, then its numbers (collapse.paper.claims.table); `notes` is the scale."""
    how = {"experiment": experiment, "epsilon": epsilon, "thresholds": thresholds}
    found = findings(runs, ufm, zhu_table_11, **how)
    return claims_table(
        found,
        dict.fromkeys(found, ""),
        settings={**thresholds, "experiments": looks_in(experiment)},
        notes=notes,
        statements=STATEMENTS,
        criteria=CRITERIA,
    )


if "snakemake" in globals():
    with job(snakemake):
        tables = read_runs(snakemake.input.runs), read_further("ufm", snakemake.input.ufm)
        theory = pd.read_csv(snakemake.input.zhu_table_11)
        table = make(*tables, theory, snakemake.params.notes, **snakemake.params.settings)
        write_target(snakemake, table, print_claims(table))
