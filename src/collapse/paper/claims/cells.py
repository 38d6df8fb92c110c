"""Claims O4, O5 and O6: two optimizers at one setting, a cell each, compared over seeds.

By an exact permutation test, Holm's over the cells, with Welch's interval over seeds; that two are the same
is shown by two one-sided tests (collapse.paper.equivalence). What is neither shown nor refuted is undecided,
and so is a cell that was to have enough seeds and has too few valid ones: the claim is then not testable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import numpy as np
import pandas as pd
from scipy.stats import permutation_test

from collapse.paper.claims.evidence import (
    FAILS,
    HOLDS,
    NOT_TESTABLE,
    SAME,
    Finding,
    Number,
    in_words,
    not_testable,
    number,
)
from collapse.paper.equivalence import compare, holm
from collapse.paper.seeds import settings_of

CAUTIOUS = {"SGDCautious": "SGDW", "AdamCautious": "AdamW", "MuonCautious": "MuonW"}
ALSO_ALIKE = ("NC1", "NC2", "test_accuracy")  # of O5, shown: lemma 3 says so of every metric of features


class Cells(TypedDict):
    """How two cells are compared: fewest seeds of each, level of a test, factor within which is equal."""

    least_seeds: int
    significance: float
    margin: float


class Pair(NamedTuple):
    """The valid runs of two optimizers at one setting, its name, and how many runs the smaller cell has."""

    part: str
    first: pd.DataFrame
    second: pd.DataFrame
    planned: int

    @property
    def seeds(self) -> int:
        """Valid ones, of the optimizer that has fewer."""
        return min(len(self.first), len(self.second))

    def logs(self, metric: str, *, floor: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """ln of a metric, raised to `floor`, of the seeds of each."""
        first, second = (
            np.log(its[metric].astype(float).clip(lower=floor).to_numpy())
            for its in (self.first, self.second)
        )
        return first, second


class Ratios(NamedTuple):
    """A number a pair, and Holm's p-values: of a difference, of one within the margin, of one beyond it."""

    rows: list[Number]
    apart: np.ndarray
    within: np.ndarray
    beyond: np.ndarray


def pairs_of(runs: pd.DataFrame, first: str, second: str) -> list[Pair]:
    """Two optimizers at each setting with decay at which both have runs, valid or not."""
    decayed = runs[runs["weight_decay"] > 0].drop_duplicates("key")
    alike = [name for name in SAME if name not in ("optimizer", "seed")]
    theirs = decayed[decayed["optimizer"] == second]
    found = []
    for its in settings_of(decayed[decayed["optimizer"] == first]):
        other = theirs.merge(its[alike].iloc[:1], on=alike)
        if len(other):
            run = its.iloc[0]
            part = f"{run['architecture']} {run['dataset']}, learning rate {run['learning_rate']:g}, "
            part += f"decay {run['weight_decay']:g}"
            valid = (each[each["valid"].astype(bool)] for each in (its, other))
            found.append(Pair(part, *valid, planned=min(len(its), len(other))))
    return found


