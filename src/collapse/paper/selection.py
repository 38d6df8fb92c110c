"""Which runs a table or figure is made of, and in words why there are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np
import pandas as pd

from collapse.paper.seeds import from_to, settings_of

TO_ZERO = "collapsed to zero"  # how the reason begins of a run whose outputs went to zero
OUTCOMES = ("valid", "diverged", "undertrained", TO_ZERO, "failed", "missing")
RARE = (TO_ZERO, "missing")  # counted where there are such alone
STATES = ("done", "diverged", "failed", "missing")  # missing: in a study of evidence, not measured yet
NOT_RUN = "not run yet"
MOST_NAMED = 3  # settings in a remark
EXTREMES = {"smallest": "min", "largest": "max"}  # what `where` may say of a column of numbers


def select(
    runs: pd.DataFrame,
    *,
    experiment: str,
    architecture: str | None = None,
    dataset: str | None = None,
    optimizers: Sequence[str] | None = None,
    valid: bool = True,
    where: Mapping[str, object] | None = None,
) -> pd.DataFrame:
    """The rows of `runs` (collapse.measuring.results) that fit every condition given; None fits all.

    The paper analyses the valid runs alone (section 3.1: at least 99% training accuracy);
    `valid=False` keeps the others too. `where` names further columns and the value each must
    have, as {"epochs": 200}, a list of which it must have one, or, of a column of numbers,
    "smallest" or "largest": of the runs that fit all else, valid or not. Raises KeyError for a
    column that `runs` has not.
    """
    wanted = {"experiment": experiment, "architecture": architecture, "dataset": dataset}
    wanted |= {"optimizer": None if optimizers is None else list(optimizers), **(where or {})}
    ends = {column: EXTREMES[value] for column, value in wanted.items() if is_end(runs[column], value)}
    keep = pd.Series(True, index=runs.index)
    for column, value in wanted.items():
        if value is not None and column not in ends:
            keep &= runs[column].isin(value if isinstance(value, list) else [value])
    at_ends = [runs[column] == runs.loc[keep, column].agg(end) for column, end in ends.items()]
    for is_there in at_ends:
        keep &= is_there
    if valid:
        keep &= runs["valid"].astype(bool)
    return runs[keep]


def is_end(column: pd.Series, value: object) -> bool:
    """Whether `value` stands for the smallest or the largest of a column of numbers."""
    return isinstance(value, str) and value in EXTREMES and pd.api.types.is_numeric_dtype(column)


def outcome(runs: pd.DataFrame) -> pd.Series:
    """What became of each run: one of `OUTCOMES`.

    A run that ended (status done) without being valid is undertrained, or its outputs went to zero. Raises
    ValueError for a status that is none of `STATES`.
    """
    unknown = sorted(set(runs["status"].dropna()) - set(STATES))
    if unknown or runs["status"].isna().any():
        raise ValueError(f"status must be {', '.join(STATES)}; found {unknown or 'none'}")
    of_done = runs["valid"].astype(bool).map({True: "valid", False: "undertrained"})
    of_done = of_done.mask(runs["reason"].fillna("").str.startswith(TO_ZERO), TO_ZERO)
    return runs["status"].where(runs["status"] != "done", of_done).astype(object)


def why_no_valid(runs: pd.DataFrame, *, optimizer: str | None = None, of: str = "") -> str:
    """In words, why `runs` (valid or not) holds no valid run, as shown in place of a result.

    "no valid run of AdamW here: 3 diverged, 2 undertrained", "AdamW: not run yet"; "" when there is a
    valid run. `of` names runs that are chosen by more than their optimizer, as "SGD at momentum 0.98".
    """
    if optimizer is not None:
        runs = runs[runs["optimizer"] == optimizer]
    whom = of or optimizer or ""
    if runs.empty:
        return f"no run of {whom} in this study" if whom else "no run in this study"
    counts = outcome(runs).value_counts()
    if counts.get("valid", 0):
        return ""
    if set(counts.index) == {"missing"}:
        return f"{whom}: {NOT_RUN}" if whom else NOT_RUN
    return f"no valid run{f' of {whom}' if whom else ''} here: {what_became(runs)}"


def what_became(runs: pd.DataFrame) -> str:
    """What became of runs that are not valid: "3 diverged, 2 undertrained, 1 not run yet"."""
    counts = outcome(runs).value_counts()
    words = {"missing": NOT_RUN}
    return ", ".join(f"{counts[name]} {words.get(name, name)}" for name in OUTCOMES[1:] if name in counts)


def not_valid(runs: pd.DataFrame) -> str:
    """ "5 of 24 runs not valid: 2 diverged, 3 not run yet"; "" where all are."""
    without = int((outcome(runs) != "valid").sum())
    return f"{without} of {len(runs)} runs not valid: {what_became(runs)}" if without else ""


def unmeasured(runs: pd.DataFrame, *, optimizer: str | None = None) -> str:
    """How many of `runs` are missing: "2 of 6 runs of Adam not run yet"; "" where none is."""
    if optimizer is not None:
        runs = runs[runs["optimizer"] == optimizer]
    missing = int((outcome(runs) == "missing").sum())
    of_whom = f" of {optimizer}" if optimizer else ""
    return f"{missing} of {len(runs)} runs{of_whom} {NOT_RUN}" if missing else ""


def absences(every: pd.DataFrame, *, optimizers: Sequence[str]) -> list[str]:
    """How far an unfinished study is, and which of the optimizers have no valid run, and why.

    ["3 of 6 runs so far", "SGDW, Signum and SignumW: not run yet", "no run of Adam in this study"].
    """
    missing = outcome(every) == "missing"
    words = [f"{(~missing).sum()} of {len(every)} runs so far"] if missing.any() and not missing.all() else []
    reasons = {name: why_no_valid(every, optimizer=name) for name in optimizers}
    later = [name for name, reason in reasons.items() if reason == f"{name}: {NOT_RUN}"]
    if later:
        words.append(f"{in_a_row(later)}: {NOT_RUN}")
    without = [name for name in optimizers if name not in set(every["optimizer"])]
    if without and len(every):
        words.append(f"no run of {in_a_row(without)} in this study")
        later += without
    return words + [reason for name, reason in reasons.items() if reason and name not in later]


def in_a_row(names: Sequence[str]) -> str:
    """ "SGD, Adam and AdamW"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def left_out(every: pd.DataFrame, *, optimizers: Sequence[str], by: Sequence[str] = ()) -> list[str]:
    """What must be said beside a summary of the valid runs: `absences`, and which runs it is made without.

    Settings of the columns `by`, points of a figure, that have no valid run are named: "left out of SGD:
    2 undertrained; so no point at weight decay 0.5".
    """
    words = absences(every, optimizers=optimizers)
    for name in optimizers:
        its = every[every["optimizer"] == name]
        became = outcome(its)
        without = its[~became.isin(["valid", "missing"])]
        if without.empty or "valid" not in set(became):
            continue
        said = f"left out of {name}: {what_became(without)}"
        points = [
            setting_list(group.iloc[0], by=by)
            for _, group in its.groupby(list(by), dropna=False)
            if not outcome(group).isin(["valid", "missing"]).any()
        ] if by else []  # fmt: skip
        if points:
            more = f" and {len(points) - MOST_NAMED} more" if len(points) > MOST_NAMED else ""
            said += f"; so no point at {' or '.join(points[:MOST_NAMED])}{more}"
        words.append(said)
    return words


