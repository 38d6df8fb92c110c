"""Metrics through training, a line a run (figure 6 and its like)."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.results import read_results
from collapse.selection import drawable, remarks, select, trajectory, why_no_valid
from collapse.style import (
    LOG_METRICS,
    SETTING_LABELS,
    legend_above,
    log_ticks,
    metric_axis,
    new_figure,
    number_label,
    optimizer_handles,
    optimizer_style,
    paper_style,
    remark,
    save_figure,
    words_in_panel,
)

CLOSED_FORM = {"color": "black", "linestyle": ":", "linewidth": 0.9}


@paper_style()
def draw(
    runs: pd.DataFrame,
    history: pd.DataFrame,
    *,
    experiment: str,
    architecture: str | None,
    dataset: str | None,
    optimizers: Sequence[str],
    metrics: Sequence[str],
    line: str,
    where: Mapping[str, object] | None,
    columns: int,
    closed_form: bool,
    require_valid: bool,
) -> Figure:
    """A panel a metric or other logged quantity against the epoch, epoch 0 the initialisation.

    `line` names the column of runs that tells the lines apart ("optimizer", "momentum", ...);
    `where` narrows the runs down. What is missing, or shown though undertrained (without
    `require_valid`), is named below.
    `closed_form` adds to NC0 what theory says of SGD and SGDW, dotted, down to the measured range.
    """
    chosen = {"experiment": experiment, "architecture": architecture, "dataset": dataset}
    every = select(runs, **chosen, optimizers=optimizers, where=where, valid=False)
    shown = drawable(every, require_valid=require_valid)
    looks = line_looks(every, optimizers=optimizers, line=line)
    rows = -(-len(metrics) // columns)
    figure, axes = new_figure(rows=rows, columns=columns, panel_height=1.75)
    handles = line_handles(looks, line=line)
    for axis, metric in zip(axes.flat, metrics, strict=False):
        draw_panel(axis, shown, history, metric=metric, line=line, looks=looks)
        if not axis.lines:
            words_in_panel(axis, why_no_valid(every) or "nothing was logged")
        elif closed_form and metric == "NC0":
            handles += draw_closed_form(axis, shown, history)
        log_ticks(axis)
    for axis in axes.flat[len(metrics) :]:
        axis.remove()
    legend_above(figure, handles)
    remark(figure, remarks(every, shown=shown, optimizers=optimizers))
    return figure


def line_looks(runs: pd.DataFrame, *, optimizers: Sequence[str], line: str) -> dict:
    """How each value of the column `line` is drawn: optimizers as everywhere, others in order."""
    if line == "optimizer":
        return {name: optimizer_style(name) | {"marker": "none"} for name in optimizers}
    values = sorted(runs[line].dropna().unique())
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, max(len(values), 1)))
    return {value: {"color": colour} for value, colour in zip(values, colours, strict=False)}


def line_handles(looks: dict, *, line: str) -> list[Line2D]:
    """The legend of the lines."""
    if line == "optimizer":
        return optimizer_handles(looks, line=True, marker=False)
    name = SETTING_LABELS.get(line, line)
    text = {v: number_label(v) if isinstance(v, (int, float)) else str(v) for v in looks}
    return [Line2D([], [], label=f"{name} = {text[v]}", **look) for v, look in looks.items()]


def draw_panel(
    axis: Axes, runs: pd.DataFrame, history: pd.DataFrame, *, metric: str, line: str, looks: dict
) -> None:
    """One logged quantity of every run; epochs at which it was not measured are passed over."""
    metric_axis(axis, metric)
    axis.set_xlabel("epoch")
    for run in runs.itertuples():
        logged = trajectory(history, key=run.key)
        logged = logged[np.isfinite(logged[metric].astype(float))]
        if metric in LOG_METRICS:
            logged = logged[logged[metric] > 0]
        if len(logged):
            axis.plot(logged["epoch"], logged[metric], **looks[getattr(run, line)])


def draw_closed_form(axis: Axes, runs: pd.DataFrame, history: pd.DataFrame) -> list[Line2D]:
    """NC0 as the recursion gives it, where it is defined; its legend entry, if any was drawn."""
    limits, count = axis.get_ylim(), len(axis.lines)
    for key in runs["key"]:
        logged = trajectory(history, key=key).dropna(subset=["NC0_closed_form"])
        if len(logged):
            axis.plot(logged["epoch"], logged["NC0_closed_form"], **CLOSED_FORM)
    axis.set_ylim(limits)
    return [Line2D([], [], label="closed form", **CLOSED_FORM)] if len(axis.lines) > count else []


if "snakemake" in globals():
    results = read_results(snakemake.input.runs, snakemake.input.history)
    save_figure(
        draw(*results, **snakemake.params.settings),
        pdf=snakemake.output.pdf,
        png=snakemake.output.png,
        title=snakemake.params.caption,
        study=snakemake.config["study"],
        note=snakemake.params.note,
    )
