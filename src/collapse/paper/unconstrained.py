"""The table `ufm`: unconstrained features that were trained without a network (Zhu et al. 2021)."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from collapse.theory import ufm

RUN = ["optimizer", "learning_rate", "momentum", "weight_decay", "epsilon", "seed"]


def at_the_end(trained: pd.DataFrame) -> pd.DataFrame:
    """The last logged step of every training."""
    return trained.sort_values("step").groupby(RUN, sort=False).tail(1).reset_index(drop=True)


def of_decay(trained: pd.DataFrame, weight_decay: float) -> pd.DataFrame:
    """The trainings at one weight decay."""
    return trained[np.isclose(trained["weight_decay"], weight_decay)]


def threshold(trained: pd.DataFrame) -> float:
    """1 / (K sqrt(n)): the weight decay from which on the minimum is zero."""
    return ufm.threshold(**trained.iloc[0][["num_classes", "samples_per_class"]])


def norm_at_minimum(trained: pd.DataFrame, decay: float) -> float:
    """||W||_F at the minimum of the objective with one decay for W and H; 0 above the threshold."""
    first = trained.iloc[0]
    sizes = (int(first[name]) for name in ("num_classes", "samples_per_class", "num_features"))
    return math.sqrt(first["num_classes"]) * ufm.row_norm(ufm.Model(*sizes, decay, decay, 0.0))


def vertex_words(trained: pd.DataFrame) -> list[str]:
    """(lambda NC0)^2 of SignumW at the end: an integer where W has come to a vertex of its box."""
    ends = at_the_end(trained[trained["optimizer"] == "SignumW"])
    found = [(row.weight_decay * row.NC0) ** 2 for row in ends.itertuples()]
    return [f"SignumW ends with $(\\lambda\\,$NC0$)^2$ = {value:.4g}" for value in found]
