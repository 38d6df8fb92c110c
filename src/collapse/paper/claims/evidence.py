"""What claims are judged by: runs that differ in one thing alone, and intervals over such pairs.

Most settings of a study have one seed, so an interval here says how an effect varies over hyperparameters,
not over seeds. It is a bootstrap over blocks, the settings that pairs share: pairs of one block are not
independent. Claims about two cells have intervals over seeds instead (collapse.paper.claims.cells).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np
import pandas as pd

from collapse.optimizers import OPTIMIZERS, WeightDecayKind
from collapse.study.settings import SETTINGS

HOLDS, FAILS, NOT_TESTABLE = "holds", "fails", "not testable"
SETTING = ["architecture", "width", "dataset", "image_size", "train_size", "augmentation"]
SAME = [name for name in SETTINGS if name != "measure_every"]  # how often one looks changes no run
COUPLED = [name for name, o in OPTIMIZERS.items() if o.weight_decay_kind is WeightDecayKind.COUPLED]
MIN_BLOCKS = 5  # a bootstrap over fewer blocks says nothing

Number = dict[str, object]


class Bootstrap(TypedDict):
    """How often the blocks are drawn, the interval's probability, and the draws' seed."""

    resamples: int
    confidence: float
    seed: int


@dataclass(frozen=True)
class Finding:
    """A verdict, one line of words, the effect that stands for it, and all numbers behind it."""

    verdict: str
    words: str
    effect: Number | None = None
    numbers: list[Number] = field(default_factory=list)


def not_testable(why: str) -> Finding:
    """The claim says nothing about this study, and why."""
    return Finding(NOT_TESTABLE, why)


def number(
    part: str,
    quantity: str,
    value: float,
    *,
    n: int,
    low: float = np.nan,
    high: float = np.nan,
    holds: bool | None = None,
) -> Number:
    """One number of a claim: of which part of the study, what, its interval, how many runs or pairs.

    `holds`: whether the claim's criterion is met by it; None where it is shown alone.
    """
    met = None if holds is None else bool(holds)
    estimate = {"value": float(value), "low": float(low), "high": float(high), "n": int(n)}
    return {"part": part, "quantity": quantity, **estimate, "holds": met}


def judged(numbers: Sequence[Number]) -> str:
    """Holds when every number with a criterion meets it."""
    met = [each["holds"] for each in numbers if each["holds"] is not None]
    return HOLDS if met and all(met) else FAILS


def usable(runs: pd.DataFrame, *, floor: float) -> pd.DataFrame:
    """The valid runs, each training once, with NC0 raised to `floor`.

    Below the floor NC0 is rounding of float32, not dynamics: two such values are as good as equal.
    """
    valid = runs[runs["valid"].astype(bool)].drop_duplicates("key")
    return valid.assign(NC0=valid["NC0"].astype(float).clip(lower=floor))


def by_setting(table: pd.DataFrame, *also: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of each network on each dataset (and each value of `also`), under a name."""
    for values, its in table.groupby([*SETTING, *also], dropna=False, sort=False):
        named = dict(zip([*SETTING, *also], values, strict=True))
        parts = [f"{named[name]:g}" if isinstance(named[name], float) else str(named[name]) for name in also]
        yield ", ".join([f"{named['architecture']} {named['dataset']}", *parts]), its


def paired(first: pd.DataFrame, second: pd.DataFrame, *, apart: Sequence[str]) -> pd.DataFrame:
    """Each run of `first` (columns ..._a) beside each of `second` (..._b) alike in all but `apart`.

    The settings that they share keep their names; `block` numbers the combinations of those.
    """
    shared = [name for name in SAME if name not in apart]
    both = first.merge(second, on=shared, suffixes=("_a", "_b"))
    return both.assign(block=both.groupby(shared, dropna=False).ngroup())


def steps(before: pd.Series, after: pd.Series, *, tie: float) -> pd.Series:
    """-1 where `after` is lower, 1 where it is higher, 0 where they differ by at most the share `tie`."""
    change = after - before
    tied = change.abs() <= tie * np.maximum(before.abs(), after.abs())
    return np.sign(change).where(~tied, 0.0)


