"""Claim C5c, the control of C5: whether momentum is more than a learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from collapse.paper.claims.cells import verdict_of
from collapse.paper.claims.evidence import (
    Finding,
    Number,
    by_setting,
    in_words,
    not_testable,
    number,
)
from collapse.paper.momentum_control import (
    DIFFERENT,
    EQUAL_EFFECTIVE_RATE,
    EQUAL_RATE,
    EQUIVALENT,
    NOT_COMPARED,
    ONE_SEED,
    by_momentum,
    effective_rate,
    groups_at_equal,
)

FEW, WITHOUT_RUNS = "with too few seeds", "without a valid run"
MEETS = {EQUIVALENT: True, DIFFERENT: False}  # a number's `holds`; None where nothing can be said


def momentum_is_a_rate(
    runs: pd.DataFrame, *, equivalence: float, most_momentum: float, level: float, least_seeds: int
) -> Finding:
    """C5c: under SGD at equal learning_rate / (1 - momentum) NC3 is the same at any momentum.

    Two one-sided Welch tests a momentum up to `most_momentum` against none, of ln NC3 over seeds within
    +- ln `equivalence`, each setting a family (Holm). Holds when all are equivalent at `level`, fails when
    one is shown to differ by more. Else nothing can be judged: as where a momentum, or momentum 0, has fewer
    than `least_seeds` valid seeds.

    Shown beside it: NC0 over its closed form, which one seed tells; and NC3 at the same decay and equal
    learning rate over its value without momentum, which is what C5 is about.
    """
    how = {"margin": equivalence, "level": level}
    decayed = runs[(runs["optimizer"] == "SGD") & (runs["weight_decay"] > 0)].drop_duplicates("key")
    control = groups_at_equal(decayed, effective_rate(decayed))
    tables = [in_setting(group, **how, most_momentum=most_momentum) for group in control]
    rows = [row for table in tables for row in beside_none(table)]
    wanted = [row for row in rows if row["momentum"] <= most_momentum]
    judged = [row for row in wanted if not row["result"].startswith(NOT_COMPARED)]
    if not judged:
        why = "no valid SGD runs with and without momentum at equal learning rate / (1 - momentum)"
        return not_testable(why)
    decays = {decay for group in control for decay in group["weight_decay"]}
    same_decay = decayed[decayed["weight_decay"].isin(decays)]
    beside = [
        row
        for group in groups_at_equal(same_decay, same_decay["learning_rate"])
        for row in in_setting(group, **how, most_momentum=0).to_dict("records")
        if row["momentum"] > 0 and np.isfinite(row["NC3_ratio"])
    ]
    worst = nc3_over_none(max(judged, key=lambda row: abs(np.log(row["NC3_ratio"]))), EQUAL_EFFECTIVE_RATE)
    numbers = [nc3_over_none(row, EQUAL_EFFECTIVE_RATE) for row in rows]
    numbers += [nc0_over_closed_form(row) for row in rows]
    numbers += [nc3_over_none(row, EQUAL_RATE) for row in beside]
    results = [
        FEW if row["result"] == EQUIVALENT and row["least"] < least_seeds else row["result"] for row in wanted
    ]
    met = [MEETS.get(result) for result in results]
    return Finding(verdict_of(met), said_of(results, worst), worst, numbers)


def beside_none(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows with momentum; `least`: the valid seeds of it or of momentum 0, whichever are fewer."""
    without = table.loc[table["momentum"] == 0, "seeds"].min()
    rows = table.to_dict("records")
    return [row | {"least": min(row["seeds"], without)} for row in rows if row["momentum"] > 0]


def in_setting(group: pd.DataFrame, **how: float) -> pd.DataFrame:
    """`by_momentum` with the name of the network and dataset."""
    [(setting, _)] = by_setting(group)
    return by_momentum(group, **how).assign(setting=setting)


def said_of(results: list[str], worst: Number) -> str:
    """How many comparisons came out how, and the largest difference."""
    named = [WITHOUT_RUNS if result == NOT_COMPARED else result for result in results]
    counts = ", ".join(f"{named.count(name)} {name}" for name in dict.fromkeys(named))
    if set(results) == {ONE_SEED}:
        counts = "one seed of each momentum, which tells no equivalence"
    return f"{counts}; farthest from 1: NC3 x {in_words(worst)} ({worst['part']})"


def nc3_over_none(row: Mapping[str, Any], equal: str) -> Number:
    """NC3 at one momentum over that without, at an equal rate, with its interval over seeds."""
    return number(
        f"{row['setting']}, momentum {row['momentum']:g}",
        f"NC3 over that without momentum, equal {equal}",
        row["NC3_ratio"],
        low=row["NC3_ratio_low"],
        high=row["NC3_ratio_high"],
        n=row["seeds"],
        holds=MEETS.get(row["result"]),
    )


def nc0_over_closed_form(row: Mapping[str, Any]) -> Number:
    """What C12 judges, here of the runs of one momentum."""
    part = f"{row['setting']}, momentum {row['momentum']:g}"
    return number(part, "NC0 over its closed form", row["NC0"] / row["NC0_closed_form"], n=row["seeds"])
