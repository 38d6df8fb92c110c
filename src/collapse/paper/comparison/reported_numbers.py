"""The numbers of reference/reported.yaml one by one, each with ours: rows that
collapse.paper.comparison.table judges.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import pandas as pd

from collapse.paper.regression import fit_nc3_on_log_nc0
from collapse.paper.selection import drawable, outcome, smallest, unmeasured, why_no_valid
from collapse.paper.tables import TABLE_METRICS, final_metrics, hyperparameters, smallest_metrics
from collapse.study.known_nc0 import nc0_ratio_by_epoch

BELOW, ABOVE = "<-99.5%", ">>100%"  # how the paper prints changes beyond these bounds
REGRESSION_UNITS = {"n": 1, "beta": 1e-4, "F": 0.1}  # the rest of table 6 has three decimals

# All that NC0 in closed form depends on.
NC0_SETTINGS = (
    "optimizer", "learning_rate", "momentum", "weight_decay",
    "schedule", "epochs", "train_size", "batch_size",
)  # fmt: skip

Row = dict[str, Any]


def reported_number(
    target: str,
    item: str,
    quantity: str,
    reported: Any,
    ours: Any,
    *,
    kind: str,
    unit: float,
    key: str,
    status: str,
    closed_form: float = math.nan,
    initial_reported: tuple[float, float] | None = None,
    initial: float = math.nan,
) -> Row:
    """A row before it is judged. kind: value, change, exact or range; unit: of the last printed digit.

    initial_reported: the bounds of the initial value that the paper's change implies; initial: ours.
    """
    row = {"target": target, "item": item, "quantity": quantity, "reported": reported, "ours": ours}
    row |= {"initial_reported": initial_reported, "initial": initial}
    return row | {"kind": kind, "unit": unit, "key": key, "status": status, "closed_form": closed_form}


def printed_unit(value: float) -> float:
    """The last digit that the paper prints of a metric: two decimals, below 0.005 as 2.14e-04."""
    return 10.0 ** (math.floor(math.log10(value)) - 2) if 0 < value < 0.005 else 0.01


def table_2_rows(
    runs: pd.DataFrame, reported: Mapping[str, Any], papers: Sequence[Row], *, initial_nc0: float
) -> Iterator[Row]:
    """Final NC0-NC3 and changes of six runs; undertrained ones too, as in our table 2.

    papers: the paper's own runs, for the closed form; initial_nc0: from where that starts.
    """
    shown = drawable(runs, require_valid=False)
    ours = final_metrics(shown, of_all=runs, optimizers=list(reported)).set_index("optimizer")
    ratios = {run["optimizer"]: closed_form_ratio(run) for run in papers}
    yield from _metric_rows("table2", reported, ours, ratios, initial_nc0=initial_nc0)


def table_3_rows(
    runs: pd.DataFrame,
    reported: Mapping[str, Any],
    settings: Mapping[str, Any],
    papers: Sequence[Row],
    *,
    initial_nc0: float,
) -> Iterator[Row]:
    """The same of the valid run of smallest NC3; the closed form at `settings`, table 5's."""
    best = smallest(runs[runs["valid"].astype(bool)], metric="NC3")
    ours = final_metrics(best, of_all=runs, optimizers=list(reported)).set_index("optimizer")
    ratios = {run["optimizer"]: closed_form_ratio(run | settings[run["optimizer"]]) for run in papers}
    yield from _metric_rows("table3", reported, ours, ratios, initial_nc0=initial_nc0)


def closed_form_ratio(run: Row) -> float:
    """NC0 at the end / NC0 at initialisation of a run of the paper; NaN where theory is silent."""
    return _last_ratio(tuple((name, run[name]) for name in NC0_SETTINGS))


@cache  # 94,000 steps each, the same in every comparison
def _last_ratio(settings: tuple[tuple[str, Any], ...]) -> float:
    ratios = nc0_ratio_by_epoch(dict(settings))
    return math.nan if ratios is None else float(ratios[-1])


