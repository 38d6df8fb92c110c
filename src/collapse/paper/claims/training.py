"""Claims C5, C6, C10 and C11: momentum, the place of the decay, the length of training, the UFM."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from collapse.paper.claims.decay import decoupled_stays_above, more_decay_is_lower
from collapse.paper.claims.evidence import (
    FAILS,
    HOLDS,
    NOT_TESTABLE,
    SAME,
    SETTING,
    Bootstrap,
    Finding,
    Number,
    by_setting,
    counted,
    in_words,
    judged,
    mean_estimate,
    not_testable,
    number,
    paired,
    ratio_estimate,
    share_estimate,
    steps,
    trend,
    usable,
)

SHARE_METRICS = ("NC0", "NC2", "NC3")


def momentum_strengthens_decay(
    runs: pd.DataFrame,
    *,
    least_share: float,
    tie: float,
    equal_loss: float,
    floor: float,
    bootstrap: Bootstrap,
) -> Finding:
    """C5: under SGD the same decay takes off a larger part of NC0 and NC3 at a larger momentum.

    The part: 1 - metric / metric of the same run without decay, so that what momentum does without
    decay (it trains faster) is not counted. Holds when the part grows in at least `least_share` of
    the pairs that differ in momentum alone and in the part by more than `tie`, and in more than half of
    those of each setting, for both metrics.

    Shown beside it: pairs whose training losses are within the factor `equal_loss`; and the control
    that momentum is more than a learning rate, pairs at equal learning_rate / (1 - momentum).
    """
    valid = usable(runs, floor=floor)
    sgd = valid[valid["optimizer"] == "SGD"]
    relative = paired(sgd[sgd["weight_decay"] > 0], sgd[sgd["weight_decay"] == 0], apart=["weight_decay"])
    pairs = _by_momentum(_parts_taken_off(relative))
    how = {"wanted": 1, "also": [], "least": least_share, "tie": 0.0, "bootstrap": bootstrap}
    numbers: list[Number] = []
    for metric in ("NC0", "NC3"):
        part = f"part of {metric} taken off"
        untied = pairs[(pairs[f"{part}_b"] - pairs[f"{part}_a"]).abs() > tie]
        numbers += trend(untied, part, **how)
    nc0, nc3 = (row for row in numbers if row["part"] == "all")
    if not (nc0["n"] and nc3["n"]):
        return not_testable(
            "no two valid SGD runs differ in momentum alone and have a valid run without decay"
        )
    effects = [_more_taken_off(pairs, metric, bootstrap=bootstrap) for metric in ("NC0", "NC3")]
    decayed = sgd[sgd["weight_decay"] > 0]
    beside = _at_equal_loss(decayed, equal_loss=equal_loss, bootstrap=bootstrap)
    control = _at_equal_effective_rate(decayed, bootstrap=bootstrap)
    words = f"at more momentum more of NC0 is taken off in {counted(nc0)} pairs, of NC3 in {counted(nc3)}; "
    words += f"at equal training loss: {_nc3_of(beside)}; "
    words += f"control, at equal learning rate / (1 - momentum): {_nc3_of(control)}"
    return Finding(judged(numbers), words, effects[1], [*numbers, *effects, *beside, *control])


def _nc3_of(rows: list[Number]) -> str:
    return f"NC3 x {in_words(rows[-1])}" if rows else "not testable, no such pair"


def _more_taken_off(pairs: pd.DataFrame, metric: str, *, bootstrap: Bootstrap) -> Number:
    part = f"part of {metric} taken off"
    estimate = mean_estimate(pairs[f"{part}_b"] - pairs[f"{part}_a"], pairs["block"], bootstrap=bootstrap)
    return number("all", f"{part}, larger - smaller momentum", **estimate)


def _parts_taken_off(relative: pd.DataFrame) -> pd.DataFrame:
    """A row a run with decay (a) beside its run without (b): its settings and the parts."""
    found = relative.drop(columns=["block"]).rename(columns={"weight_decay_a": "weight_decay"})
    parts = {
        f"part of {metric} taken off": 1 - found[f"{metric}_a"] / found[f"{metric}_b"]
        for metric in ("NC0", "NC3")
    }
    return found[SAME].assign(**parts)


def _by_momentum(runs: pd.DataFrame) -> pd.DataFrame:
    """Pairs alike but for momentum, b's larger."""
    pairs = paired(runs, runs, apart=["momentum"])
    return pairs[pairs["momentum_a"] < pairs["momentum_b"]]


def _at_equal_loss(decayed: pd.DataFrame, *, equal_loss: float, bootstrap: Bootstrap) -> list[Number]:
    """NC0 and NC3 at the larger momentum over the smaller, where both reach about the same loss."""
    pairs = _by_momentum(decayed)
    apart = np.abs(np.log(pairs["train_loss_b"].astype(float) / pairs["train_loss_a"].astype(float)))
    return _ratio_rows(pairs[apart <= np.log(equal_loss)], "equal training loss", bootstrap=bootstrap)


