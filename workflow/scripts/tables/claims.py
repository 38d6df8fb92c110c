"""The paper's claims C1 to C12 and ours beyond it, judged on the study."""

from collections.abc import Mapping, Sequence

import pandas as pd

from collapse.measuring.results import read_depth, read_results
from collapse.paper.claims import ClaimExperiments
from collapse.paper.claims.cells import Cells
from collapse.paper.claims.evidence import Bootstrap
from collapse.paper.claims.table import judged_claims, print_claims
from collapse.paper.tables import write_target
from collapse.records.job import job


def make(
    runs: pd.DataFrame,
    history: pd.DataFrame,
    table_1: pd.DataFrame,
    depth: pd.DataFrame,
    table_102: pd.DataFrame,
    notes: Mapping[str, str | None],
    *,
    experiments: ClaimExperiments,
    architecture: str,
    dataset: str,
    metrics: Sequence[str],
    tie: float,
    floor: float,
    rounding: float,
    least_share: float,
    little: float,
    equal_loss: float,
    equivalence: float,
    most_momentum: float,
    level: float,
    equal_accuracy: float,
    least_r2: float,
    least_runs: int,
    near: float,
    least_nc4: float,
    tolerance: float,
    initial_nc0: float,
    view: str,
    since: str,
    soap_tolerance: float,
    least_ratio: float,
    most_left: float,
    cells: Cells,
    bootstrap: Bootstrap,
    alternatives: Mapping[str, Sequence[float]],
) -> pd.DataFrame:
    """A row a claim, then its numbers (collapse.paper.claims.table); `notes` is the scale."""
    return judged_claims(
        runs,
        history,
        table_1,
        depth,
        table_102,
        notes,
        experiments=experiments,
        architecture=architecture,
        dataset=dataset,
        metrics=metrics,
        tie=tie,
        floor=floor,
        rounding=rounding,
        least_share=least_share,
        little=little,
        equal_loss=equal_loss,
        equivalence=equivalence,
        most_momentum=most_momentum,
        level=level,
        equal_accuracy=equal_accuracy,
        least_r2=least_r2,
        least_runs=least_runs,
        near=near,
        least_nc4=least_nc4,
        tolerance=tolerance,
        initial_nc0=initial_nc0,
        view=view,
        since=since,
        soap_tolerance=soap_tolerance,
        least_ratio=least_ratio,
        most_left=most_left,
        cells=cells,
        bootstrap=bootstrap,
        alternatives=alternatives,
    )


if "snakemake" in globals():
    with job(snakemake):
        runs, history = read_results(snakemake.input.runs, snakemake.input.history)
        theorems = pd.read_csv(snakemake.input.table_1)
        depth, theory = read_depth(snakemake.input.depth), pd.read_csv(snakemake.input.table_102)
        data = runs, history, theorems, depth, theory
        table = make(*data, snakemake.params.notes, **snakemake.params.settings)
        write_target(snakemake, table, print_claims(table))
