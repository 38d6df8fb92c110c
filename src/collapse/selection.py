"""Which runs a table or figure is made of, and in words why there are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

OUTCOMES = ("valid", "diverged", "undertrained", "failed")


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
    """The rows of `runs` (collapse.results) that fit every condition given; None fits all.

    The paper analyses the valid runs alone (section 3.1: at least 99% training accuracy);
    `valid=False` keeps the others too. `where` names further columns and the value each must
    have, as {"epochs": 200}. Raises KeyError for a column that `runs` has not.
    """
    wanted = {"experiment": experiment, "architecture": architecture, "dataset": dataset}
    keep = pd.Series(True, index=runs.index)
    for column, value in {**wanted, **(where or {})}.items():
        if value is not None:
            keep &= runs[column] == value
    if optimizers is not None:
        keep &= runs["optimizer"].isin(list(optimizers))
    if valid:
        keep &= runs["valid"].astype(bool)
    return runs[keep]


def outcome(runs: pd.DataFrame) -> pd.Series:
    """What became of each run: one of `OUTCOMES`.

    A run that ended (status done) without being valid is undertrained. Raises ValueError for a
    status that is none of done, diverged, failed.
    """
    unknown = sorted(set(runs["status"].dropna()) - {"done", "diverged", "failed"})
    if unknown or runs["status"].isna().any():
        raise ValueError(f"status must be done, diverged or failed, found {unknown or 'none'}")
    of_done = runs["valid"].astype(bool).map({True: "valid", False: "undertrained"})
    return runs["status"].where(runs["status"] != "done", of_done).astype(object)


def why_no_valid(runs: pd.DataFrame, *, optimizer: str | None = None) -> str:
    """In words, why `runs` (valid or not) holds no valid run, as shown in place of a result.

    "no valid run of AdamW here: 3 diverged, 2 undertrained"; "" when there is a valid run.
    """
    of_whom = f" of {optimizer}" if optimizer else ""
    if optimizer is not None:
        runs = runs[runs["optimizer"] == optimizer]
    if runs.empty:
        return f"no run{of_whom} in this study"
    counts = outcome(runs).value_counts()
    if counts.get("valid", 0):
        return ""
    parts = [f"{counts[name]} {name}" for name in OUTCOMES if name in counts]
    return f"no valid run{of_whom} here: {', '.join(parts)}"


def drawable(runs: pd.DataFrame, *, require_valid: bool) -> pd.DataFrame:
    """The valid runs; without `require_valid` the undertrained too, never those that broke off."""
    wanted = ["valid"] if require_valid else ["valid", "undertrained"]
    return runs[outcome(runs).isin(wanted)]


def remarks(every: pd.DataFrame, *, shown: pd.DataFrame, optimizers: Sequence[str]) -> list[str]:
    """What must be said of a figure's runs: optimizers without one and why, runs that are undertrained.

    "SGD undertrained: 97.9% training accuracy" of a run in `shown`, which is part of `every`.
    """
    missing = [name for name in optimizers if name not in set(shown["optimizer"])]
    return [why_no_valid(every, optimizer=name) for name in missing] + [
        f"{run.optimizer} undertrained: {100 * run.train_accuracy:.1f}% training accuracy"
        for run in shown[outcome(shown) == "undertrained"].itertuples()
    ]


def smallest(runs: pd.DataFrame, *, metric: str) -> pd.DataFrame:
    """Of each optimizer the one run with the smallest `metric` (NaN never wins; ties go by key)."""
    ranked = runs.dropna(subset=[metric]).sort_values([metric, "key"])
    return ranked.drop_duplicates("optimizer")


def trajectory(history: pd.DataFrame, *, key: str) -> pd.DataFrame:
    """The logged epochs of one run, in order; empty when nothing was logged."""
    return history[history["key"] == key].sort_values("epoch")
