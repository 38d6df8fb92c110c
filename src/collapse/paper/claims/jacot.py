"""Claims J-a to J-f on linear tails, balanced layers and collapse (Jacot et al. 2024).

J-a and J-d are not theirs: they ask what becomes of the mechanism where the decay is decoupled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
import pandas as pd
from scipy import stats

from collapse.paper.claims.evidence import (
    COUPLED,
    Finding,
    Number,
    in_words,
    judged,
    not_testable,
    number,
)
from collapse.paper.layer_summaries import at_the_end, summaries

STATEMENTS = {
    "J-a": "Coupled decay balances the linear tail, decoupled decay beside Adam or Signum does not.",
    "J-b": "With more linear layers NC2 falls and NC3 rises.",
    "J-c": "NC1 never exceeds the bound that balancedness and fit give it.",
    "J-d": "Decoupled decay reaches the smallest NC1 with a tail that is not balanced.",
    "J-e": "NC1 falls with weight decay at least as fast as in proportion.",
    "J-f": "With more ReLU layers these become more balanced, and the least negative.",
}
CRITERIA = {
    "J-a": "balancedness of the tail, the largest pair, at least {least_factor:g} times that under coupled "
    "decay in every pair of runs, and below {balanced:g} where coupled decay has acted",
    "J-b": "Spearman's rank correlation with the number of linear layers {least_rank:g} or more in size",
    "J-c": "so at every measured epoch of every run at which the bound is finite",
    "J-d": "NC1 of every run of AdamW and SignumW that is exposed to as much decay as SGD and has "
    "balancedness above {unbalanced:g} is below that of every run of the study with coupled decay",
    "J-e": "slope of log NC1 against log weight decay at least {least_slope:g}",
    "J-f": "Spearman's rank correlation with the number of ReLU layers {least_rank:g} or more in size",
}
# Of decoupled decay with a direction that is not linear in the gradient, and the coupled one beside it.
PARTNERS = {"AdamW": "Adam", "SignumW": "Signum"}


class JacotExperiments(TypedDict):
    """The experiments in which each claim looks; J-c looks at all runs, J-d at all with coupled decay.

    In the first of J_a's coupled decay has acted.
    """

    J_a: Sequence[str]
    J_b: Sequence[str]
    J_d: Sequence[str]
    J_e: Sequence[str]
    J_f: Sequence[str]


class JacotThresholds(TypedDict):
    """Of J-a the first two, of J-d, of J-b and J-f, of J-e."""

    least_factor: float
    balanced: float
    unbalanced: float
    least_rank: float
    least_slope: float


def findings(
    runs: pd.DataFrame, layers: pd.DataFrame, *, experiments: JacotExperiments, thresholds: JacotThresholds
) -> dict[str, Finding]:
    """Every claim's finding, on the valid runs."""
    ends = at_the_end(runs[runs["valid"].astype(bool)], layers)
    of = {claim: ends[ends["experiment"].isin(names)] for claim, names in experiments.items()}
    least_rank = thresholds["least_rank"]
    return {
        "J-a": decoupled_is_not_balanced(
            of["J_a"],
            acted=experiments["J_a"][0],
            least_factor=thresholds["least_factor"],
            balanced=thresholds["balanced"],
        ),
        "J-b": linear_layers_straighten(of["J_b"], least_rank=least_rank),
        "J-c": bound_is_never_exceeded(ends, layers),
        "J-d": collapse_without_balance(of["J_d"], ends, unbalanced=thresholds["unbalanced"]),
        "J-e": decay_lowers_nc1(of["J_e"], least_slope=thresholds["least_slope"]),
        "J-f": relu_layers_approach_linear_ones(of["J_f"], least_rank=least_rank),
    }


def decoupled_is_not_balanced(
    runs: pd.DataFrame, *, acted: str, least_factor: float, balanced: float
) -> Finding:
    """J-a: the largest balancedness of two linear layers, decoupled over coupled, of equal seeds.

    Pairs are of one experiment: in one the decoupled optimizer is exposed to decay as much as SGD, in another
    both end at one training loss. Every pair counts. acted: the experiment in which coupled decay has acted,
    so that the layers must be balanced; with less decay they are on the way.
    """
    numbers: list[Number] = []
    for decoupled, coupled in PARTNERS.items():
        both = runs[runs["optimizer"].isin([decoupled, coupled])]
        for experiment, its in both.groupby("experiment"):
            one, other = (its[its["optimizer"] == name] for name in (coupled, decoupled))
            pairs = one.merge(other, on="seed", suffixes=("_c", "_d"))
            if pairs.empty:
                continue
            least = (pairs["tail_balancedness_d"] / pairs["tail_balancedness_c"]).min()
            losses = (pairs["train_loss_d"] / pairs["train_loss_c"]).median()
            part = f"{decoupled} over {coupled}, {experiment}"
            holds = least >= least_factor
            numbers += [
                number(part, "balancedness, least factor", least, n=len(pairs), holds=holds),
                number(part, "training loss, median factor", losses, n=len(pairs)),
            ]
    factors = [each for each in numbers if each["holds"] is not None]
    if not factors:
        return not_testable("no valid runs of AdamW or SignumW beside Adam or Signum of the same seed")
    for (experiment, name), its in runs.groupby(["experiment", "optimizer"]):
        if name in ("SGD", "SGDW", *PARTNERS.values()):
            highest = its["tail_balancedness"].max()
            judges = experiment == acted and name != "SGDW"  # whose decay is decoupled, and balances too
            holds = highest < balanced if judges else None
            part = f"{name}, {experiment}"
            numbers.append(number(part, "largest balancedness", highest, n=len(its), holds=holds))
    effect = min(factors, key=lambda each: each["value"])
    return Finding(judged(numbers), f"least {in_words(effect)} ({effect['part']})", effect, numbers)


