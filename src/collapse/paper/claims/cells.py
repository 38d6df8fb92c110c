"""Claims O4 and O5: two optimizers at one setting, a cell each, compared over seeds.

By an exact permutation test, Holm's over the cells, with Welch's interval over seeds; that two are the same
is shown by two one-sided tests (collapse.paper.equivalence).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import numpy as np
import pandas as pd
from scipy.stats import permutation_test

from collapse.paper.claims.evidence import (
    SAME,
    Finding,
    Number,
    in_words,
    judged,
    not_testable,
    number,
)
from collapse.paper.equivalence import compare, holm
from collapse.paper.seeds import settings_of

ALSO_ALIKE = ("NC1", "NC2")  # of O5, shown: lemma 3 says so of every metric of features


class Cells(TypedDict):
    """How two cells are compared: fewest seeds of each, level of a test, factor within which is equal."""

    least_seeds: int
    significance: float
    margin: float


class Pair(NamedTuple):
    """The valid runs of two optimizers at one setting, and its name."""

    part: str
    first: pd.DataFrame
    second: pd.DataFrame

    @property
    def seeds(self) -> int:
        """Of the optimizer that has fewer."""
        return min(len(self.first), len(self.second))

    def logs(self, metric: str, *, floor: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """ln of a metric, raised to `floor`, of the seeds of each."""
        first, second = (
            np.log(its[metric].astype(float).clip(lower=floor).to_numpy())
            for its in (self.first, self.second)
        )
        return first, second


def pairs_of(runs: pd.DataFrame, first: str, second: str) -> list[Pair]:
    """Two optimizers at each setting with decay of which both have valid runs."""
    valid = runs[runs["valid"].astype(bool) & (runs["weight_decay"] > 0)].drop_duplicates("key")
    alike = [name for name in SAME if name not in ("optimizer", "seed")]
    theirs = valid[valid["optimizer"] == second]
    found = []
    for its in settings_of(valid[valid["optimizer"] == first]):
        other = theirs.merge(its[alike].iloc[:1], on=alike)
        if len(other):
            run = its.iloc[0]
            part = f"{run['architecture']} {run['dataset']}, learning rate {run['learning_rate']:g}, "
            found.append(Pair(f"{part}decay {run['weight_decay']:g}", its, other))
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


def too_few(pairs: Sequence[Pair], first: str, second: str, *, least_seeds: int) -> Finding:
    """Why two optimizers cannot be compared over seeds at any setting, with what the seeds say."""
    if not pairs:
        return not_testable(f"no setting with valid runs of both {first} and {second}")
    seeds = max(pair.seeds for pair in pairs)
    ratios = ", ".join(f"{np.exp(difference(*pair.logs('NC0')[::-1])):.3g}" for pair in pairs)
    words = f"{seeds} {'seed' if seeds == 1 else 'seeds'} a cell, {least_seeds} are needed"
    return not_testable(f"{words}; NC0 of {second} / {first}: {ratios}")


def ratios_of(
    pairs: Sequence[Pair], metric: str, name: str, *, cells: Cells, floor: float = 0.0
) -> tuple[list[Number], np.ndarray, np.ndarray]:
    """Of each pair second / first with Welch's interval; Holm's p of a difference, and of none within margin.

    The interval has the probability 1 - 2 significance, as two one-sided tests have.
    """
    rows, apart, within = [], [], []
    for pair in pairs:
        first, second = pair.logs(metric, floor=floor)
        found = compare(second, first, margin=np.log(cells["margin"]), level=cells["significance"])
        ends = {"low": np.exp(found.low), "high": np.exp(found.high)}
        value = np.exp(found.difference)
        rows.append(number(pair.part, f"{metric} {name}", value, n=pair.seeds, **ends))
        apart.append(exact_p(first, second))
        within.append(found.p_within)
    return rows, holm(apart), holm(within)


def head_rule_decides(runs: pd.DataFrame, *, least_ratio: float, cells: Cells, floor: float) -> Finding:
    """O4: NC0 of MuonHiddenW over that of MuonW, in each cell, at least `least_ratio` and significant."""
    every = pairs_of(runs, "MuonW", "MuonHiddenW")
    if not (pairs := with_seeds(every, least_seeds=cells["least_seeds"])):
        return too_few(every, "MuonW", "MuonHiddenW", least_seeds=cells["least_seeds"])
    rows, ps, _ = ratios_of(pairs, "NC0", "MuonHiddenW / MuonW", cells=cells, floor=floor)
    for row, p in zip(rows, ps, strict=True):
        row["holds"] = bool(row["value"] >= least_ratio and p <= cells["significance"])
    shown = [
        number(row["part"], "p of NC0, exact, Holm", p, n=row["n"]) for row, p in zip(rows, ps, strict=True)
    ]
    least = min(rows, key=lambda row: row["value"])
    words = f"NC0 x {', '.join(map(in_words, rows))}; largest p {max(ps):.2g}"
    return Finding(judged(rows), words, least, [*rows, *shown])


def centring_moves_nc0_alone(runs: pd.DataFrame, *, cells: Cells, floor: float) -> Finding:
    """O5: AdamCentredW's NC0 differs from AdamW's, its NC3 of centred W does not; NC1 and NC2 are shown.

    In exact arithmetic the two trainings are one but for the row sum; rounding makes them two runs, so seeds
    are compared. No difference is not shown by a large p: the NC3 must be equivalent, by two one-sided tests.
    """
    every = pairs_of(runs, "AdamW", "AdamCentredW")
    if not (pairs := with_seeds(every, least_seeds=cells["least_seeds"])):
        return too_few(every, "AdamW", "AdamCentredW", least_seeds=cells["least_seeds"])
    name = "AdamCentredW / AdamW"
    rows, ps, _ = ratios_of(pairs, "NC0", name, cells=cells, floor=floor)
    same, _, within = ratios_of(pairs, "NC3_centred", name, cells=cells)
    for row, p in zip([*rows, *same], [*ps, *within], strict=True):
        row["holds"] = bool(p <= cells["significance"])
    shown = [row for metric in ALSO_ALIKE for row in ratios_of(pairs, metric, name, cells=cells)[0]]
    words = f"NC0 x {', '.join(map(in_words, rows))}, largest p {max(ps):.2g}; NC3 of centred W x "
    words += f"{', '.join(map(in_words, same))}, largest p of equivalence {max(within):.2g}"
    return Finding(judged([*rows, *same]), words, rows[0], [*rows, *same, *shown])