def exact_p(values: np.ndarray, reference: np.ndarray) -> float:
    """Two-sided exact permutation test of equal means: 5 against 5 that do not overlap have 0.008."""
    every = {"permutation_type": "independent", "n_resamples": np.inf, "alternative": "two-sided"}
    return float(permutation_test((values, reference), difference, **every).pvalue)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Of means."""
    return np.mean(one) - np.mean(other)


def with_seeds(pairs: Sequence[Pair], *, least_seeds: int) -> list[Pair]:
    """The pairs of which both optimizers have so many valid seeds."""
    return [pair for pair in pairs if pair.seeds >= least_seeds]


def lost_cells(pairs: Sequence[Pair], *, least_seeds: int) -> list[Number]:
    """A row, undecided, for every pair that was to have so many seeds and has fewer valid ones."""
    return [
        number(pair.part, f"valid seeds of {pair.planned}", pair.seeds, n=pair.seeds)
        for pair in pairs
        if pair.seeds < least_seeds <= pair.planned
    ]


def lost_words(lost: Sequence[Number]) -> str:
    """ "; not judged: ResNet9 FashionMNIST, learning rate 0.003, decay 0.9, 2 valid seeds of 5"."""
    named = [f"{row['part']}, {row['n']} {row['quantity']}" for row in lost]
    return f"; not judged: {'; '.join(named)}" if named else ""


def verdict_of(met: Sequence[bool | None]) -> str:
    """Fails where a cell refutes the claim, holds where every one meets it, else nothing can be judged."""
    if False in met:
        return FAILS
    return HOLDS if met and None not in met else NOT_TESTABLE


def too_few(pairs: Sequence[Pair], first: str, second: str, *, least_seeds: int) -> Finding:
    """Why two optimizers cannot be compared over seeds at any setting, with what the seeds say."""
    pairs = [pair for pair in pairs if pair.seeds]
    if not pairs:
        return not_testable(f"no setting with valid runs of both {first} and {second}")
    seeds = max(pair.seeds for pair in pairs)
    ratios = ", ".join(f"{np.exp(difference(*pair.logs('NC0')[::-1])):.3g}" for pair in pairs)
    words = f"{seeds} {'seed' if seeds == 1 else 'seeds'} a cell, {least_seeds} are needed"
    return not_testable(f"{words}; NC0 of {second} / {first}: {ratios}")


def ratios_of(pairs: Sequence[Pair], metric: str, name: str, *, cells: Cells, floor: float = 0.0) -> Ratios:
    """Of each pair second / first, the ratio of geometric means with Welch's interval, and the tests.

    The interval has the probability 1 - 2 significance, as two one-sided tests have.
    """
    rows, apart, within, beyond = [], [], [], []
    for pair in pairs:
        first, second = pair.logs(metric, floor=floor)
        found = compare(second, first, margin=np.log(cells["margin"]), level=cells["significance"])
        ends = {"low": np.exp(found.low), "high": np.exp(found.high)}
        value = np.exp(found.difference)
        rows.append(number(pair.part, f"{metric} {name}", value, n=pair.seeds, **ends))
        apart.append(exact_p(first, second))
        within.append(found.p_within)
        beyond.append(found.p_beyond)
    return Ratios(rows, holm(apart), holm(within), holm(beyond))


def shown_p(found: Ratios, name: str) -> list[Number]:
    """The p-values of a difference, a number each."""
    return [
        number(row["part"], f"p of {name}, exact, Holm", p, n=row["n"])
        for row, p in zip(found.rows, found.apart, strict=True)
    ]


def head_rule_decides(runs: pd.DataFrame, *, least_ratio: float, cells: Cells, floor: float) -> Finding:
    """O4: NC0 of MuonHiddenW over that of MuonW, in each cell, at least `least_ratio` and significant.

    Fails where a cell has a smaller significant ratio, or one within the margin (two one-sided tests).
    """
    every, least_seeds = pairs_of(runs, "MuonW", "MuonHiddenW"), cells["least_seeds"]
    pairs, lost = with_seeds(every, least_seeds=least_seeds), lost_cells(every, least_seeds=least_seeds)
    if not pairs:
        return too_few(every, "MuonW", "MuonHiddenW", least_seeds=least_seeds)
    found = ratios_of(pairs, "NC0", "MuonHiddenW / MuonW", cells=cells, floor=floor)
    for row, apart, within in zip(found.rows, found.apart, found.within, strict=True):
        if apart <= cells["significance"]:
            row["holds"] = bool(row["value"] >= least_ratio)
        elif within <= cells["significance"]:
            row["holds"] = False
    least = min(found.rows, key=lambda row: row["value"])
    words = f"NC0 x {', '.join(map(in_words, found.rows))}; largest p {max(found.apart):.2g}"
    met = [row["holds"] for row in [*found.rows, *lost]]
    numbers = [*found.rows, *lost, *shown_p(found, "NC0")]
    return Finding(verdict_of(met), words + lost_words(lost), least, numbers)


def centring_moves_nc0_alone(runs: pd.DataFrame, *, cells: Cells, floor: float) -> Finding:
    """O5: AdamCentredW's NC0 differs from AdamW's, its NC3 of centred W does not; ALSO_ALIKE is shown.

    In exact arithmetic the two trainings are one but for the row sum; rounding makes them two runs, so seeds
    are compared. No difference is not shown by a large p: the NC3 must be equivalent, by two one-sided tests.
    Fails where NC0 is equivalent, or NC3 is shown to differ by more than the margin.
    """
    every, least_seeds = pairs_of(runs, "AdamW", "AdamCentredW"), cells["least_seeds"]
    pairs, lost = with_seeds(every, least_seeds=least_seeds), lost_cells(every, least_seeds=least_seeds)
    if not pairs:
        return too_few(every, "AdamW", "AdamCentredW", least_seeds=least_seeds)
    name, level = "AdamCentredW / AdamW", cells["significance"]
    other = ratios_of(pairs, "NC0", name, cells=cells, floor=floor)
    same = ratios_of(pairs, "NC3_centred", name, cells=cells)
    for row, apart, within in zip(other.rows, other.apart, other.within, strict=True):
        row["holds"] = False if within <= level else (True if apart <= level else None)
    for row, within, beyond in zip(same.rows, same.within, same.beyond, strict=True):
        row["holds"] = True if within <= level else (False if beyond <= level else None)
    shown = [row for metric in ALSO_ALIKE for row in ratios_of(pairs, metric, name, cells=cells).rows]
    words = f"NC0 x {', '.join(map(in_words, other.rows))}, largest p {max(other.apart):.2g}; NC3 of centred "
    words += f"W x {', '.join(map(in_words, same.rows))}, largest p of equivalence {max(same.within):.2g}"
    met = [row["holds"] for row in [*other.rows, *same.rows, *lost]]
    numbers = [*other.rows, *same.rows, *lost, *shown]
    return Finding(verdict_of(met), words + lost_words(lost), other.rows[0], numbers)


def cautious_stays_above(runs: pd.DataFrame, *, cells: Cells, floor: float) -> Finding:
    """O6: NC0 with cautious decay over that with decoupled decay, in each cell, above 1 and significant.

    Fails where a cell has it significantly below.
    """
    least_seeds, level = cells["least_seeds"], cells["significance"]
    by_name = {name: pairs_of(runs, decoupled, name) for name, decoupled in CAUTIOUS.items()}
    every = [pair._replace(part=f"{name}, {pair.part}") for name, its in by_name.items() for pair in its]
    pairs, lost = with_seeds(every, least_seeds=least_seeds), lost_cells(every, least_seeds=least_seeds)
    if not pairs:
        return too_few(every, "decoupled", "cautious decay", least_seeds=least_seeds)
    found = ratios_of(pairs, "NC0", "cautious / decoupled", cells=cells, floor=floor)
    for row, apart in zip(found.rows, found.apart, strict=True):
        row["holds"] = bool(row["value"] > 1) if apart <= level else None
    least = min(found.rows, key=lambda row: row["value"])
    said = (f"{row['part'].split(',')[0]} {in_words(row)}" for row in found.rows)
    words = f"NC0 cautious / decoupled: {'; '.join(said)}; largest p {max(found.apart):.2g}"
    met = [row["holds"] for row in [*found.rows, *lost]]
    numbers = [*found.rows, *lost, *shown_p(found, "NC0")]
    return Finding(verdict_of(met), words + lost_words(lost), least, numbers)
