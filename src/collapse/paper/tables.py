"""The numbers of the paper's tables, as data frames in full precision and as the paper prints them.

`final_metrics`, `hyperparameters`, `overview`, `smallest_metrics` and collapse.paper.regression give
numbers; the functions `print_...` give text; `write_table` writes both.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from collapse.paper.html_tables import html_page
from collapse.paper.regression import LEAST_DISTINCT
from collapse.paper.selection import OUTCOMES, RARE, outcome, unmeasured, why_no_valid

TABLE_METRICS = ("NC0", "NC1", "NC2", "NC3")
MISSING = "–"


def final_metrics(chosen: pd.DataFrame, *, of_all: pd.DataFrame, optimizers: Sequence[str]) -> pd.DataFrame:
    """The paper's tables 2 and 3: NC0-NC3 at the end and their change, a row an optimizer.

    `chosen` holds the runs shown (several of one optimizer, as seeds, are averaged and their keys
    joined by a space), `of_all` every run they were chosen from, to say why there is none. A
    change is a fraction, final / initial - 1. Columns: optimizer, NC0 ... NC3,
    NC0_change ... NC3_change, NC0_closed_form (NaN where theory has none), status, key.
    """
    rows = []
    for optimizer in optimizers:
        its = chosen[chosen["optimizer"] == optimizer]
        row: dict[str, object] = {"optimizer": optimizer}
        row |= {name: its[name].mean() for name in TABLE_METRICS}
        for name in TABLE_METRICS:
            row[f"{name}_change"] = its[name].mean() / its[f"{name}_init"].mean() - 1
        row["NC0_closed_form"] = its["NC0_closed_form"].mean()
        rows.append(row | _status_and_key(its, of_all=of_all, optimizer=optimizer))
    return pd.DataFrame(rows)


def hyperparameters(chosen: pd.DataFrame, *, of_all: pd.DataFrame, optimizers: Sequence[str]) -> pd.DataFrame:
    """The paper's table 5: what `chosen`, one run an optimizer, was trained with.

    Columns: optimizer, learning_rate, momentum, weight_decay, NC3, status, key. Raises ValueError
    when an optimizer has several runs: their settings have no mean.
    """
    names = ["learning_rate", "momentum", "weight_decay", "NC3"]
    rows = []
    for optimizer in optimizers:
        its = chosen[chosen["optimizer"] == optimizer]
        if len(its) > 1:
            raise ValueError(f"one run an optimizer, found {len(its)} of {optimizer}")
        row = {name: its[name].iloc[0] if len(its) else np.nan for name in names}
        status = _status_and_key(its, of_all=of_all, optimizer=optimizer)
        rows.append({"optimizer": optimizer, **row, **status})
    return pd.DataFrame(rows)


def overview(runs: pd.DataFrame) -> pd.DataFrame:
    """The paper's table 4: how many runs were planned and what became of them, then the total.

    A row an (architecture, dataset, optimizer), in the order in which `runs` has them. planned =
    done + diverged + failed (+ missing); done = valid + undertrained.
    """
    setting = ["architecture", "dataset", "optimizer"]
    became = fates(runs)
    counts = became.groupby([runs[name] for name in setting], sort=False).sum()
    total = pd.DataFrame([["all", "all", "all", *counts.sum()]], columns=[*setting, *became])
    return pd.concat([counts.reset_index(), total], ignore_index=True)


def fates(runs: pd.DataFrame) -> pd.DataFrame:
    """What became of each run, to be summed: 1 or 0 as planned, done, valid, diverged, undertrained
    and failed; as collapsed to zero and as missing where there are such."""
    became = pd.DataFrame({"planned": 1, "done": runs["status"] == "done"}, index=runs.index)
    for name in OUTCOMES:
        became[name] = outcome(runs) == name
    return became.drop(columns=[name for name in RARE if not became[name].any()]).astype(int)


def smallest_metrics(runs: pd.DataFrame, *, metrics: Sequence[str]) -> pd.DataFrame:
    """The paper's table 7: the smallest values that valid runs reach without and with weight decay.

    A row an answer to "any decay?" and a number of epochs, the shorter first; each metric may be of
    another run, whose key stands beside it. Columns: weight_decay ("none" or "positive"), epochs
    (<NA> where there is no run), valid, runs, then metric and metric_key of each, status.
    """
    rows = []
    for name, is_so in (("none", runs["weight_decay"] == 0), ("positive", runs["weight_decay"] > 0)):
        for epochs in sorted(runs.loc[is_so, "epochs"].unique()) or [pd.NA]:
            its = runs[is_so & (runs["epochs"] == epochs)] if epochs is not pd.NA else runs.iloc[:0]
            valid = its[its["valid"].astype(bool)]
            row = {"weight_decay": name, "epochs": epochs, "valid": len(valid), "runs": len(its)}
            for metric in metrics:
                best = valid.dropna(subset=[metric]).sort_values([metric, "key"]).head(1)
                row |= {metric: best[metric].min(), f"{metric}_key": "".join(best["key"])}
            rows.append(row | {"status": why_no_valid(its) or unmeasured(its) or "valid"})
    return pd.DataFrame(rows).astype({"epochs": "Int64"} | dict.fromkeys(metrics, float))


def _status_and_key(its: pd.DataFrame, *, of_all: pd.DataFrame, optimizer: str) -> dict[str, str]:
    """ "valid" and the keys, or in words why there is no number; how many runs are missing beside it."""
    if len(its):
        lacking = unmeasured(of_all, optimizer=optimizer)
        status = ", ".join(sorted(set(outcome(its))) + ([lacking] if lacking else []))
        return {"status": status, "key": " ".join(its["key"])}
    return {"status": why_no_valid(of_all, optimizer=optimizer), "key": ""}


def format_value(value: float) -> str:
    """As the paper prints a metric: two decimals, below 0.005 as 2.14e-04; a dash for NaN."""
    if np.isnan(value):
        return MISSING
    return f"{value:.2e}" if 0 < abs(value) < 0.005 else f"{value:.2f}"


def four_digits(value: float) -> str:
    """0.3139, 0.001, 2.1e-05; a dash for NaN."""
    return MISSING if np.isnan(value) else f"{value:.4g}"


def format_change(change: float) -> str:
    """As the paper prints a change: "<-99.5%" below, ">>100%" above +100%, else one decimal."""
    if np.isnan(change):
        return MISSING
    if change < -0.995:
        return "<-99.5%"
    return ">>100%" if change > 1 else f"{100 * change + 0.0:+.1f}%"


def print_metrics(table: pd.DataFrame) -> pd.DataFrame:
    """`final_metrics` as the paper prints it: "0.34 (-80.6%)"; words where there is no run."""
    printed = pd.DataFrame({"Optimizer": table["optimizer"]})
    for name in TABLE_METRICS:
        pairs = zip(table[name], table[f"{name}_change"], strict=True)
        printed[f"{name} ↓"] = [
            MISSING if np.isnan(value) else f"{format_value(value)} ({format_change(change)})"
            for value, change in pairs
        ]
    printed["NC0, closed form"] = [format_value(value) for value in table["NC0_closed_form"]]
    printed["Run"] = _run_or_reason(table)
    return printed


def print_hyperparameters(table: pd.DataFrame) -> pd.DataFrame:
    """`hyperparameters` as the paper prints it, with the run's key or why there is none."""
    printed = pd.DataFrame({"Optimizer": table["optimizer"]})
    headings = {
        "learning_rate": "Learning rate",
        "momentum": "Momentum / β1",
        "weight_decay": "Weight decay",
    }
    for name, heading in headings.items():
        printed[heading] = [MISSING if np.isnan(value) else f"{value:g}" for value in table[name]]
    printed["Run"] = _run_or_reason(table)
    return printed


