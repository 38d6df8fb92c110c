"""Runs that differ in their seed alone: one line, one point or one row stands for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from collapse.study.settings import SETTINGS

ALIKE = ["experiment", *(name for name in SETTINGS if name != "seed")]


def settings_of(runs: pd.DataFrame, *, apart: Sequence[str | None] = ()) -> Iterator[pd.DataFrame]:
    """The runs of each setting, its seeds, in the order in which `runs` has the settings.

    With "seed" among the columns `apart` each run stands alone.
    """
    columns = ALIKE + ["seed"] * ("seed" in apart)
    for _, its in runs.groupby(columns, dropna=False, sort=False):
        yield its


def words_on_seeds(
    every: pd.DataFrame, *, shown: pd.DataFrame, what: str, apart: Sequence[str | None] = ()
) -> list[str]:
    """How many seeds each `what`, as "line", is the mean of; [] where every setting has one.

    `shown` is part of `every`: ["each line is the mean over 5 seeds", "MuonW over 4 of 5"].
    """
    settings = list(settings_of(every, apart=apart))
    planned = sorted({len(its) for its in settings})
    if shown.empty or planned[-1] < 2:
        return []
    counts = [int(its["key"].isin(shown["key"]).sum()) for its in settings]
    fewer = [
        f"{its['optimizer'].iloc[0]} over {count} of {len(its)}"
        for its, count in zip(settings, counts, strict=True)
        if 0 < count < len(its)
    ]
    return [f"each {what} is the mean over {from_to(planned)} seeds", *dict.fromkeys(fewer)]


def from_to(values: Sequence[object]) -> str:
    """ "5", or "1 to 5", of values in order."""
    return f"{values[0]}" if len(values) == 1 else f"{values[0]} to {values[-1]}"