def _at_equal_effective_rate(decayed: pd.DataFrame, *, bootstrap: Bootstrap) -> list[Number]:
    """The same at equal learning_rate / (1 - momentum), where theory gives NC0 the same end."""
    pairs = paired(decayed, decayed, apart=["momentum", "learning_rate"])
    pairs = pairs[pairs["momentum_a"] < pairs["momentum_b"]]
    rate_a, rate_b = (pairs[f"learning_rate_{x}"] / (1 - pairs[f"momentum_{x}"]) for x in "ab")
    part = "equal learning rate / (1 - momentum)"
    return _ratio_rows(pairs[np.isclose(rate_a, rate_b, rtol=0.01)], part, bootstrap=bootstrap)


def _ratio_rows(pairs: pd.DataFrame, part: str, *, bootstrap: Bootstrap) -> list[Number]:
    return [
        number(part, f"{metric} at larger / smaller momentum", **estimate)
        for metric in ("NC0", "NC3")
        if (estimate := ratio_estimate(pairs, metric, bootstrap=bootstrap))["n"]
    ]


def coupling_lowers(
    runs: pd.DataFrame,
    *,
    least_share: float,
    tie: float,
    equal_accuracy: float,
    floor: float,
    bootstrap: Bootstrap,
) -> Finding:
    """C6: the larger the coupled share of a fixed decay, the lower NC0, NC2, NC3, at equal accuracy.

    Holds when at least `least_share` of the pairs of shares that do not tie are so ordered, in each
    metric and setting, and the test accuracies span at most `equal_accuracy`.
    """
    valid = usable(runs, floor=floor)
    valid = valid[valid["optimizer"] == "AdamInterpolated"]
    pairs = paired(valid, valid, apart=["coupled_fraction"])
    pairs = pairs[pairs["coupled_fraction_a"] < pairs["coupled_fraction_b"]]
    numbers, words = [], []
    for part, its in by_setting(pairs):
        near = valid[valid["key"].isin({*its["key_a"], *its["key_b"]})]
        rows = [
            row
            for metric in SHARE_METRICS
            for row in _along_the_share(part, its, near, metric, least_share, tie=tie, bootstrap=bootstrap)
        ]
        spread = float(np.ptp(near["test_accuracy"].astype(float)))
        rows.append(
            number(part, "span of test accuracies", spread, n=len(near), holds=spread <= equal_accuracy)
        )
        factors = [row for row in rows if "largest / smallest" in row["quantity"]]
        shown = ", ".join(f"{row['quantity'].split()[0]} x {row['value']:.3g}" for row in factors)
        words.append(f"{part}: {shown} from decoupled to coupled, accuracy within {100 * spread:.2g} points")
        numbers += rows
    if not numbers:
        return not_testable("no two valid runs differ in the coupled share of their decay alone")
    return Finding(judged(numbers), "; ".join(words), factors[-1], numbers)


def _along_the_share(
    part: str,
    pairs: pd.DataFrame,
    runs: pd.DataFrame,
    metric: str,
    least_share: float,
    *,
    tie: float,
    bootstrap: Bootstrap,
) -> list[Number]:
    """One metric against the coupled share: ordered pairs, Kendall's tau and its p, end over start."""
    signs = steps(pairs[f"{metric}_a"], pairs[f"{metric}_b"], tie=tie)
    ordered = share_estimate(signs, -1, pairs["block"], bootstrap=bootstrap)
    enough = ordered["n"] > 0 and ordered["value"] >= least_share
    shares = runs["coupled_fraction"].astype(float)
    tau = kendalltau(shares, runs[metric].astype(float))
    is_end = (pairs["coupled_fraction_a"] == shares.min()) & (pairs["coupled_fraction_b"] == shares.max())
    ends = ratio_estimate(pairs[is_end], metric, bootstrap=bootstrap)
    return [
        number(part, f"{metric} lower at the larger coupled share, share of pairs", **ordered, holds=enough),
        number(part, f"{metric} at the largest / smallest coupled share", **ends),
        number(part, f"{metric}: Kendall's tau with the coupled share", tau.statistic, n=len(runs)),
        number(part, f"{metric}: p of that tau", tau.pvalue, n=len(runs)),
    ]


