"""Every number that the paper reports beside ours and the closed form."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from collapse.comparison import comparison_table
from collapse.comparison_text import write_comparison
from collapse.job import job
from collapse.results import read_runs


def make(
    runs: pd.DataFrame,
    reported: Mapping[str, Any],
    known: Mapping[str, Any],
    *,
    architecture: str,
    dataset: str,
    experiments: Mapping[str, str],
    relative_tolerance: float,
    floor: float,
    initial_nc0: float,
) -> pd.DataFrame:
    """A row a reported number; `known` is collapse.paper_scale of the study."""
    return comparison_table(
        runs,
        reported,
        known,
        architecture=architecture,
        dataset=dataset,
        experiments=experiments,
        relative_tolerance=relative_tolerance,
        floor=floor,
        initial_nc0=initial_nc0,
    )


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