def drawable(runs: pd.DataFrame, *, require_valid: bool, run_of_smallest: str | None = None) -> pd.DataFrame:
    """The valid runs; without `require_valid` the undertrained too, never those that broke off.

    With the name of a metric in `run_of_smallest`, of each optimizer the one run alone whose
    metric is the smallest.
    """
    wanted = ["valid"] if require_valid else ["valid", "undertrained"]
    shown = runs[outcome(runs).isin(wanted)]
    return shown if run_of_smallest is None else smallest(shown, metric=run_of_smallest)


def at_step_decay(runs: pd.DataFrame, *, of: str) -> pd.DataFrame:
    """Of each optimizer the settings alone whose learning rate * weight decay is nearest to one of `of`'s.

    Of several of `of`'s it is the median, the smaller of two; of the positive ones. So decoupled decays of
    different learning rates shrink W equally. All runs where `of` has none with decay.
    """
    products = runs["learning_rate"].astype(float) * runs["weight_decay"].astype(float)
    wanted = sorted(set(products[(runs["optimizer"] == of) & (products > 0)]))
    if not wanted:
        return runs
    apart = np.log(products.where(products > 0) / wanted[(len(wanted) - 1) // 2]).abs()
    nearest = apart.groupby(runs["optimizer"]).transform("min")
    return runs[np.isclose(apart, nearest)]


def words_on_step_decay(runs: pd.DataFrame) -> str:
    """ "learning rate * weight decay 2.5e-05 to 3.4e-05": what the runs of `at_step_decay` have."""
    products = (runs["learning_rate"].astype(float) * runs["weight_decay"].astype(float)).unique()
    ends = dict.fromkeys(f"{end:.2g}" for end in (products.min(), products.max()))
    return f"learning rate x weight decay {' to '.join(ends)}"


def remarks(
    every: pd.DataFrame,
    *,
    shown: pd.DataFrame,
    optimizers: Sequence[str],
    by: Sequence[str] = (),
    where: Mapping[str, object] | None = None,
) -> list[str]:
    """What must be said of a figure's runs: what has none and why, and which are undertrained.

    `shown` is part of `every`. Beside optimizers without a run, all settings of the columns `by`
    without one are named, and the values that `where` lists and no run has: "SGD at momentum 0.7
    undertrained: 97.9% training accuracy".
    """
    missing = [name for name in optimizers if name not in set(shown["optimizer"])]
    words = absences(every, optimizers=missing)
    others = every[~every["optimizer"].isin(missing)]
    if not others.empty:
        for _, its in others.groupby(["optimizer", *by], dropna=False):
            if not its["key"].isin(shown["key"]).any():
                words.append(why_no_valid(its, of=run_name(its.iloc[0], by=by)))
        for column, values in (where or {}).items():
            for value in values if isinstance(values, list) else []:
                if value not in set(every[column]):
                    words.append(f"no run with {setting_words(column, value)} in this study")
    undertrained = shown[outcome(shown) == "undertrained"]
    return words + [undertrained_words(its, by=by) for its in settings_of(undertrained)]


def undertrained_words(seeds: pd.DataFrame, *, by: Sequence[str]) -> str:
    """ "SGD undertrained: 97.9% training accuracy", or "with 2 seeds: 97.9% to 98.2%"."""
    accuracies = [f"{100 * accuracy:.1f}%" for accuracy in sorted(seeds["train_accuracy"])]
    several = f" with {len(seeds)} seeds" if len(seeds) > 1 else ""
    name = run_name(seeds.iloc[0], by=by)
    return f"{name} undertrained{several}: {from_to(accuracies)} training accuracy"


def run_name(run: pd.Series, *, by: Sequence[str]) -> str:
    """A run by its optimizer and its settings in the columns `by`: "SGD at momentum 0.7"."""
    settings = setting_list(run, by=by)
    return f"{run['optimizer']} at {settings}" if settings else str(run["optimizer"])


def setting_list(run: pd.Series, *, by: Sequence[str]) -> str:
    """The settings of a run in the columns `by`: "momentum 0.7, 2000 epochs"."""
    return ", ".join(setting_words(column, run[column]) for column in by)


def setting_words(column: str, value: object) -> str:
    """One setting in words: "weight decay 0.0005", "2000 epochs"."""
    text = f"{value:g}" if isinstance(value, Real) else str(value)
    return f"{text} epochs" if column == "epochs" else f"{column.replace('_', ' ')} {text}"


def smallest(runs: pd.DataFrame, *, metric: str) -> pd.DataFrame:
    """Of each optimizer the one run with the smallest `metric` (NaN never wins; ties go by key)."""
    ranked = runs.dropna(subset=[metric]).sort_values([metric, "key"])
    return ranked.drop_duplicates("optimizer")


def trajectory(history: pd.DataFrame, *, key: str) -> pd.DataFrame:
    """The logged epochs of one run, in order; empty when nothing was logged."""
    return history[history["key"] == key].sort_values("epoch")
