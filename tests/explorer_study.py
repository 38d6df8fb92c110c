"""A made-up study of the paper's size, with a history of every run, for the explorer."""

from __future__ import annotations

import numpy as np
import pandas as pd
from conftest import ROOT

from collapse.measuring.results import HISTORY_COLUMNS, RUN_COLUMNS
from collapse.paper.explorer.tables import CURVES, ENDS
from collapse.study.parameters import load_parameters
from collapse.study.runs import run_table


def paper_size() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The paper's own runs, all valid, with random metrics, logged whenever its settings say so."""
    runs = run_table(load_parameters(ROOT / "params.yaml"), "paper").reset_index(drop=True)
    rng = np.random.default_rng(0)
    ends = {name: rng.lognormal(size=len(runs)) for name in ENDS}
    known = {"status": "done", "valid": True, "reason": "", "epochs_done": runs["epochs"], "threads": 1}
    known |= {"device": "made up", "torch_version": "none", "protocol": 0, "seconds": 1.0}
    missing = [name for name in RUN_COLUMNS if name not in runs and name not in ends and name not in known]
    runs = runs.assign(**ends, **known, **dict.fromkeys(missing, np.nan))[RUN_COLUMNS]
    parts = []
    for run in runs.drop_duplicates("key").itertuples():
        epochs = [0, 1, 2, 4, 8, *range(run.measure_every, run.epochs + 1, run.measure_every)]
        logged = {name: rng.lognormal(size=len(epochs)) for name in CURVES}
        parts.append(pd.DataFrame({"key": run.key, "epoch": epochs, "measured": True} | logged))
    history = pd.concat(parts, ignore_index=True)
    return runs, history.reindex(columns=HISTORY_COLUMNS)