def print_smallest(table: pd.DataFrame, *, metrics: Sequence[str]) -> pd.DataFrame:
    """`smallest_metrics` for the eye: each value with its run, words where there is none."""
    printed = pd.DataFrame({"Weight decay": table["weight_decay"]})
    printed["Epochs"] = [MISSING if pd.isna(epochs) else f"{epochs}" for epochs in table["epochs"]]
    printed["Valid runs"] = [f"{row.valid} of {row.runs}" for row in table.itertuples()]
    for metric in metrics:
        pairs = zip(table[metric], table[f"{metric}_key"], strict=True)
        printed[f"{metric} ↓"] = [f"{format_value(v)} (`{key}`)" if key else MISSING for v, key in pairs]
    printed["Note"] = table["status"].where(table["status"] != "valid", "")
    return printed


def print_regression(table: pd.DataFrame) -> pd.DataFrame:
    """`fit_nc3_on_log_nc0` as the paper prints its table 6; excluded runs and notes at the end."""
    every = table["learning_rate"] == "all"
    columns = {"Experiment": table["learning_rate"].where(every, "LR=" + table["learning_rate"])}
    columns["n"] = table["n"].astype(str)
    decimals = {"beta": ("β", 4), "se": ("SE(β)", 3), "t": ("t-value", 3), "p": ("p-value", 3)}
    for name, (heading, digits) in decimals.items():
        columns[heading] = _decimals(table[name], digits)
    low, high = _decimals(table["ci_low"], 3), _decimals(table["ci_high"], 3)
    columns["95% CI"] = _unless_missing("[" + low + ", " + high + "]", low)
    r2, r2_adj = _decimals(table["r2"], 3), _decimals(table["r2_adj"], 3)
    columns["R² / Adj R²"] = _unless_missing(r2 + " / " + r2_adj, r2)
    columns["F-statistic"] = _decimals(table["F"], 1)
    left_out = table["excluded"].map(lambda n: f"{n} left out (NC0 or NC3 not usable)" if n else "")
    alike = [
        f"{row.distinct} distinct points: R² says nothing"
        if row.distinct < LEAST_DISTINCT and not row.note
        else ""
        for row in table.itertuples()
    ]
    columns["Note"] = (table["note"] + alike + "; " + left_out).str.strip("; ")
    return pd.DataFrame(columns)


