"""Claims O1 to O7: what the optimizers that the paper leaves open do to NC0, predicted before training.

O4 to O6, which compare optimizers over seeds, are in collapse.paper.claims.cells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from collapse.optimizers import OPTIMIZERS, WeightDecayKind
from collapse.paper.claims.cells import (
    Cells,
    cautious_stays_above,
    centring_moves_nc0_alone,
    head_rule_decides,
)
from collapse.paper.claims.evidence import (
    COUPLED,
    Finding,
    counted,
    judged,
    not_testable,
    number,
)
from collapse.paper.optimizer_table import kept_nc0
from collapse.paper.selection import run_name, what_became
from collapse.theory.keepers import RowSum, row_sum

STATEMENTS = {
    "O1": "Under decoupled decay NC0 is SGDW's closed form for every optimizer that keeps the row sum, "
    "as Muon, Shampoo and SOAP do.",
    "O2": "Optimizers that work entry by entry, as Lion, MARS and AdamW, stay above it; so does Muon with "
    "its head by Adam.",
    "O3": "Under coupled decay every optimizer lowers NC0.",
    "O4": "MuonW and MuonHiddenW, which differ in the rule of the head alone, differ in NC0.",
    "O5": "AdamCentredW, AdamW without the row sum of its direction, differs from AdamW in NC0 alone.",
    "O6": "Cautious decay keeps NC0 above what decoupled decay gives.",
    "O7": "In float32 SOAPW without its relative epsilon leaves the closed form.",
}
CRITERIA = {
    "O1": "NC0 within {tolerance:.0%} of the closed form where that is at least {floor:g}, {rounding:g} of "
    "rounding apart; SOAPW within {soap_tolerance:.0%}",
    "O2": "NC0 at least {least_ratio:g} times the closed form in {least_share:.0%} of valid runs, and on "
    "average of each optimizer, where the closed form is at most {most_left:g} NC0(0)",
    "O3": "NC0 below NC0(0) in {least_share:.0%} of valid runs with decay, and on average of each optimizer",
    "O4": "MuonHiddenW's NC0 at least {least_ratio:g} times MuonW's in every cell, p at most "
    "{cells[significance]:g} (exact permutation, Holm); {cells[least_seeds]} seeds or more",
    "O5": "NC0 differs (exact permutation), and NC3 of centred W is the same within the factor "
    "{cells[margin]:g} (TOST), p at most {cells[significance]:g} (Holm); {cells[least_seeds]} seeds or more",
    "O6": "NC0 with cautious decay above that with decoupled decay in every cell, p at most "
    "{cells[significance]:g} (exact permutation, Holm); {cells[least_seeds]} seeds or more",
    "O7": "largest relative deviation above {soap_tolerance:.0%}, in table 102's simulation",
}
# Checks of table 102.
WITH_EPSILON = "float32: deviation of W^T 1"
WITHOUT_EPSILON = "float32, rho = 0: deviation of W^T 1"


def of_kind(runs: pd.DataFrame, kind: WeightDecayKind) -> pd.DataFrame:
    """The runs, each training once, of optimizers with that kind of decay."""
    names = [name for name, one in OPTIMIZERS.items() if one.weight_decay_kind is kind]
    return runs[runs["optimizer"].isin(names)].drop_duplicates("key")


def not_judged(runs: pd.DataFrame, judgeable: pd.Series) -> str:
    """ "; not judged: SGD at weight decay 0.014 (5 undertrained)": the settings with no run to judge."""
    cells = runs.groupby(["optimizer", "learning_rate", "weight_decay"], sort=False)
    named = [
        f"{run_name(its.iloc[0], by=['weight_decay'])} ({what_became(its)})"
        for _, its in cells
        if not judgeable[its.index].any()
    ]
    return f"; not judged: {', '.join(named)}" if named else ""


def keepers_follow(
    runs: pd.DataFrame, *, tolerance: float, soap_tolerance: float, floor: float, rounding: float
) -> Finding:
    """O1: at the end of every run that ended, NC0 is the closed form within a tolerance, `rounding` apart.

    Of decoupled optimizers that keep the row sum (collapse.theory.keepers). Where the closed form is below
    `floor`, NC0 must be so too. Adafactor, which nearly keeps it, is shown.
    """
    limits = {RowSum.KEPT: tolerance, RowSum.ROUNDED: soap_tolerance, RowSum.NEARLY: None}
    every = of_kind(runs, WeightDecayKind.DECOUPLED)
    every = every[every["optimizer"].map(row_sum).isin(list(limits))]
    ended = every[every["status"] == "done"]
    known, nc0 = kept_nc0(ended), ended["NC0"].astype(float)
    bound = known.clip(lower=floor)
    beyond = (nc0 - bound).abs().where((known >= floor) | (nc0 > floor), 0) - rounding
    off = (beyond.clip(lower=0) / bound).fillna(np.inf)  # no value where there must be one
    numbers = []
    for name in ended["optimizer"].unique():
        its, limit = off[ended["optimizer"] == name], limits[row_sum(name)]
        holds = None if limit is None else its.max() <= limit
        quantity = "largest relative deviation of NC0"
        numbers.append(number(name, quantity, its.max(), n=len(its), holds=holds))
    tested = [row for row in numbers if row["holds"] is not None]
    if not any(row["part"] != "SGDW" for row in tested):
        return not_testable("no optimizer but SGDW that keeps the row sum has ended here")
    worst = max(tested, key=lambda row: row["value"])
    words = f"largest deviation {worst['value']:.1e} ({worst['part']}), {len(tested)} optimizers"
    nearly = [row for row in numbers if row["holds"] is None]
    words += "".join(f"; {row['part']}, which nearly keeps it: {row['value']:.2g}" for row in nearly)
    words += not_judged(every, every["status"] == "done")
    return Finding(judged(numbers), words, worst, numbers)


def others_stay_above(
    runs: pd.DataFrame, *, least_ratio: float, least_share: float, most_left: float, floor: float
) -> Finding:
    """O2: decoupled optimizers that do not keep the row sum have NC0 `least_ratio` times the closed form.

    Of valid runs whose closed form is at most `most_left` of NC0(0): where the decay has hardly acted, all
    are alike.
    """
    every = of_kind(runs[runs["weight_decay"] > 0], WeightDecayKind.DECOUPLED)
    every = every[every["optimizer"].map(row_sum) == RowSum.LOST]
    valid = every[every["valid"].astype(bool)]
    known = kept_nc0(valid)
    valid = valid[known <= most_left * valid["NC0_init"].astype(float)]
    if valid.empty:
        return not_testable("no valid run of an optimizer that works entry by entry and has decayed enough")
    ratio = valid["NC0"].astype(float) / known[valid.index].clip(lower=floor)
    found = _above(valid, ratio, least_ratio, "NC0 over the closed form", least_share=least_share)
    return replace(found, words=found.words + not_judged(every, every["valid"].astype(bool)))


def _above(
    runs: pd.DataFrame, ratio: pd.Series, bound: float, quantity: str, *, least_share: float
) -> Finding:
    """Whether `ratio` is at least `bound` in most runs, and so is its geometric mean of each optimizer."""
    enough = (ratio >= bound).mean()
    share = number(
        "all", f"{quantity} >= {bound:g}, share", enough, n=len(ratio), holds=enough >= least_share
    )
    means = []
    for name, its in np.log(ratio).groupby(runs["optimizer"], sort=False):
        mean = float(np.exp(its.mean()))
        means.append(number(name, f"{quantity}, geometric mean", mean, n=len(its), holds=mean >= bound))
    least = min(means, key=lambda row: row["value"])
    each = ", ".join(f"{row['part']} {row['value']:.3g}" for row in means)
    words = f"{quantity} >= {bound:g} in {counted(share)} runs; {each}"
    return Finding(judged([share, *means]), words, least, [share, *means])


def coupled_lowers(runs: pd.DataFrame, *, least_share: float, floor: float) -> Finding:
    """O3: of valid runs with coupled decay, NC0 ends below its value at initialisation."""
    every = runs[runs["optimizer"].isin(COUPLED) & (runs["weight_decay"] > 0)].drop_duplicates("key")
    valid = every[every["valid"].astype(bool)]
    if valid.empty:
        return not_testable("no valid run with coupled decay")
    ratio = valid["NC0_init"].astype(float) / valid["NC0"].astype(float).clip(lower=floor)
    found = _above(valid, ratio, 1, "NC0(0) / NC0", least_share=least_share)
    return replace(found, words=found.words + not_judged(every, every["valid"].astype(bool)))


def soap_needs_its_epsilon(optimizer_theory: pd.DataFrame, *, soap_tolerance: float) -> Finding:
    """O7: of the simulation in table 102, in float32; no study trains SOAPW without its relative epsilon."""
    numbers = []
    for check in (WITHOUT_EPSILON, WITH_EPSILON):
        found = optimizer_theory.loc[optimizer_theory["check"] == check, "simulated"]
        if found.empty:
            return not_testable(f"table 102 has no row {check!r}")
        off = float(found.iloc[0])
        holds = off > soap_tolerance if check == WITHOUT_EPSILON else None
        numbers.append(number("table 102, SOAPW", check, off, n=1, holds=holds))
    words = f"deviation {numbers[0]['value']:.2g} without it, {numbers[1]['value']:.2g} with it"
    return Finding(judged(numbers), words, numbers[0], numbers)


def judges(
    *,
    tolerance: float,
    soap_tolerance: float,
    least_ratio: float,
    least_share: float,
    most_left: float,
    floor: float,
    rounding: float,
    cells: Cells,
) -> dict[str, Callable[[pd.DataFrame], Finding]]:
    """By claim, the function of the runs of its experiments. The settings are those of targets.yaml."""
    exact = {"tolerance": tolerance, "soap_tolerance": soap_tolerance, "rounding": rounding}
    above = {"least_ratio": least_ratio, "most_left": most_left}
    share = {"least_share": least_share, "floor": floor}
    return {
        "O1": partial(keepers_follow, **exact, floor=floor),
        "O2": partial(others_stay_above, **above, **share),
        "O3": partial(coupled_lowers, **share),
        "O4": partial(head_rule_decides, least_ratio=least_ratio, cells=cells, floor=floor),
        "O5": partial(centring_moves_nc0_alone, cells=cells, floor=floor),
        "O6": partial(cautious_stays_above, cells=cells, floor=floor),
    }
