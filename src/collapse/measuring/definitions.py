"""Metrics that tables were written with under an earlier definition, as the code defines them now.

Evidence is kept as it was written, byte for byte; its numbers are converted when it is read.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

# 1: NC2n and NC2Wn divided the sum of squares by K; 2: by K - 1.
DEFINITIONS = 2
STANDARD_DEVIATIONS = ("NC2n", "NC2Wn")


def as_defined_now(table: pd.DataFrame, history: pd.DataFrame, *, definitions: int) -> pd.DataFrame:
    """Runs or history written under the given definitions. history: of the same runs, which tells their K.

    std with K - 1 is sqrt(K / (K - 1)) times that with K, of final, initial and intermediate values.
    """
    if definitions >= 2:
        return table
    num_classes = history.dropna(subset="singular_values_W").groupby("key").singular_values_W.first().map(len)
    classes = table.key.map(num_classes)
    names = [name for name in table if name.removesuffix("_init") in STANDARD_DEVIATIONS]
    return table.assign(**{name: table[name] * np.sqrt(classes / (classes - 1)) for name in names})
