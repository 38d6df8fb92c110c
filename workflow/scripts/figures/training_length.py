"""What training longer changes: the shortest and the longest run of each setting (figure 15)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.measuring.results import read_results
from collapse.paper.figures.axes import log_ticks, words_in_panel
from collapse.paper.figures.style import (
    LOG_METRICS,
    METRIC_LABELS,
    SETTING_SYMBOLS,
    legend_above,
    new_figure,
    number_label,
    optimizer_style,
    paper_style,
    remark,
    save_target,
)
from collapse.paper.selection import drawable, remarks, select, setting_words, why_no_valid
from collapse.records.job import job

ROW_HEIGHT = 0.24  # inches


@paper_style()
def draw(
    runs: pd.DataFrame,
    history: pd.DataFrame,
    *,
    experiment: str,
    architecture: str | None,
    dataset: str | None,
    optimizer: str,
    rows_by: Sequence[str],
    metrics: Sequence[str],
    require_valid: bool,
) -> Figure:
    """A panel a metric, a row a setting: a ring for the shortest run, a disk for the longest.

    `rows_by` names the columns of runs that make a setting, in the order in which rows are sorted.
    Where a length is missing or broke off, the other stands alone; that, and what is undertrained
    (shown without `require_valid`), is named below the panels.
    """
    chosen = {"experiment": experiment, "architecture": architecture, "dataset": dataset}
    every = select(runs, **chosen, optimizers=[optimizer], valid=False)
    lengths = [every["epochs"].min(), every["epochs"].max()] if len(every) else []
    every = every[every["epochs"].isin(lengths)]
    shown = drawable(every, require_valid=require_valid)
    order = every[list(rows_by)].drop_duplicates().sort_values(list(rows_by))
    height = 0.5 + ROW_HEIGHT * max(len(order), 3)
    figure, axes = new_figure(rows=1, columns=len(metrics), panel_height=height)
    marks = length_marks(lengths, optimizer=optimizer)
    for axis, metric in zip(axes.flat, metrics, strict=True):
        draw_panel(axis, shown, order, metric=metric, marks=marks)
        if not axis.lines:
            words_in_panel(axis, why_no_valid(every) or f"no {metric} was measured")
        log_ticks(axis)
    label_rows(axes[0], order)
    blank = {"linestyle": "none"}
    legend_above(
        figure,
        [
            Line2D([], [], label=setting_words("epochs", length), **blank, **mark)
            for length, mark in marks.items()
        ],
    )
    words = remarks(every, shown=shown, optimizers=[optimizer], by=[*rows_by, "epochs"])
    remark(figure, words + ["all runs here are of one length"] * (len(marks) == 1))
    return figure


def length_marks(lengths: Sequence[int], *, optimizer: str) -> dict[int, dict]:
    """How the shortest and the longest training are marked: a ring and, smaller, a disk."""
    colour = optimizer_style(optimizer)["color"]
    ring = {"marker": "o", "markersize": 6.5, "markerfacecolor": "none", "markeredgecolor": colour}
    disk = {"marker": "o", "markersize": 3.8, "color": colour, "markeredgewidth": 0}
    return dict(zip(lengths, (ring, disk), strict=False))


def draw_panel(axis: Axes, runs: pd.DataFrame, order: pd.DataFrame, *, metric: str, marks: dict) -> None:
    """One metric: in each row its mean over the runs (seeds) of each length, and a line between."""
    axis.set_xlabel(METRIC_LABELS[metric])
    if metric in LOG_METRICS:
        axis.set_xscale("log")
        runs = runs[runs[metric] > 0]
    for row, setting in enumerate(order.to_dict("records")):
        its = runs[np.logical_and.reduce([runs[name] == value for name, value in setting.items()])]
        values = its.groupby("epochs")[metric].mean().dropna()
        if len(values) > 1:
            axis.plot(values, [row] * len(values), color="#b5b5b5", linewidth=1.0, zorder=1)
        for length, value in values.items():
            axis.plot([value], [row], linestyle="none", **marks[length])
    axis.set_ylim(max(len(order), 1) - 0.5, -0.5)
    axis.set_yticks(range(len(order)), [""] * len(order))
    axis.tick_params(axis="y", length=0)


def label_rows(axes: Sequence[Axes], order: pd.DataFrame) -> None:
    """The settings beside the first panel that has rows."""
    words = [
        ", ".join(f"{SETTING_SYMBOLS[name]} = {number_label(value)}" for name, value in setting.items())
        for setting in order.to_dict("records")
    ]
    for axis in [axis for axis in axes if axis.lines][:1]:
        axis.set_yticks(range(len(order)), words)


if "snakemake" in globals():
    with job(snakemake):
        results = read_results(snakemake.input.runs, snakemake.input.history)
        save_target(snakemake, draw(*results, **snakemake.params.settings))