def longer_changes_nothing(
    runs: pd.DataFrame, *, least_share: float, tie: float, floor: float, bootstrap: Bootstrap
) -> Finding:
    """C10: which of two runs has the lower NC0 and NC3 is the same after the long training.

    Every run of the shortest and of the longest training that differ in epochs alone; compared are
    pairs of runs of one setting and learning rate, of one family (SGD or Adam). Holds when at least
    `least_share` of the pairs that do not tie when short keep their order when long, in both metrics;
    and AdamW stays above Adam at equal decay (geometric mean) at both lengths, where both were run.
    """
    valid = usable(runs, floor=floor)
    ends = paired(valid, valid, apart=["epochs"])
    ends = ends[(ends["epochs_a"] == ends["epochs_a"].min()) & (ends["epochs_b"] == ends["epochs_b"].max())]
    ends = ends[ends["epochs_a"] < ends["epochs_b"]].drop(columns=["block"])
    if len(ends) < 2:
        return not_testable("fewer than two valid runs differ in their epochs alone")
    numbers: list[Number] = []
    for metric in ("NC0", "NC3"):
        numbers += _order_kept(ends, metric, least_share=least_share, tie=tie, bootstrap=bootstrap)
        numbers += _gap_by_length(ends, metric, bootstrap=bootstrap)
    shares = [row for row in numbers if "order" in row["quantity"]]
    if not sum(row["n"] for row in shares):
        return not_testable("no two runs of both lengths differ by more than a tie")
    epochs = f"{ends['epochs_a'].iloc[0]:g} and {ends['epochs_b'].iloc[0]:g} epochs"
    words = (
        f"{epochs}: the order of NC0 is kept in {counted(shares[0])} pairs, of NC3 in {counted(shares[1])}"
    )
    gaps = [
        f"{row['quantity']} {row['value']:.2g} ({row['part']})"
        for row in numbers
        if "AdamW" in row["quantity"]
    ]
    return Finding(judged(numbers), "; ".join([words, *gaps]), shares[1], numbers)


def _order_kept(
    ends: pd.DataFrame, metric: str, *, least_share: float, tie: float, bootstrap: Bootstrap
) -> list[Number]:
    """The share of pairs of runs, ordered when short, whose order is the same when long."""
    family = ends["optimizer"].str.startswith("Adam").map({True: "Adam and AdamW", False: "SGD"})
    runs = ends.assign(family=family, place=range(len(ends)))
    pairs = runs.merge(runs, on=[*SETTING, "family", "learning_rate"], suffixes=("_1", "_2"))
    pairs = pairs[pairs["place_1"] < pairs["place_2"]]
    short, long = (
        steps(pairs[f"{metric}_{x}_1"], pairs[f"{metric}_{x}_2"], tie=t) for x, t in (("a", tie), ("b", 0))
    )
    kept = (short * long).where(short != 0, 0)
    estimate = share_estimate(kept, 1, pairs["place_1"], bootstrap=bootstrap)
    enough = estimate["value"] >= least_share if estimate["n"] else None
    return [number("all", f"{metric}: order kept, share of pairs", **estimate, holds=enough)]


def _gap_by_length(ends: pd.DataFrame, metric: str, *, bootstrap: Bootstrap) -> list[Number]:
    """AdamW / Adam at equal decay > 0, short and long."""
    decayed = ends[ends["weight_decay"] > 0]
    others = [name for name in SAME if name not in ("optimizer", "epochs")]
    adam, adamw = (decayed[decayed["optimizer"] == name] for name in ("Adam", "AdamW"))
    pairs = adam.merge(adamw, on=others, suffixes=("_adam", "_adamw"))
    rows = []
    for length in "ab" if len(pairs) else "":
        named = pairs.rename(columns={f"{metric}_{length}_adam": "m_a", f"{metric}_{length}_adamw": "m_b"})
        ratio = ratio_estimate(named.assign(block=range(len(named))), "m", bootstrap=bootstrap)
        part = f"{named[f'epochs_{length}_adam'].iloc[0]:g} epochs"
        rows.append(number(part, f"{metric} AdamW / Adam", **ratio, holds=ratio["value"] > 1))
    return rows


def ufm_splits_too(
    runs: pd.DataFrame, *, least_share: float, tie: float, floor: float, bootstrap: Bootstrap
) -> Finding:
    """C11: C3 in the unconstrained features model, AdamW over Adam; beside it AdamW over SGDW, and C2.

    Holds when AdamW stays above Adam as C3 says. The rest is shown.
    """
    how = {"least_share": least_share, "tie": tie, "floor": floor, "bootstrap": bootstrap}
    split = decoupled_stays_above(runs, counterparts={"AdamW": "Adam"}, **how)
    if split.verdict not in (HOLDS, FAILS):
        return split
    numbers, words = list(split.numbers), split.words
    over_sgdw = decoupled_stays_above(runs, counterparts={"AdamW": "SGDW"}, **how)
    if over_sgdw.verdict != NOT_TESTABLE:
        words += f"; over SGDW NC3 x {in_words(over_sgdw.effect)}"
        shown = [
            row | {"part": f"AdamW over SGDW, {row['part']}", "holds": None} for row in over_sgdw.numbers
        ]
        numbers += shown
    decay = more_decay_is_lower(runs, **how)
    if decay.verdict != NOT_TESTABLE:
        words += f"; with more coupled decay {decay.words}"
        numbers += [row | {"holds": None} for row in decay.numbers]
    return Finding(split.verdict, words, split.effect, numbers)
