"""Claim C5c, the control of C5: whether momentum is more than a learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from collapse.paper.claims.evidence import (
    FAILS,
    HOLDS,
    NOT_TESTABLE,
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

MEETS = {EQUIVALENT: True, DIFFERENT: False}  # a number's `holds`; None where nothing can be said


def momentum_is_a_rate(
    runs: pd.DataFrame, *, equivalence: float, most_momentum: float, level: float
) -> Finding:
    """C5c: under SGD at equal learning_rate / (1 - momentum) NC3 is the same at any momentum.

    Two one-sided Welch tests a momentum up to `most_momentum` against none, of ln NC3 over seeds within
    +- ln `equivalence`, each setting a family (Holm). Holds when all are equivalent at `level`, fails when
    one is shown to differ by more. Else nothing can be judged, as with one seed.

    Shown beside it: NC0 over its closed form, which one seed tells; and NC3 at the same decay and equal
    learning rate over its value without momentum, which is what C5 is about.
    """
    how = {"margin": equivalence, "level": level}
    decayed = runs[(runs["optimizer"] == "SGD") & (runs["weight_decay"] > 0)].drop_duplicates("key")
    control = groups_at_equal(decayed, effective_rate(decayed))
    tables = [in_setting(group, **how, most_momentum=most_momentum) for group in control]
    rows = [row for table in tables for row in table.to_dict("records") if row["momentum"] > 0]
    judged = [row for row in rows if not row["result"].startswith(NOT_COMPARED)]
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
    results = [row["result"] for row in judged]
    return Finding(verdict_of(results), said_of(results, worst), worst, numbers)


def in_setting(group: pd.DataFrame, **how: float) -> pd.DataFrame:
    """`by_momentum` with the name of the network and dataset."""
    [(setting, _)] = by_setting(group)
    return by_momentum(group, **how).assign(setting=setting)


def verdict_of(results: list[str]) -> str:
    """Of the results of all comparisons (collapse.paper.momentum_control)."""
    if DIFFERENT in results:
        return FAILS
    return HOLDS if set(results) == {EQUIVALENT} else NOT_TESTABLE


def said_of(results: list[str], worst: Number) -> str:
    """How many comparisons came out how, and the largest difference."""
    counts = ", ".join(f"{results.count(result)} {result}" for result in dict.fromkeys(results))
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
