"""The paper's claims C1 to C12 and ours beyond it, each judged by a pure function on whatever study was run.

To add one: a function that returns a Finding (collapse.paper.claims.evidence), an entry in STATEMENTS, a
line in `findings`, and under `analysis:` in targets.yaml the experiments in which it looks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypedDict

import pandas as pd

from collapse.paper.claims import optimizers
from collapse.paper.claims.cells import Cells
from collapse.paper.claims.control import momentum_is_a_rate
from collapse.paper.claims.decay import (
    ADAPTIVE,
    decay_is_needed,
    decoupled_stays_above,
    more_decay_is_lower,
    sgd_differs_little,
)
from collapse.paper.claims.depth import adamw_lies_above, never_rises
from collapse.paper.claims.evidence import Bootstrap, Finding, not_testable
from collapse.paper.claims.geometry import (
    adamw_collapses_in_part,
    nc0_explains_nc3,
    nc4_follows_accuracy,
    theory_is_exact,
)
from collapse.paper.claims.training import (
    coupling_lowers,
    longer_changes_nothing,
    momentum_strengthens_decay,
    ufm_splits_too,
)
from collapse.paper.selection import not_valid, why_no_valid

STATEMENTS = {
    "C1": "Without weight decay no optimizer reaches the NC that coupled decay reaches.",
    "C2": "More coupled decay, lower NC0 and NC3.",
    "C3": "NC0 and NC3 of AdamW and SignumW stay above Adam's and Signum's at any decay, even orders larger.",
    "C4": "SGD and SGDW differ little beside that.",
    "C5": "Momentum strengthens weight decay under SGD, beyond its effect on the loss.",
    "C5c": "Control of C5: at equal learning rate / (1 - momentum) momentum changes NC3 under SGD by little.",
    "C6": "Moving decay from decoupled to coupled lowers NC0, NC2 and NC3 at equal validation accuracy.",
    "C7": "log NC0 explains over 70% of NC3's variance.",
    "C8": "An AdamW run can reach the smallest NC1 and NC2 while its NC0 grows.",
    "C9": "NC4 is about 1 whenever training accuracy is about 100%.",
    "C10": "Ten times the epochs change none of this.",
    "C11": "The unconstrained features model shows the same split.",
    "C12": "What theory says of NC0 holds exactly.",
    "D1": "From layer to layer the scatter within classes over that between them never rises.",
    "D2": "In the deeper layers this ratio is larger under AdamW than under Adam.",
    **optimizers.STATEMENTS,
}

# When a claim holds, with the settings of targets.yaml; the whole of it in the function's docstring.
CRITERIA = {
    "C1": "the smallest without decay is above the smallest with coupled decay everywhere, in {metrics}",
    "C2": "so in {least_share:.0%} of untied pairs, and in most of each optimizer and setting",
    "C3": "so in {least_share:.0%} of untied pairs, and on average at every decoupled decay in every setting",
    "C4": "decoupling moves SGD at most {little:g} times as far as Adam and Signum, in NC3 and log10 NC0",
    "C5": "the same decay takes off a larger part at a larger momentum in {least_share:.0%} of untied pairs",
    "C5c": "NC3 within a factor {equivalence:g} of that without momentum, at every momentum up to "
    "{most_momentum:g}; two one-sided tests over {cells[least_seeds]} seeds or more at {level:.0%}, Holm",
    "C6": "so in {least_share:.0%} of untied pairs, test accuracies within {equal_accuracy:g}",
    "C7": "R2 above {least_r2:g} for {architecture} on {dataset}, {least_runs} runs or more",
    "C8": "NC1 and NC2 of one AdamW run within {near:.0%} of the smallest of all, its NC0 above the initial",
    "C9": "NC4 of {least_nc4:g} or more in {least_share:.0%} of valid runs",
    "C10": "order of runs kept in {least_share:.0%} of untied pairs; AdamW above Adam at both lengths",
    "C11": "C3 for AdamW over Adam",
    "C12": "NC0 within {tolerance:.0%} (SOAPW twice that) of its closed form, {rounding:g} of rounding "
    "apart; NC0(0) = {initial_nc0:g}; every check of table 1",
    "D1": "at no point of a valid run's trunk is tr Sigma_W / tr Sigma_B above that at the point before, "
    "by more than {tie:g} of it",
    "D2": "so in {least_share:.0%} of untied pairs at points from {since} on, and on average at each; AdamW "
    "at the learning rate times decay of SGDW, {cells[least_seeds]} seeds or more",
    **optimizers.CRITERIA,
}


class ClaimExperiments(TypedDict):
    """The experiments in which a claim is looked for; C12 looks at all runs."""

    C1: Sequence[str]
    C2: Sequence[str]
    C3: Sequence[str]
    C4: Sequence[str]
    C5: Sequence[str]
    C5c: Sequence[str]
    C6: Sequence[str]
    C7: Sequence[str]
    C8: Sequence[str]
    C9: Sequence[str]
    C10: Sequence[str]
    C11: Sequence[str]
    D1: Sequence[str]
    D2: Sequence[str]
    O1: Sequence[str]
    O2: Sequence[str]
    O3: Sequence[str]
    O4: Sequence[str]
    O5: Sequence[str]
    O6: Sequence[str]


def findings(
    runs: pd.DataFrame,
    history: pd.DataFrame,
    theorems: pd.DataFrame,
    depth: pd.DataFrame,
    optimizer_theory: pd.DataFrame,
    *,
    experiments: ClaimExperiments,
    architecture: str,
    dataset: str,
    metrics: Sequence[str],
    tie: float,
    floor: float,
    rounding: float,
    least_share: float,
    little: float,
    equal_loss: float,
    equivalence: float,
    most_momentum: float,
    level: float,
    equal_accuracy: float,
    least_r2: float,
    least_runs: int,
    near: float,
    least_nc4: float,
    tolerance: float,
    initial_nc0: float,
    view: str,
    since: str,
    soap_tolerance: float,
    least_ratio: float,
    most_left: float,
    cells: Cells,
    bootstrap: Bootstrap,
) -> dict[str, Finding]:
    """Every claim's finding. theorems: table 1; optimizer_theory: table 102.

    The settings are those of targets.yaml.
    """
    over = {"floor": floor, "bootstrap": bootstrap}
    ordered = over | {"least_share": least_share, "tie": tie}
    trunk = {"depth": depth, "view": view, "tie": tie, **over}
    r2 = {"architecture": architecture, "dataset": dataset, "least_r2": least_r2, "least_runs": least_runs}
    equal = {"equivalence": equivalence, "most_momentum": most_momentum, "level": level}
    seeds = {"least_seeds": cells["least_seeds"]}
    judges: dict[str, Callable[[pd.DataFrame], Finding]] = {
        "C1": partial(decay_is_needed, metrics=metrics, **over),
        "C2": partial(more_decay_is_lower, **ordered),
        "C3": partial(decoupled_stays_above, counterparts=ADAPTIVE, **ordered),
        "C4": partial(sgd_differs_little, little=little, **over),
        "C5": partial(momentum_strengthens_decay, equal_loss=equal_loss, **ordered),
        "C5c": partial(momentum_is_a_rate, **equal, **seeds),
        "C6": partial(coupling_lowers, equal_accuracy=equal_accuracy, **ordered),
        "C7": partial(nc0_explains_nc3, **r2, **over),
        "C8": partial(adamw_collapses_in_part, near=near, floor=floor),
        "C9": partial(nc4_follows_accuracy, least_nc4=least_nc4, least_share=least_share),
        "C10": partial(longer_changes_nothing, **ordered),
        "C11": partial(ufm_splits_too, **ordered),
        "D1": partial(never_rises, **trunk),
        "D2": partial(adamw_lies_above, since=since, least_share=least_share, **seeds, **trunk),
    }
    exact = {"tolerance": tolerance, "floor": floor, "rounding": rounding}
    judges |= optimizers.judges(
        soap_tolerance=soap_tolerance, least_ratio=least_ratio, least_share=least_share, most_left=most_left,
        cells=cells, **exact,
    )  # fmt: skip
    found = {name: on_experiments(judge, runs, experiments[name]) for name, judge in judges.items()}
    found["O7"] = optimizers.soap_needs_its_epsilon(optimizer_theory, soap_tolerance=soap_tolerance)
    found["C12"] = theory_is_exact(runs, history, theorems, initial_nc0=initial_nc0, **exact)
    return {name: found[name] for name in STATEMENTS}


def changes_of_verdict(
    found: Mapping[str, Finding],
    *data: pd.DataFrame,
    alternatives: Mapping[str, Sequence[float]],
    **settings: Any,
) -> dict[str, str]:
    """By claim, which other thresholds change its verdict: "fails with tie = 0"; "" where none does.

    `found` is what `findings` gave for `data` with `settings`; `alternatives` holds other values of some of
    these, tried one at a time. Thresholds are choices: a verdict that hangs on one has to say so.
    """
    settings["bootstrap"] = {**settings["bootstrap"], "resamples": 1}  # no verdict looks at an interval
    said: dict[str, list[str]] = {name: [] for name in found}
    for threshold, values in alternatives.items():
        for value in values:
            others = findings(*data, **{**settings, threshold: value})
            for name, other in others.items():
                if other.verdict != found[name].verdict:
                    said[name].append(f"{other.verdict} with {threshold} = {value:g}")
    return {name: "; ".join(words) for name, words in said.items()}


def on_experiments(
    judge: Callable[[pd.DataFrame], Finding], runs: pd.DataFrame, experiments: Sequence[str]
) -> Finding:
    """The finding on the runs of `experiments`, or why there is nothing to judge."""
    its = runs[runs["experiment"].isin(list(experiments))]
    if its.empty:
        return not_testable(f"this study has no run of {' or '.join(experiments)}")
    if why := why_no_valid(its):
        return not_testable(why)
    found, lacking = judge(its), not_valid(its.drop_duplicates("key"))
    return replace(found, words=f"{found.words}; {lacking}") if lacking else found
