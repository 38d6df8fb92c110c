"""Metrics that tables were written with under an earlier definition, as the code defines them now.

Evidence is kept as it was written, byte for byte; its numbers are converted when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from collapse.measuring.results import HISTORY_COLUMNS, RUN_COLUMNS
from collapse.metrics.further import CENTRED

# 1: NC2n and NC2Wn divided the sum of squares by K; 2: by K - 1; 3: the metrics of centred W are there.
DEFINITIONS = 3
STANDARD_DEVIATIONS = ("NC2n", "NC2Wn")


def columns_since(definitions: int) -> list[str]:
    """The columns that tables written under the given definitions are without."""
    return [] if definitions >= 3 else [*CENTRED, *(f"{name}_init" for name in CENTRED)]


def history_as_defined_now(history: pd.DataFrame, *, definitions: int) -> pd.DataFrame:
    """History written under the given definitions. NC2W_centred of before definition 3 is not known: NaN."""
    if definitions < 2:
        history = with_sample_deviations(history, history)
    if definitions < 3:
        history = with_centred(history)[HISTORY_COLUMNS]
    return history


def runs_as_defined_now(
    runs: pd.DataFrame,
    history: pd.DataFrame,
    *,
    final: Mapping[str, Mapping[str, float]],
    definitions: int,
) -> pd.DataFrame:
    """Runs written under the given definitions. history: of the same runs, as defined now.

    final: by key, the metrics at the end of those that were done, computed anew from class statistics.
    """
    if definitions < 2:
        runs = with_sample_deviations(runs, history)
    if definitions < 3:
        first = history[history.epoch == 0].set_index("key")
        runs = runs.assign(
            **{name: [final.get(key, {}).get(name, np.nan) for key in runs.key] for name in CENTRED},
            **{f"{name}_init": runs.key.map(first[name]) for name in CENTRED},
        )[RUN_COLUMNS]
    return runs


def with_sample_deviations(table: pd.DataFrame, history: pd.DataFrame) -> pd.DataFrame:
    """std with K - 1, which is sqrt(K / (K - 1)) times that with K. history: of the same runs, tells their K.

    Of final, initial and intermediate values.
    """
    num_classes = history.dropna(subset="singular_values_W").groupby("key").singular_values_W.first().map(len)
    classes = table.key.map(num_classes)
    names = [name for name in table if name.removesuffix("_init") in STANDARD_DEVIATIONS]
    return table.assign(**{name: table[name] * np.sqrt(classes / (classes - 1)) for name in names})


def with_centred(history: pd.DataFrame) -> pd.DataFrame:
    """Adds gauge_share = NC0^2 / (K sum of squared singular values of W), and what NC3 is without it.

    NC3_centred^2 = 2 - (2 - NC3^2) / sqrt(1 - gauge_share), since <W, M^T> = <W_c, M^T> (M is centred) and
    ||W_c|| = sqrt(1 - gauge_share) ||W||. As the other metrics, at the measured epochs alone.
    """
    spectra = [np.nan if values is None else np.asarray(values) for values in history.singular_values_W]
    squares = np.array([np.size(values) * np.sum(np.square(values)) for values in spectra])
    with np.errstate(
        divide="ignore", invalid="ignore"
    ):  # NaN, as the metrics are, of W = 0 and of equal rows
        share = (history.NC0**2 / squares).where(history.NC3.notna()).clip(upper=1)
        squared = 2 - (2 - history.NC3**2) / np.sqrt(1 - share)
    distance = np.sqrt(squared.clip(lower=0))
    return history.assign(gauge_share=share, NC2W_centred=np.nan, NC3_centred=distance)
