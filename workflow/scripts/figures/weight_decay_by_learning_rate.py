"""Metrics against weight decay: a column a learning rate, a line a momentum (figures 26-28)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.measuring.results import read_results
from collapse.paper.figures.axes import decay_axis, metric_axis, share_y, words_in_panel
from collapse.paper.figures.style import (
    GREY,
    LOG_METRICS,
    band,
    legend_above,
    new_figure,
    number_label,
    optimizer_handles,
    optimizer_style,
    paper_style,
    remark,
    save_target,
)
from collapse.paper.selection import left_out, select, why_no_valid
from collapse.records.job import job

SHAPES = ("o", "s", "^", "D", "v", "P", "X")


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
) -> Figure:
    """A row a metric, a column a learning rate; colour and dashes the optimizer, marker momentum.

    Runs that differ in nothing but the seed are averaged. Learning rates and momenta are those
    that the study planned for `optimizers`; a panel without a valid run says why.
    """
    chosen = {"experiment": experiment, "architecture": architecture, "dataset": dataset}
    every = select(runs, **chosen, optimizers=optimizers, valid=False)
    rates = sorted(every["learning_rate"].unique()) or [None]
    momenta = sorted(every["momentum"].unique())
    shapes = {momentum: SHAPES[i % len(SHAPES)] for i, momentum in enumerate(momenta)}
    figure, axes = new_figure(rows=len(metrics), columns=len(rates), panel_height=1.75)
    for row, metric in zip(axes, metrics, strict=True):
        for axis, rate in zip(row, rates, strict=True):
            here = every[every["learning_rate"] == rate]
            draw_panel(axis, here, optimizers=optimizers, metric=metric, shapes=shapes)
            if axis in axes[0] and rate is not None:
                axis.set_title(rf"$\eta$ = {number_label(rate)}")
            if axis not in axes[-1]:
                axis.set_xlabel("")
        share_y(row)
    blank = {"color": GREY, "linestyle": "none"}
    by_shape = [
        Line2D([], [], marker=shape, label=rf"$\beta$ = {momentum:g}", **blank)
        for momentum, shape in shapes.items()
    ]
    shown = [name for name in optimizers if not why_no_valid(every, optimizer=name)]
    legend_above(figure, optimizer_handles(shown, line=True, marker=False) + (by_shape if shown else []))
    settings = ["learning_rate", "momentum", "weight_decay"]
    remark(figure, left_out(every, optimizers=optimizers, by=settings))
    return figure


def draw_panel(
    axis: Axes, runs: pd.DataFrame, *, optimizers: Sequence[str], metric: str, shapes: dict
) -> None:
    """The valid runs of one learning rate, or words when there is none."""
    metric_axis(axis, metric)
    valid = runs[runs["valid"].astype(bool) & np.isfinite(runs[metric])]
    if metric in LOG_METRICS:
        valid = valid[valid[metric] > 0]
    if valid.empty:
        words_in_panel(axis, why_no_valid(runs) or f"no {metric} was measured")
        return
    for (name, momentum), line in valid.groupby(["optimizer", "momentum"]):
        means = line.groupby("weight_decay")[metric].agg(lambda its: band(its, log=metric in LOG_METRICS)[0])
        look = optimizer_style(name) | {"marker": shapes[momentum], "linewidth": 0.9}
        axis.plot(means.index, means, alpha=0.85, **look)
    decay_axis(axis, runs["weight_decay"])


if "snakemake" in globals():
    with job(snakemake):
        results = read_results(snakemake.input.runs, snakemake.input.history)
        save_target(snakemake, draw(*results, **snakemake.params.settings))