def write_table(
    table: pd.DataFrame,
    printed: pd.DataFrame,
    *,
    csv: str | PathLike,
    markdown: str | PathLike,
    html: str | PathLike,
    title: str,
    note: str | None,
) -> None:
    """`table` as CSV in full precision; `printed` as Markdown and HTML with its title and scale `note`."""
    table.to_csv(csv, index=False, lineterminator="\n")
    head = f"**{title}**\n\n" + (f"*{note}*\n\n" if note else "")
    body = printed.astype(str).to_markdown(index=False, disable_numparse=True)
    Path(markdown).write_text(f"{head}{body}\n", encoding="utf-8")
    Path(html).write_text(html_page(printed, title=title, note=note), encoding="utf-8")


def write_target(task: Any, table: pd.DataFrame, printed: pd.DataFrame) -> None:
    """`write_table` to where, and with what title and note, a script's `snakemake` (`task`) says."""
    write_table(
        table,
        printed,
        csv=task.output.csv,
        markdown=task.output.markdown,
        html=task.output.html,
        title=task.params.caption,
        note=task.params.note,
    )


def _run_or_reason(table: pd.DataFrame) -> list[str]:
    """`key` where there is a run (and its status unless valid), else the words of `status`."""
    return [
        (f"`{row.key}`" if row.status == "valid" else f"`{row.key}` ({row.status})")
        if row.key
        else row.status
        for row in table.itertuples()
    ]


def _decimals(values: pd.Series, digits: int) -> pd.Series:
    return values.map(lambda value: MISSING if np.isnan(value) else f"{value:.{digits}f}")


def _unless_missing(text: pd.Series, part: pd.Series) -> pd.Series:
    return text.where(part != MISSING, MISSING)