def _metric_rows(
    target: str,
    reported: Mapping[str, Any],
    ours: pd.DataFrame,
    ratios: Mapping[str, float],
    *,
    initial_nc0: float,
) -> Iterator[Row]:
    for optimizer, numbers in reported.items():
        its, ratio = ours.loc[optimizer], ratios.get(optimizer, math.nan)
        where = {"key": its["key"], "status": its["status"]}
        for metric in TABLE_METRICS:
            value = numbers[metric]
            exact = (initial_nc0 * ratio, ratio - 1) if metric == "NC0" else (math.nan, math.nan)
            number = {"kind": "value", "unit": printed_unit(value), "closed_form": exact[0]}
            yield reported_number(target, optimizer, metric, value, its[metric], **number, **where)
            change = numbers["change"][metric]
            if change is None:
                change = ABOVE if value > initial_value(reported, metric) else BELOW
            number = {"kind": "change", "unit": 0.001, "closed_form": exact[1]}
            number["initial_reported"] = implied_initial(value, numbers["change"][metric])
            number["initial"] = its[metric] / (1 + its[f"{metric}_change"])
            name = f"{metric} change"
            yield reported_number(target, optimizer, name, change, its[f"{metric}_change"], **number, **where)


def implied_initial(final: float, change: float | None) -> tuple[float, float] | None:
    """The initial values for which final / initial - 1 is the printed change; None for a bound (<-99.5%)."""
    if change is None:
        return None
    half = printed_unit(final) / 2
    return (final - half) / (1 + change + 0.0005), (final + half) / (1 + change - 0.0005)


def initial_value(reported: Mapping[str, Any], metric: str) -> float:
    """The metric at initialisation that a reported table implies: the median over its optimizers."""
    implied = [
        numbers[metric] / (1 + numbers["change"][metric])
        for numbers in reported.values()
        if numbers["change"][metric] is not None
    ]
    return float(pd.Series(implied).median())


def table_5_rows(runs: pd.DataFrame, reported: Mapping[str, Any]) -> Iterator[Row]:
    """The hyperparameters of the run of smallest NC3."""
    best = smallest(runs[runs["valid"].astype(bool)], metric="NC3")
    ours = hyperparameters(best, of_all=runs, optimizers=list(reported)).set_index("optimizer")
    for optimizer, settings in reported.items():
        its = ours.loc[optimizer]
        where = {"key": its["key"], "status": its["status"], "kind": "exact", "unit": 0.0}
        for name, value in settings.items():
            yield reported_number("table5", optimizer, name, value, its[name], **where)


def table_6_rows(runs: pd.DataFrame, reported: Mapping[str, Any]) -> Iterator[Row]:
    """The regression of NC3 on log10 NC0, by learning rate and over all."""
    ours = fit_nc3_on_log_nc0(runs[runs["valid"].astype(bool)], by_learning_rate=True)
    ours = ours[ours["n"] > 0].set_index("learning_rate")
    for rate, numbers in reported.items():
        its = ours.loc[rate] if rate in ours.index else pd.Series({"note": "no valid run"})
        flat = {name: value for name, value in numbers.items() if name != "ci"}
        flat |= dict(zip(("ci_low", "ci_high"), numbers["ci"], strict=True))
        for name, value in flat.items():
            number = {"kind": "value", "unit": REGRESSION_UNITS.get(name, 1e-3)}
            where = {"key": "", "status": its["note"] or f"{its['n']} valid runs"}
            item = "all" if rate == "all" else f"learning rate {rate}"
            yield reported_number("table6", item, name, value, its.get(name, math.nan), **number, **where)


def table_7_rows(runs: pd.DataFrame, reported: Mapping[str, Any]) -> Iterator[Row]:
    """The smallest NC1-NC3 without decay after the longest training, with decay after the shortest."""
    ours = smallest_metrics(runs, metrics=["NC1", "NC2", "NC3"])
    rows = {"no_weight_decay_2000_epochs": ("none", -1), "weight_decay_200_epochs": ("positive", 0)}
    for item, numbers in reported.items():
        decay, place = rows[item]
        its = ours[ours["weight_decay"] == decay].iloc[place]
        for metric, value in numbers.items():
            number = {"kind": "value", "unit": 0.01, "key": its[f"{metric}_key"], "status": its["status"]}
            yield reported_number("table7", item, metric, value, its[metric], **number)


