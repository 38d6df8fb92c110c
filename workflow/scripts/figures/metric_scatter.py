"""A metric against another, a point a run, with a fit (figures 2 = 10, 11-13, and their like)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collapse.regression import fit_on_log10
from collapse.results import read_results
from collapse.selection import select, why_no_valid
from collapse.style import (
    METRIC_LABELS,
    legend_above,
    log_ticks,
    new_figure,
    number_label,
    optimizer_handles,
    optimizer_style,
    paper_style,
    remark,
    save_figure,
    share_y,
    words_in_panel,
)


@paper_style()
def draw(
    runs: pd.DataFrame,
    history: pd.DataFrame,
    *,
    experiment: str,
    architecture: str | None,
    dataset: str | None,
    optimizers: Sequence[str],
    pairs: Sequence[Sequence[str]],
    by_learning_rate: bool,
    fit: bool,
) -> Figure:
    """A panel a pair [x, y] of metrics and, if asked for, a learning rate; the x axis logarithmic.

    Colour is the optimizer, the marker where its weight decay acts. `fit` adds the least-squares
    line of y on log10 x with its R2 (collapse.regression). Runs with x <= 0 have no place on the
    axis and are counted in the panel.
    """
    chosen = {"experiment": experiment, "architecture": architecture, "dataset": dataset}
    every = select(runs, **chosen, optimizers=optimizers, valid=False)
    rates = sorted(every["learning_rate"].unique()) if by_learning_rate else []
    panels = [(x, y, rate) for x, y in pairs for rate in (rates or [None])]
    columns = min(len(panels), 4)
    rows = -(-len(panels) // columns)
    figure, axes = new_figure(rows=rows, columns=columns, panel_height=2.7 if columns == 1 else 1.8)
    for axis, (x, y, rate) in zip(axes.flat, panels, strict=False):
        here = every if rate is None else every[every["learning_rate"] == rate]
        heading = "" if rate is None else rf"$\eta$ = {number_label(rate)}"
        draw_panel(axis, here, x=x, y=y, fit=fit, heading=heading)
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    if len(pairs) == 1:
        share_y(axes.flat[: len(panels)])
    legend_above(figure, optimizer_handles(optimizers, line=False, marker=True))
    remark(figure, [why_no_valid(every, optimizer=name) for name in optimizers])
    return figure


def draw_panel(axis: Axes, runs: pd.DataFrame, *, x: str, y: str, fit: bool, heading: str) -> None:
    """The valid runs as points, and the fit; words when there is no valid run."""
    axis.set(xlabel=METRIC_LABELS[x], ylabel=METRIC_LABELS[y], title=heading)
    valid = runs[runs["valid"].astype(bool)]
    shown = valid[(valid[x] > 0) & np.isfinite(valid[x]) & np.isfinite(valid[y])]
    if shown.empty:
        words_in_panel(axis, why_no_valid(runs) or f"no run with {x} > 0")
        return
    axis.set_xscale("log")
    for name, points in shown.groupby("optimizer", sort=False):
        look = optimizer_style(name)
        edge = {"edgecolors": "white", "linewidths": 0.25, "alpha": 0.9}
        axis.scatter(points[x], points[y], s=13, color=look["color"], marker=look["marker"], **edge)
    words = [heading, draw_fit(axis, shown, x=x, y=y) if fit else ""]
    if len(shown) < len(valid):
        words.append(f"{len(valid) - len(shown)} of {len(valid)} not shown")
    axis.set_title("\n".join(filter(None, words)))
    log_ticks(axis)


def draw_fit(axis: Axes, runs: pd.DataFrame, *, x: str, y: str) -> str:
    """The fitted line, and its R2 in words."""
    numbers = fit_on_log10(runs, x=x, y=y)
    if numbers["note"]:
        return "no fit"
    ends = np.array([runs[x].min(), runs[x].max()])
    axis.plot(ends, numbers["intercept"] + numbers["beta"] * np.log10(ends), color="black", lw=1)
    return rf"$R^2$ = {numbers['r2']:.2f}, n = {numbers['n']}"


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
