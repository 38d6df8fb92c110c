"""Claims D1 and D2, this project's own: which layers of a trained network collapse."""

from __future__ import annotations

import numpy as np
import pandas as pd

from collapse.paper.claims.decay import counterparts_of
from collapse.paper.claims.evidence import (
    Bootstrap,
    Finding,
    Number,
    by_setting,
    counted,
    in_words,
    judged,
    not_testable,
    number,
    ratio_estimate,
    share_estimate,
    steps,
    usable,
)

RATIO = "within_over_between"
STEP_DECAY = "step_decay_b"  # learning rate times decay, of the pair's AdamW
AT_OTHER_DECAY = "at another learning rate times decay"
NOTHING_MEASURED = "at no point of a valid run's trunk was anything measured"


def never_rises(
    runs: pd.DataFrame, *, depth: pd.DataFrame, view: str, tie: float, floor: float, bootstrap: Bootstrap
) -> Finding:
    """D1: from one point of the trunk to the next, within_over_between does not rise, in any valid run.

    A step that changes it by the share `tie` or less is none. depth: of collapse.measuring.results; `view`
    is the one that is judged, others are shown. Steps from or to a point without a number (0/0 where all
    features are zero) are not judged, and are counted.
    """
    valid = usable(runs, floor=floor)
    here = steps_of(valid, at_points(depth, view=view), tie=tie)
    known = here[here["factor"].notna()]
    if known.empty:
        return not_testable(NOTHING_MEASURED)
    signs = known["sign"]
    share = share_estimate(signs, -1, known["key"].astype("category").cat.codes, bootstrap=bootstrap)
    numbers = [number("all", "share of the steps that change it in which it falls", **share)]
    for part, its in by_setting(known, "optimizer"):
        top = its.loc[its["factor"].idxmax()]
        name = f"largest {RATIO} over that of the point before"
        holds = not (signs[its.index] > 0).any()
        numbers.append(number(part, f"{name}, at {top['point']}", top["factor"], n=len(its), holds=holds))
    worst = max(numbers[1:], key=lambda row: row["value"])
    rises = known[signs > 0]
    words = f"it rises in {len(rises)} of {len(known)} steps, of {known['key'].nunique()} runs"
    words += f"; {worst['quantity']}: {worst['value']:.3g} ({worst['part']})"
    if len(rises):
        where = rises.groupby(["since", "point"], sort=False).size()
        words += "; " + ", ".join(f"{count} from {a} to {b}" for (a, b), count in where.items())
    if len(known) < len(here):
        words += f"; {len(here) - len(known)} more have no number at one end"
    for other in sorted(set(depth["view"]) - {view}):
        its = steps_of(valid, at_points(depth, view=other), tie=tie)
        up, n = int((its["sign"] > 0).sum()), int(its["factor"].notna().sum())
        numbers.append(number(f"view {other}", "share of the steps in which it rises", up / max(n, 1), n=n))
        words += f"; in the view {other}, which is not judged, in {up} of {n}"
    return Finding(judged(numbers), words, worst, numbers)


def steps_of(runs: pd.DataFrame, points: pd.DataFrame, *, tie: float) -> pd.DataFrame:
    """From each point of a run's trunk to the next: since, point, factor (NaN: unknown), sign (0: a tie)."""
    here = runs.merge(points, on="key").sort_values(["key", "depth"])
    before = here.groupby("key")[[RATIO, "point"]].shift()
    here = here.assign(before=before[RATIO], since=before["point"])[before["point"].notna()]
    known = here[RATIO].notna() & here["before"].notna()
    factor = factors(here["before"], here[RATIO]).where(known)
    sign = np.sign(factor - 1).where(~factor.between(1 - tie, 1 / (1 - tie)), 0.0)
    return here.assign(factor=factor, sign=sign.where(known))


