"""Claims Z-c and Z-d: what a fixed head and as few features as classes change (Zhu et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from collapse.paper.claims.evidence import (
    HOLDS,
    SAME,
    Finding,
    Number,
    in_words,
    judged,
    not_testable,
    number,
)

FORM = ["head", "feature_dimension"]
NETWORK = ["architecture", "stem", "dataset"]
LEARNED, FIXED, NARROW = ("learned", "p"), ("fixed_etf", "p"), ("fixed_etf", "K")


def beside_learned(runs: pd.DataFrame, form: tuple[str, str]) -> pd.DataFrame:
    """Valid runs of a form (columns ..._b) beside the learned head's at d = p (..._a) that are alike else."""
    valid = runs[runs["valid"].astype(bool)].drop_duplicates("key")
    first, second = (
        valid[(valid["head"] == head) & (valid["feature_dimension"] == dimension)]
        for head, dimension in (LEARNED, form)
    )
    return first.merge(second, on=[name for name in SAME if name not in FORM], suffixes=("_a", "_b"))


def accuracy_is_kept(runs: pd.DataFrame, *, equal_accuracy: float) -> Finding:
    """Z-c: with a fixed head, with d = K and with both, test accuracy is that of the learned head at d = p.

    Of each optimizer and network the mean difference over runs alike but for their form; all within
    `equal_accuracy`. A form of which no pair is valid holds for nothing.
    """
    numbers: list[Number] = []
    for form in (FIXED, ("learned", "K"), NARROW):
        pairs = beside_learned(runs, form)
        for cell, _ in runs.groupby(["optimizer", *NETWORK], dropna=False, sort=False):
            its = pairs[is_cell(pairs, cell)]
            change = (its["test_accuracy_b"] - its["test_accuracy_a"]).astype(float).mean()
            part = f"{cell_name(cell, runs)}, {form[0]} head, d = {form[1]}"
            holds = bool(abs(change) <= equal_accuracy)
            numbers.append(number(part, "change of test accuracy", change, n=len(its), holds=holds))
    if not any(each["n"] for each in numbers):
        return not_testable("no valid runs that differ in head or feature dimension alone")
    worst = max(numbers, key=lambda each: np.nan_to_num(abs(each["value"]), nan=-1))
    met = sum(bool(each["holds"]) for each in numbers)
    lost = sum(not each["n"] for each in numbers)
    words = f"{met} of {len(numbers)} within {equal_accuracy:g}; largest {in_words(worst)} ({worst['part']})"
    words += f"; {lost} without a valid pair" if lost else ""
    return Finding(judged(numbers), words, worst, numbers)


def is_cell(runs: pd.DataFrame, cell: tuple) -> pd.Series:
    """Which runs have an optimizer and a network; a stem may be none."""
    keep = pd.Series(True, index=runs.index)
    for name, value in zip(["optimizer", *NETWORK], cell, strict=True):
        keep &= runs[name].isna() if pd.isna(value) else runs[name] == value
    return keep


def cell_name(cell: tuple, runs: pd.DataFrame) -> str:
    """Its optimizer, and what of its network not all runs have in common."""
    optimizer, *network = cell
    named = [
        str(value)
        for name, value in zip(NETWORK, network, strict=True)
        if runs[name].nunique(dropna=False) > 1 and not pd.isna(value)
    ]
    return " ".join([optimizer, *(["on", *named] if named else [])])


def narrow_fixed_head_aligns(runs: pd.DataFrame, *, decoupled: Sequence[str], least_factor: float) -> Finding:
    """Z-d: under decoupled adaptive optimizers a fixed head with d = K at least halves NC3.

    The geometric mean over seeds of NC3 with the learned head at d = p over NC3 with the fixed one at d = K,
    of each of `decoupled`; it must be `least_factor`. Shown beside it: with the fixed head at d = p.
    """
    numbers: list[Number] = []
    for form, judges in ((NARROW, True), (FIXED, False)):
        pairs = beside_learned(runs, form)
        for optimizer in decoupled:
            its = pairs[pairs["optimizer"] == optimizer]
            if its.empty:
                continue
            logs = np.log(its["NC3_a"].astype(float) / its["NC3_b"].astype(float))
            factor = float(np.exp(logs.mean()))
            part = f"{optimizer}, fixed head, d = {form[1]}"
            holds = factor >= least_factor if judges else None
            numbers.append(number(part, "NC3 of the learned head over that", factor, n=len(its), holds=holds))
    wanted = [each for each in numbers if each["holds"] is not None]
    if len(wanted) < len(decoupled):
        return not_testable(f"no valid runs with both heads of each of {', '.join(decoupled)}")
    least = min(wanted, key=lambda each: each["value"])
    verdict = judged(wanted)
    words = f"NC3 falls by {in_words(least)} or more" if verdict == HOLDS else f"least {in_words(least)}"
    return Finding(verdict, f"{words} ({least['part']})", least, numbers)