def mean_estimate(
    values: pd.Series, blocks: pd.Series, *, bootstrap: Bootstrap, of: Callable = lambda mean: mean
) -> Number:
    """of(mean) of the finite `values`, with its interval over `blocks`: value, low, high, n."""
    values = values[np.isfinite(values.astype(float))].astype(float)
    sums = values.groupby(blocks[values.index]).agg(["sum", "count"]).to_numpy(dtype=float)
    low, high = interval(sums, lambda total: of(total[:, 0] / total[:, 1]), **bootstrap)
    value = of(values.mean()) if len(values) else np.nan
    return {"value": value, "low": low, "high": high, "n": len(values)}


def ratio_estimate(pairs: pd.DataFrame, metric: str, *, bootstrap: Bootstrap) -> Number:
    """The geometric mean of metric_b / metric_a over pairs, with its interval over blocks."""
    a, b = pairs[f"{metric}_a"].astype(float), pairs[f"{metric}_b"].astype(float)
    positive = (a > 0) & (b > 0)
    return mean_estimate(np.log(b[positive] / a[positive]), pairs["block"], bootstrap=bootstrap, of=np.exp)


def share_estimate(signs: pd.Series, wanted: int, blocks: pd.Series, *, bootstrap: Bootstrap) -> Number:
    """The share of `signs` that are as `wanted`, ties (0) aside, with its interval over blocks.

    Where all agree a bootstrap has no width: there it is the exact binomial interval of so many blocks.
    """
    untied = signs[signs.isin([-1, 1])]
    estimate = mean_estimate((untied == wanted).astype(float), blocks, bootstrap=bootstrap)
    if estimate["value"] in (0.0, 1.0):
        reach = ((1 - bootstrap["confidence"]) / 2) ** (1 / blocks[untied.index].nunique())
        low, high = (reach, 1.0) if estimate["value"] == 1 else (0.0, 1 - reach)
        estimate |= {"low": low, "high": high}
    return estimate


def interval(
    sums_BM: np.ndarray, statistic: Callable, *, resamples: int, confidence: float, seed: int
) -> tuple[float, float]:
    """Percentile bootstrap of a statistic of sums: (low, high), NaN with under MIN_BLOCKS blocks.

    sums_BM: of each of B blocks its share in M sums; `statistic` maps sums (R, M) to (R,).
    """
    num_blocks = len(sums_BM)
    if num_blocks < MIN_BLOCKS:
        return np.nan, np.nan
    draws_RB = np.random.default_rng(seed).multinomial(
        num_blocks, np.full(num_blocks, 1 / num_blocks), resamples
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        values_R = statistic(draws_RB @ sums_BM)
    if not np.isfinite(values_R).any():
        return np.nan, np.nan
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(values_R, [tail, 1 - tail])
    return float(low), float(high)


def trend(
    pairs: pd.DataFrame,
    metric: str,
    *,
    wanted: int,
    also: Sequence[str],
    least: float,
    tie: float,
    bootstrap: Bootstrap,
) -> list[Number]:
    """The share of pairs in which `metric` goes down (wanted -1) or up (1) from a to b.

    First over all, where it must be `least`; then in each setting (and value of `also`), where it
    must be more than half. Pairs that tie do not count.
    """
    signs = steps(pairs[f"{metric}_a"], pairs[f"{metric}_b"], tie=tie)
    name = f"{metric} {'lower' if wanted < 0 else 'higher'}, share of pairs"
    groups = [("all", pairs, least), *((part, its, 0.5) for part, its in by_setting(pairs, *also))]
    rows = []
    for part, its, bound in groups:
        estimate = share_estimate(signs[its.index], wanted, its["block"], bootstrap=bootstrap)
        enough = estimate["value"] >= bound if part == "all" else estimate["value"] > bound
        rows.append(number(part, name, **estimate, holds=enough if estimate["n"] else None))
    return rows


def undecided(row: Number, bound: float) -> str:
    """ "; its interval contains 0.7" where it does, else nothing."""
    return f"; its interval contains {bound:g}" if row["low"] <= bound <= row["high"] else ""


def in_words(row: Number) -> str:
    """ "1.96 [1.60, 2.41], n 9"; the interval where there is one."""
    within = f" [{row['low']:.3g}, {row['high']:.3g}]" if np.isfinite(row["low"]) else ""
    return f"{row['value']:.3g}{within}, n {row['n']}"


def counted(row: Number) -> str:
    """A share as a count: "57 of 60"."""
    return f"{round(row['value'] * row['n']) if row['n'] else 0} of {row['n']}"