def ranks(runs: pd.DataFrame, setting: str, wanted: Mapping[str, int], *, least: float) -> Finding:
    """Spearman's correlation of metrics with a setting, over runs; the sign of each is `wanted`."""
    if runs[setting].nunique() < 3:
        return not_testable(f"valid runs of fewer than three values of {setting}")
    numbers = []
    for metric, sign in wanted.items():
        known = runs[np.isfinite(runs[metric].astype(float))]
        value = stats.spearmanr(known[setting].astype(float), known[metric].astype(float)).statistic
        part = f"{metric} against {setting}"
        numbers.append(number(part, "rank correlation", value, n=len(known), holds=sign * value >= least))
    weakest = min(numbers, key=lambda each: abs(each["value"]))
    words = ", ".join(f"{each['part']} {each['value']:.2f}" for each in numbers)
    return Finding(judged(numbers), f"{words}; n {weakest['n']}", weakest, numbers)


def linear_layers_straighten(runs: pd.DataFrame, *, least_rank: float) -> Finding:
    """J-b: of the last features."""
    return ranks(runs, "linear_layers", {"layer_NC2": -1, "layer_NC3": 1}, least=least_rank)


def relu_layers_approach_linear_ones(runs: pd.DataFrame, *, least_rank: float) -> Finding:
    """J-f: the least balancedness of two ReLU layers and the mean negativity of all."""
    return ranks(runs, "relu_layers", {"relu_balancedness": -1, "relu_negativity": -1}, least=least_rank)


def bound_is_never_exceeded(runs: pd.DataFrame, layers: pd.DataFrame) -> Finding:
    """J-c: theorem 3.1 with its constants, at every measured epoch of every run."""
    its = summaries(layers[layers["key"].isin(runs["key"])])
    known = its[np.isfinite(its["bound_NC1"].astype(float)) & np.isfinite(its["layer_NC1"].astype(float))]
    if known.empty:
        return not_testable("no measured point has a finite bound")
    below = known["layer_NC1"] <= known["bound_NC1"]
    looseness = np.exp(np.log(known["bound_NC1"] / known["layer_NC1"]).median())
    numbers = [
        number("all runs", "share of points below the bound", below.mean(), n=len(known), holds=below.all()),
        number("all runs", "bound over NC1, median", looseness, n=len(known)),
    ]
    words = f"{below.sum()} of {len(known)} points; the bound is {looseness:.3g} times NC1 (median)"
    return Finding(judged(numbers), words, numbers[0], numbers)


def collapse_without_balance(judged_in: pd.DataFrame, every: pd.DataFrame, *, unbalanced: float) -> Finding:
    """J-d: NC1 of each decoupled run with an unbalanced tail over the least NC1 of coupled runs.

    Shown beside them, and not judged: the other such runs of the study. AdamInterpolated with a coupled share
    of 0 is AdamW at the weight decay of the coupled runs, where decoupled decay has hardly acted.
    """
    loose = every[every["tail_balancedness"] > unbalanced].drop_duplicates("key")
    is_adamw = (loose["optimizer"] == "AdamInterpolated") & (loose["coupled_fraction"] == 0)
    loose = loose.assign(optimizer=loose["optimizer"].mask(is_adamw, "AdamW"))
    loose = loose[loose["optimizer"].isin(PARTNERS)]
    wanted = loose["key"].isin(judged_in["key"]) & ~is_adamw
    coupled = every[every["optimizer"].isin(COUPLED) & (every["weight_decay"] > 0)]
    if coupled.empty or not wanted.any():
        return not_testable("no valid coupled run, or no decoupled one with an unbalanced tail")
    least = coupled["layer_NC1"].min()
    numbers = []
    for (name, decay), its in loose.groupby(["optimizer", "weight_decay"]):
        ratio = its["layer_NC1"].max() / least
        holds = ratio < 1 if wanted[its.index].all() else None
        part = f"{name} at weight decay {decay:g}, {len(its)} runs"
        numbers.append(number(part, "NC1 over the least coupled one", ratio, n=len(its), holds=holds))
    judging = [each for each in numbers if each["holds"] is not None]
    worst = max(judging, key=lambda each: each["value"])
    return Finding(judged(numbers), f"largest {in_words(worst)} ({worst['part']})", worst, numbers)


def decay_lowers_nc1(runs: pd.DataFrame, *, least_slope: float) -> Finding:
    """J-e: NC1 is O(weight decay) in their theorem 4.4; least squares of the logarithms."""
    its = runs[(runs["weight_decay"] > 0) & (runs["layer_NC1"].astype(float) > 0)]
    if its["weight_decay"].nunique() < 3:
        return not_testable("valid runs of fewer than three weight decays")
    fit = stats.linregress(np.log(its["weight_decay"].astype(float)), np.log(its["layer_NC1"].astype(float)))
    half = stats.t.ppf(0.975, len(its) - 2) * fit.stderr
    slope = number(
        "all", "slope", fit.slope, low=fit.slope - half, high=fit.slope + half, n=len(its),
        holds=fit.slope >= least_slope,
    )  # fmt: skip
    return Finding(judged([slope]), in_words(slope), slope, [slope])