def factors(before: pd.Series, after: pd.Series) -> pd.Series:
    """after / before; infinite from zero or to infinity, 1 where both are the same."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return (after.astype(float) / before.astype(float)).where(after != before, 1.0)


def adamw_lies_above(
    runs: pd.DataFrame,
    *,
    depth: pd.DataFrame,
    view: str,
    since: str,
    least_share: float,
    least_seeds: int,
    tie: float,
    floor: float,
    bootstrap: Bootstrap,
) -> Finding:
    """D2: from the point `since` on, within_over_between of AdamW is above Adam's.

    Pairs as in C3, of runs alike but for the optimizer and an AdamW decay that is not below Adam's; a pair
    counts at each point. Judged are pairs whose AdamW has the learning rate times decay of a run of SGDW, so
    that W shrinks as much as under SGDW, at `least_seeds` seeds or more; the others are shown. Holds when at
    least `least_share` of those that do not tie are so, and the geometric mean ratio exceeds 1 at each of the
    points in each setting.
    """
    valid = usable(runs, floor=floor)
    valid = valid.assign(step_decay=valid["learning_rate"] * valid["weight_decay"])
    pairs = counterparts_of(valid[valid["weight_decay"] > 0], {"AdamW": "Adam"})
    if pairs.empty:
        return not_testable("no valid pair of AdamW and Adam")
    reached = at_points(depth, view=view, since=since)
    if reached.empty:
        return not_testable(f"nothing was measured at a point {since}")
    a, b = reached.add_suffix("_a"), reached.add_suffix("_b")
    both = pairs.merge(a, on="key_a").merge(b.assign(point_a=b["point_b"]), on=["key_b", "point_a"])
    pairs = both[np.isfinite(both[[f"{RATIO}_a", f"{RATIO}_b"]]).all(axis=1)]
    if pairs.empty:
        return not_testable(NOTHING_MEASURED)
    wanted = valid.loc[valid["optimizer"] == "SGDW", "step_decay"].unique()
    as_sgdw = np.array([np.isclose(one, wanted, rtol=0.01).any() for one in pairs[STEP_DECAY]])
    equal, others = pairs[as_sgdw], by_setting(pairs[~as_sgdw], STEP_DECAY)
    shown = [ratio_of(f"{AT_OTHER_DECAY}, {part}", its, bootstrap=bootstrap) for part, its in others]
    beside = "".join(f"; {row['part']}: {in_words(row)}" for row in shown)
    if few := too_few_seeds(equal, least_seeds=least_seeds, bootstrap=bootstrap):
        return not_testable(few + beside)
    numbers = above_at_points(equal, least_share=least_share, tie=tie, bootstrap=bootstrap)
    above, effect, *at_each = numbers
    low = [row["part"] for row in at_each if not row["holds"]]
    words = f"above in {counted(above)} pairs and points from {since} on, by the factor {in_words(effect)}"
    words += f"; not at {'; '.join(low)}" if low else ""
    words += f"; {len(both) - len(pairs)} more have no number" if len(both) > len(pairs) else ""
    return Finding(judged(numbers), words + beside, effect, [*numbers, *shown])


def too_few_seeds(pairs: pd.DataFrame, *, least_seeds: int, bootstrap: Bootstrap) -> str:
    """Why the pairs cannot be judged, with what they say; "" where every setting has so many seeds."""
    seeds = min((its["seed"].nunique() for _, its in by_setting(pairs)), default=0)
    if seeds >= least_seeds:
        return ""
    words = f"{seeds} {'seed' if seeds == 1 else 'seeds'} with AdamW at SGDW's learning rate times decay"
    here = f"; there {in_words(ratio_of('all', pairs, bootstrap=bootstrap))}" if seeds else ""
    return f"{words}, {least_seeds} are needed{here}"


def above_at_points(
    pairs: pd.DataFrame, *, least_share: float, tie: float, bootstrap: Bootstrap
) -> list[Number]:
    """In how many pairs AdamW is above, by which factor, and by which at every point of every setting."""
    signs = steps(pairs[f"{RATIO}_a"], pairs[f"{RATIO}_b"], tie=tie)
    share = share_estimate(signs, 1, pairs["block"], bootstrap=bootstrap)
    above = number("all", "AdamW above Adam, share of pairs and points", **share)
    above["holds"] = share["n"] > 0 and bool(share["value"] >= least_share)
    at_each = [ratio_of(part, its, bootstrap=bootstrap) for part, its in by_setting(pairs, "point_a")]
    effect = ratio_of("all", pairs, bootstrap=bootstrap)
    return [above, effect, *(row | {"holds": bool(row["value"] > 1)} for row in at_each)]


def ratio_of(part: str, pairs: pd.DataFrame, *, bootstrap: Bootstrap) -> Number:
    """The geometric mean of AdamW's over Adam's."""
    estimate = ratio_estimate(pairs, RATIO, bootstrap=bootstrap)
    return number(part, f"{RATIO}, AdamW / Adam", **estimate)


def at_points(depth: pd.DataFrame, *, view: str, since: str | None = None) -> pd.DataFrame:
    """What runs ended with, a row a run and point: key, point, depth, the ratio; from `since` on."""
    ended = depth[(depth["view"] == view) & (depth["epoch"] > 0)]
    if since is not None:
        first = ended[ended["point"] == since].set_index("key")["depth"]
        ended = ended[ended["depth"] >= ended["key"].map(first)]
    return ended[["key", "point", "depth", RATIO]]
