"""Claims Z-a to Z-e on unconstrained features and fixed heads (Zhu et al. 2021).

Which minimum decoupled decay leads to, and what a fixed head does to it, is not asked there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import pandas as pd

from collapse.paper.claims.evidence import COUPLED, Finding, Number, in_words, judged, not_testable, number
from collapse.paper.claims.zhu_heads import accuracy_is_kept, narrow_fixed_head_aligns
from collapse.paper.unconstrained import at_the_end, threshold

STATEMENTS = {
    "Z-a": "SGD, SGDW, Adam and Signum reach the global minimum of their own objective, AdamW and SignumW no "
    "critical point of any such objective.",
    "Z-b": "NC0 and NC1 vanish at every critical point, NC2 at minima alone.",
    "Z-c": "A fixed simplex head, d = K features, and both together keep the test accuracy.",
    "Z-d": "A fixed head with d = K at least halves NC3 under AdamW and SignumW.",
    "Z-e": "Coupled decay above 1/(K sqrt(n)) leaves nothing: features and weights end at zero.",
}
CRITERIA = {
    "Z-a": "f within {same_value:g} of f* at every weight decay; of AdamW and SignumW the imbalance of W and "
    "H above {no_balance:g}, which is 0 at critical points",
    "Z-b": "every check of critical points and saddles in zhu_table_11 holds",
    "Z-c": "mean test accuracy within {equal_accuracy:g} of the learned head's at d = p, each optimizer",
    "Z-d": "NC3 of the learned head at d = p over that of the fixed one at d = K at least {least_factor:g}",
    "Z-e": "||W|| below {zero:g} above the threshold, and above it below",
}
WITHOUT_OBJECTIVE = ("AdamW", "SignumW")
CRITICAL = ("Critical points", "Saddle", "Minimum")  # statements of zhu_table_11


class ZhuThresholds(TypedDict):
    """Of Z-a the first two, of Z-c, of Z-d, of Z-e."""

    same_value: float
    no_balance: float
    equal_accuracy: float
    least_factor: float
    zero: float


def findings(
    runs: pd.DataFrame,
    ufm: pd.DataFrame,
    theory: pd.DataFrame,
    *,
    experiment: str,
    epsilon: float,
    thresholds: ZhuThresholds,
) -> dict[str, Finding]:
    """Every claim's finding.

    theory: zhu_table_11; experiment: with both heads and feature dimensions; epsilon: of the features judged.
    """
    ends = at_the_end(ufm[ufm["epsilon"] == epsilon])
    its = runs[runs["experiment"] == experiment]
    return {
        "Z-a": own_minimum_is_reached(
            ends, same_value=thresholds["same_value"], no_balance=thresholds["no_balance"]
        ),
        "Z-b": critical_points_are_known(theory),
        "Z-c": accuracy_is_kept(its, equal_accuracy=thresholds["equal_accuracy"]),
        "Z-d": narrow_fixed_head_aligns(
            its, decoupled=WITHOUT_OBJECTIVE, least_factor=thresholds["least_factor"]
        ),
        "Z-e": strong_decay_leaves_nothing(ends, zero=thresholds["zero"]),
    }


def own_minimum_is_reached(ends: pd.DataFrame, *, same_value: float, no_balance: float) -> Finding:
    """Z-a: f - f* of those with an objective; W^T W against H H^T of those without."""
    numbers: list[Number] = []
    for name, its in ends.groupby("optimizer", sort=False):
        if name in WITHOUT_OBJECTIVE:
            least = its["imbalance"].min(skipna=False)  # NaN of a run that diverged holds for nothing
            holds = least > no_balance
            numbers.append(number(name, "imbalance of W and H, least", least, n=len(its), holds=holds))
        else:
            gap = (its["objective"] - its["minimum"]).abs()
            worst = gap.max() if gap.notna().all() else np.nan
            numbers.append(number(name, "|f - f*|, largest", worst, n=len(its), holds=worst <= same_value))
    gaps = [each for each in numbers if each["part"] not in WITHOUT_OBJECTIVE]
    if not gaps:
        return not_testable("no unconstrained features were trained")
    effect = max(gaps, key=lambda each: np.nan_to_num(each["value"], nan=np.inf))
    words = ", ".join(f"{each['part']} {each['value']:.1e}" for each in numbers)
    return Finding(judged(numbers), words, effect, numbers)


def critical_points_are_known(theory: pd.DataFrame) -> Finding:
    """Z-b: what zhu_table_11 found at every critical point, in closed form or by search."""
    numbers = []
    for statement in CRITICAL:
        its = theory[theory["statement"] == statement]
        if len(its):
            share = (its["verdict"] == "holds").mean()
            numbers.append(
                number(statement, "share of checks that hold", share, n=len(its), holds=share == 1)
            )
    if not numbers:
        return not_testable("zhu_table_11 has no critical point")
    worst = min(numbers, key=lambda each: each["value"])
    checks = sum(each["n"] for each in numbers)
    return Finding(judged(numbers), f"{checks} checks; least {in_words(worst)}", worst, numbers)


def strong_decay_leaves_nothing(ends: pd.DataFrame, *, zero: float) -> Finding:
    """Z-e: ||W|| of coupled decay on both sides of 1/(K sqrt(n))."""
    coupled = ends[ends["optimizer"].isin(COUPLED)]
    if coupled.empty:
        return not_testable("no unconstrained features were trained with coupled decay")
    above = coupled["weight_decay"] > threshold(coupled)
    if not above.any() or above.all():
        return not_testable("no coupled weight decays on both sides of 1/(K sqrt(n))")
    norms = coupled["norm_W"]
    largest, least = norms[above].max(skipna=False), norms[~above].min(skipna=False)
    numbers = [
        number("above", "largest ||W||", largest, n=int(above.sum()), holds=largest < zero),
        number("below", "least ||W||", least, n=int((~above).sum()), holds=least > zero),
    ]
    words = f"above the threshold ||W|| at most {largest:.1e}, below it at least {least:.3g}"
    return Finding(judged(numbers), words, numbers[0], numbers)


def looks_in(experiment: str, claims: Sequence[str] = ("Z-c", "Z-d")) -> dict[str, list[str]]:
    """The experiments in which the claims look; the others look at no run."""
    return {name: [experiment] if name in claims else [] for name in STATEMENTS}