def figure_5_rows(
    runs: pd.DataFrame,
    reported: Mapping[str, Any],
    papers: Sequence[Row],
    *,
    decay_scales: Sequence[float],
    initial_nc0: float,
) -> Iterator[Row]:
    """The 168 cells of the heatmaps; a scaled study's run stands for the decay it was scaled from."""
    ratios = {(run["momentum"], run["weight_decay"]): closed_form_ratio(run) for run in papers}
    every = [(momentum, decay) for momentum in reported["momentum"] for decay in reported["weight_decay"]]
    cells = {at: _cell(runs, *at, decay_scales) for at in every}
    for metric in ("NC0", "NC2", "NC3"):
        values = [value for row in reported[metric] for value in row]
        for at, value in zip(every, values, strict=True):
            shown, where = cells[at]
            exact = initial_nc0 * ratios.get(at, math.nan) if metric == "NC0" else math.nan
            number = {"kind": "value", "unit": 0.01, "closed_form": exact}
            item = f"momentum {at[0]:g}, weight decay {at[1]:g}"
            yield reported_number("figure5", item, metric, value, shown[metric].mean(), **number, **where)


def _cell(
    runs: pd.DataFrame, momentum: float, decay: float, scales: Sequence[float]
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The runs of one cell, undertrained ones too, with their keys and what became of them."""
    its = runs[(runs["momentum"] == momentum) & _scaled_from(runs, decay, scales)]
    shown = drawable(its, require_valid=False)
    status = ", ".join(sorted(set(outcome(shown)))) or why_no_valid(its)
    return shown, {"key": " ".join(shown["key"]), "status": status}


def _scaled_from(runs: pd.DataFrame, decay: float, scales: Sequence[float]) -> pd.Series:
    """Which runs have the weight decay `decay` times one of the study's scales."""
    is_it = pd.Series(False, index=runs.index)
    for scale in scales:  # six digits are kept of a scaled decay (collapse.study.runs)
        is_it |= (runs["weight_decay"] - decay * scale).abs() <= 1e-5 * decay * scale
    return is_it


def grid_rows(runs: pd.DataFrame, reported: Mapping[str, Any]) -> Iterator[Row]:
    """How many runs, how many of them valid, and what they cost on which device; without those missing."""
    runs = runs[outcome(runs) != "missing"]
    device = ", ".join(sorted(runs["device"].dropna().astype(str).unique()))
    seconds = runs.drop_duplicates("key")["seconds"].astype(float)
    where = {"key": "", "status": device or "no run of the grid in this study"}
    some = len(runs) > 0

    def row(name: str, value: Any, ours: Any, **number: Any) -> Row:
        return reported_number("grid", "all", name, value, ours if some else math.nan, **number, **where)

    yield row("runs", reported["runs"], len(runs), kind="exact", unit=1)
    valid = int(runs["valid"].astype(bool).sum())
    yield row("valid runs, about", reported["valid_about"], valid, kind="value", unit=100)
    other = {"other_hardware": reported["gpu"] not in device}
    for name, ours in (("gpu_hours", seconds.sum() / 3600), ("minutes_a_run", seconds.median() / 60)):
        low, high = reported[name]
        named = row(name.replace("_", " "), f"{low} to {high}", ours, kind="range", unit=0)
        yield named | other | {"range": (low, high)}
    yield row("gpu", reported["gpu"], device, kind="exact", unit=0) | other


def vit_rows(runs: pd.DataFrame, reported: Mapping[str, Any]) -> Iterator[Row]:
    """The valid run of largest test accuracy and its settings."""
    best = runs[runs["valid"].astype(bool)].sort_values(["test_accuracy", "key"]).tail(1)
    status = why_no_valid(runs) or unmeasured(runs) or "valid"
    columns = {"best_test_accuracy": ("test_accuracy", 1e-4), "best_test_loss": ("test_loss", 1e-3)}
    for name, value in reported.items():
        column, unit = columns.get(name, (name, 0))
        ours = best[column].iloc[0] if len(best) else math.nan
        number = {"kind": "value" if unit else "exact", "unit": unit, "status": status}
        yield reported_number("vit", "best run", name, value, ours, key="".join(best["key"]), **number)
