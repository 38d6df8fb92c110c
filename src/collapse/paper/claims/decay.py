"""Claims C1 to C4: what weight decay does, and where it acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from collapse.paper.claims.evidence import (
    COUPLED,
    SAME,
    SETTING,
    Bootstrap,
    Finding,
    Number,
    by_setting,
    counted,
    interval,
    judged,
    mean_estimate,
    not_testable,
    number,
    paired,
    ratio_estimate,
    share_estimate,
    steps,
    trend,
    undecided,
    usable,
)

CONTROL = "control, SGDW at decay / (1 - momentum) - SGD"
ADAPTIVE = {"AdamW": "Adam", "SignumW": "Signum"}  # decoupled: its coupled counterpart


def decay_is_needed(
    runs: pd.DataFrame, *, metrics: Sequence[str], floor: float, bootstrap: Bootstrap
) -> Finding:
    """C1: without decay no run comes down to the smallest value that coupled decay reaches.

    Holds when in every setting and for each of `metrics` the smallest value without decay, of any
    optimizer, is above the smallest with coupled decay. Beside it, what the strongest valid coupled
    decay does to the same run: NC3 without / with it.
    """
    valid = usable(runs, floor=floor)
    coupled = valid[valid["optimizer"].isin(COUPLED) & (valid["weight_decay"] > 0)]
    without = valid[valid["weight_decay"] == 0]
    numbers = []
    for part, its in by_setting(valid):
        zero, decayed = its.loc[its.index.isin(without.index)], its.loc[its.index.isin(coupled.index)]
        if len(zero) and len(decayed):
            numbers += [_smallest_ratio(part, metric, zero, decayed) for metric in metrics]
    if not numbers:
        return not_testable("no valid run without decay beside one with coupled decay")
    others = [name for name in SAME if name != "weight_decay"]
    strongest = coupled.sort_values("weight_decay").drop_duplicates(others, keep="last")
    pairs = paired(strongest, without, apart=["weight_decay"])
    factors = [
        number("all", f"{metric} without / with the strongest valid coupled decay", **estimate)
        for metric in metrics
        if (estimate := ratio_estimate(pairs, metric, bootstrap=bootstrap))["n"]
    ]
    words = ", ".join(_worst(numbers, metric) for metric in metrics)
    chosen = next((row for row in factors if row["quantity"].startswith("NC3 ")), numbers[-1])
    words = f"smallest without / with coupled decay: {words}"
    return Finding(judged(numbers), words, chosen, [*numbers, *factors])


def _smallest_ratio(part: str, metric: str, without: pd.DataFrame, coupled: pd.DataFrame) -> Number:
    ratio = without[metric].min() / coupled[metric].min()
    name = f"{metric}: smallest without / smallest with coupled decay"
    return number(part, name, ratio, n=len(without) + len(coupled), holds=ratio > 1)


def _worst(numbers: Sequence[Number], metric: str) -> str:
    """ "NC2 0.97 (ResNet9 FashionMNIST)": the setting in which the ratio is smallest."""
    least = min(
        (row for row in numbers if row["quantity"].startswith(f"{metric}:")), key=lambda r: r["value"]
    )
    return f"{metric} {least['value']:.3g}{'' if least['holds'] else ' (' + least['part'] + ')'}"


def more_decay_is_lower(
    runs: pd.DataFrame, *, least_share: float, tie: float, floor: float, bootstrap: Bootstrap
) -> Finding:
    """C2: of two runs alike but for their coupled decay, the one with more has lower NC0 and NC3.

    Holds when that is so in at least `least_share` of all pairs that do not tie, for both metrics,
    and in more than half of them for each optimizer in each setting.
    """
    valid = usable(runs, floor=floor)
    coupled = valid[valid["optimizer"].isin(COUPLED)]
    pairs = paired(coupled, coupled, apart=["weight_decay"])
    pairs = pairs[pairs["weight_decay_a"] < pairs["weight_decay_b"]]
    how = {"wanted": -1, "also": ["optimizer"], "least": least_share, "tie": tie, "bootstrap": bootstrap}
    nc0, nc3 = (trend(pairs, metric, **how) for metric in ("NC0", "NC3"))
    if not (nc0[0]["n"] and nc3[0]["n"]):
        return not_testable("no two valid runs differ in their coupled decay alone")
    effects = [
        number("all", f"{m} with the more / the less decay", **ratio_estimate(pairs, m, bootstrap=bootstrap))
        for m in ("NC0", "NC3")
    ]
    words = f"NC0 is lower in {counted(nc0[0])} pairs, NC3 in {counted(nc3[0])}"
    low = [row for row in nc0[1:] + nc3[1:] if row["holds"] is False]
    if low:
        words += f"; not in most of: {', '.join(_named(row) for row in low)}"
    return Finding(judged(nc0 + nc3), words, effects[1], [*nc0, *nc3, *effects])


def _named(row: Number) -> str:
    """ "ResNet9 FashionMNIST, Adam (NC3)"."""
    return f"{row['part']} ({row['quantity'].split()[0]})"


def decoupled_stays_above(
    runs: pd.DataFrame,
    *,
    counterparts: Mapping[str, str],
    least_share: float,
    tie: float,
    floor: float,
    bootstrap: Bootstrap,
) -> Finding:
    """C3: AdamW and SignumW stay above Adam and Signum in NC0 and NC3, at any decay not below theirs.

    Pairs are alike but for optimizer and decay, 0 < coupled decay <= decoupled decay. Holds when at
    least `least_share` of the pairs that do not tie are so in both metrics, and the geometric mean
    ratio exceeds 1 at every decoupled decay of every setting. `counterparts`: decoupled to coupled.
    """
    valid = usable(runs, floor=floor)
    pairs = counterparts_of(valid[valid["weight_decay"] > 0], counterparts)
    if pairs.empty:
        return not_testable(f"no valid pair of {' or '.join(counterparts)} and its coupled counterpart")
    numbers, summary = [], []
    for metric in ("NC0", "NC3"):
        signs = steps(pairs[f"{metric}_a"], pairs[f"{metric}_b"], tie=tie)
        share = share_estimate(signs, 1, pairs["block"], bootstrap=bootstrap)
        name = f"{metric} decoupled above coupled, share of pairs"
        numbers.append(number("all", name, **share, holds=share["n"] > 0 and share["value"] >= least_share))
        summary.append(f"{metric} above in {counted(numbers[-1])} pairs")
        numbers += _ratios(pairs, metric, bootstrap=bootstrap)
    effect = next(row for row in numbers if row["quantity"] == "NC3 decoupled / coupled")
    larger = pairs["weight_decay_b"] >= 10 * pairs["weight_decay_a"]
    below = sorted({row["part"] for row in numbers if row["holds"] is False and row["part"] != "all"})
    words = f"{', '.join(summary)}, {int(larger.sum())} of them at ten times the decay or more"
    words += f"; the mean is not above at {'; '.join(below)}" if below else ""
    return Finding(judged(numbers), words, effect, numbers)


def counterparts_of(valid: pd.DataFrame, counterparts: Mapping[str, str]) -> pd.DataFrame:
    """Pairs of a coupled run (a) and a decoupled one (b) of at least its decay."""
    found = [
        paired(
            valid[valid["optimizer"] == coupled],
            valid[valid["optimizer"] == decoupled],
            apart=["optimizer", "weight_decay"],
        ).assign(who=f"{decoupled} over {coupled}")
        for decoupled, coupled in counterparts.items()
    ]
    pairs = pd.concat(found, ignore_index=True)
    pairs = pairs.assign(block=pairs.groupby(["who", "block"]).ngroup())
    return pairs[pairs["weight_decay_b"] >= pairs["weight_decay_a"]]


def _ratios(pairs: pd.DataFrame, metric: str, *, bootstrap: Bootstrap) -> list[Number]:
    """metric_b / metric_a: over all pairs, at equal decay, far above it, and at each decoupled decay."""
    a, b = pairs["weight_decay_a"], pairs["weight_decay_b"]
    name = f"{metric} decoupled / coupled"
    subsets = {"all": pairs, "equal decay": pairs[a == b], "ten times the decay or more": pairs[b >= 10 * a]}
    rows = [
        number(part, name, **ratio_estimate(its, metric, bootstrap=bootstrap))
        for part, its in subsets.items()
    ]
    for part, its in by_setting(pairs, "who", "weight_decay_b"):
        estimate = ratio_estimate(its, metric, bootstrap=bootstrap)
        rows.append(number(part, name, **estimate, holds=estimate["value"] > 1))
    return rows


def sgd_differs_little(runs: pd.DataFrame, *, little: float, floor: float, bootstrap: Bootstrap) -> Finding:
    """C4: what decoupling does to SGD is at most the share `little` of what it does to Adam and Signum.

    What decoupling does: the mean over pairs at equal decay > 0 of decoupled - coupled, in NC3 and in
    log10 NC0, at decays at which both kinds were run. Control: SGDW at lambda / (1 - beta), where
    theory gives its NC0 the same end as SGD's.
    """
    valid = usable(runs, floor=floor)
    valid = valid[valid["weight_decay"] > 0].assign(log10_NC0=np.log10(valid["NC0"]))
    adaptive, sgd = counterparts_of(valid, ADAPTIVE), counterparts_of(valid, {"SGDW": "SGD"})
    matched = sgd[np.isclose(sgd["weight_decay_b"] * (1 - sgd["momentum"]), sgd["weight_decay_a"], rtol=0.01)]
    at = [*SETTING, "weight_decay_a"]
    adaptive, sgd = (pairs[pairs["weight_decay_a"] == pairs["weight_decay_b"]] for pairs in (adaptive, sgd))
    sgd = sgd.merge(adaptive[at].drop_duplicates(), on=at)
    adaptive = adaptive.merge(sgd[at].drop_duplicates(), on=at)
    if sgd.empty:
        return not_testable("no decay has valid pairs both of SGD(W) and of Adam(W) or Signum(W)")
    numbers = []
    for metric in ("log10_NC0", "NC3"):
        of_adaptive = _gap(adaptive, metric, "decoupled - coupled, adaptive", bootstrap=bootstrap)
        if of_adaptive["value"] <= 0:
            return not_testable(f"decoupling does not raise {metric} of Adam(W) and Signum(W) here")
        numbers.append(_gap_ratio(sgd, adaptive, metric, little=little, bootstrap=bootstrap))
        numbers += [_gap(sgd, metric, "SGDW - SGD", bootstrap=bootstrap), of_adaptive]
        numbers.append(_gap(matched, metric, CONTROL, bootstrap=bootstrap))
    of_nc0, of_nc3 = (row for row in numbers if row["holds"] is not None)
    words = f"decoupling moves SGD {of_nc0['value']:.2g} times as far as Adam and Signum in log10 NC0, "
    words += f"{of_nc3['value']:.2g} times in NC3{undecided(of_nc3, little)}; {CONTROL}: "
    words += f"{numbers[-1]['value']:+.2g} in NC3, n {len(matched)}" if len(matched) else "no such pair"
    return Finding(judged(numbers), words, of_nc3, numbers)


def _gap(pairs: pd.DataFrame, metric: str, name: str, *, bootstrap: Bootstrap) -> Number:
    """The mean of b - a over pairs."""
    gaps = pairs[f"{metric}_b"] - pairs[f"{metric}_a"]
    return number("all", f"{metric}: {name}", **mean_estimate(gaps, pairs["block"], bootstrap=bootstrap))


def _gap_ratio(
    sgd: pd.DataFrame, adaptive: pd.DataFrame, metric: str, *, little: float, bootstrap: Bootstrap
) -> Number:
    """The mean gap of `sgd` over that of `adaptive`; their blocks are resampled together."""
    sums = []
    for pairs, place in ((sgd, 0), (adaptive, 2)):
        gaps = (pairs[f"{metric}_b"] - pairs[f"{metric}_a"]).groupby(pairs["block"]).agg(["sum", "count"])
        block = np.zeros((len(gaps), 4))
        block[:, place : place + 2] = gaps.to_numpy()
        sums.append(block)

    def ratio(total: np.ndarray) -> np.ndarray:
        return np.abs(total[:, 0] / total[:, 1]) / (total[:, 2] / total[:, 3])

    sums_BM = np.concatenate(sums)
    value = ratio(sums_BM.sum(axis=0, keepdims=True))[0]
    low, high = interval(sums_BM, ratio, **bootstrap)
    name = f"{metric}: SGDW - SGD, absolute, / (decoupled - coupled, adaptive)"
    return number("all", name, value, n=len(sgd) + len(adaptive), low=low, high=high, holds=value <= little)
