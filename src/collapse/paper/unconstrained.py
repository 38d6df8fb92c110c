"""The table `ufm`: unconstrained features that were trained without a network (Zhu et al. 2021)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from collapse.theory import ufm

NO_WEIGHTS = 1e-6  # ||W|| of a training that ended at zero; only directions of rounding are left
RUN = ["optimizer", "learning_rate", "momentum", "weight_decay", "epsilon", "seed"]


def at_the_end(trained: pd.DataFrame) -> pd.DataFrame:
    """The last logged step of every training."""
    return trained.sort_values("step").groupby(RUN, sort=False).tail(1).reset_index(drop=True)


def of_decays(trained: pd.DataFrame, weight_decays: Mapping[str, float]) -> pd.DataFrame:
    """The trainings of some optimizers, each at its own weight decay."""
    wanted = trained["optimizer"].map(weight_decays).astype(float)
    return trained[np.isclose(trained["weight_decay"].astype(float), wanted)]


def threshold(trained: pd.DataFrame) -> float:
    """1 / (K sqrt(n)): the weight decay from which on the minimum is zero."""
    return ufm.threshold(**trained.iloc[0][["num_classes", "samples_per_class"]])


def norm_at_minimum(trained: pd.DataFrame, decay: float) -> float:
    """||W||_F at the minimum of the objective with one decay for W and H; 0 above the threshold."""
    first = trained.iloc[0]
    sizes = (int(first[name]) for name in ("num_classes", "samples_per_class", "num_features"))
    return math.sqrt(first["num_classes"]) * ufm.row_norm(ufm.Model(*sizes, decay, decay, 0.0))


def squares_of_columns(trained: pd.DataFrame) -> pd.Series:
    """(lambda NC0)^2: under SignumW, at a vertex of the box |W| <= 1/lambda, a sum of squares of integers.

    They are the column sums of sign(W), D of them and of K's parity.
    """
    return (trained["weight_decay"] * trained["NC0"]).astype(float) ** 2


def nearest_at_vertex(value: float, *, num_classes: int, num_features: int) -> int:
    """The number nearest to `value` that `squares_of_columns` can be at a vertex.

    A multiple of 4 for even K; for odd K the D squares are of odd numbers, and D plus a multiple of 8.
    """
    if num_classes % 2 == 0:
        return 4 * round(value / 4)
    return num_features + 8 * max(0, round((value - num_features) / 8))
