"""Rule unconstrained_features: what features without a network come to under one optimizer."""

from pathlib import Path

import pandas as pd

from collapse.measuring.results import FURTHER
from collapse.records.job import job
from collapse.theory.ufm_descent import logged_training
from collapse.training.pack_files import save_table

with job(snakemake, threads=1):
    rows = [run | logged for run in snakemake.params.runs for logged in logged_training(**run)]
    table = pd.DataFrame(rows).drop(columns="steps")[FURTHER["ufm"]]
    save_table(table, Path(snakemake.output.ufm))
