"""A metric against another, a point a run, with a fit (figures 2 = 10, 11-13, 34-36 ..., 57, 103)."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.measuring.results import read_results
from collapse.paper.figures.axes import log_ticks, one_y_range, share_y, words_in_panel
from collapse.paper.figures.style import (
    LOG_METRICS,
    METRIC_LABELS,
    legend_above,
    new_figure,
    number_label,
    optimizer_handles,
    optimizer_style,
    paper_style,
    remark,
    save_target,
)
from collapse.paper.regression import LEAST_DISTINCT, fit_on_log10
from collapse.paper.selection import left_out, select, why_no_valid
from collapse.records.job import job
from collapse.theory.keepers import nc3_floor

FEW = {"s": 13, "edgecolors": "white", "linewidths": 0.25, "alpha": 0.9}
FLOORS: dict[tuple[str, str], Callable] = {("gauge_share", "NC3"): nc3_floor}
FLOOR = {"color": "black", "linestyle": ":", "linewidth": 0.9}
MANY = {"s": 5, "linewidths": 0, "alpha": 0.5}


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
    floor: bool,
) -> Figure:
    """A panel a pair [x, y] of metrics and, if asked for, a learning rate.

    Axes of metrics that span orders of magnitude are logarithmic. Colour is the optimizer, the
    marker where its weight decay acts. `fit` adds the least-squares line of y on log10 x with its
    R2 (collapse.paper.regression). `floor` draws below which no y can be at an x, where theory says so
    (`FLOORS`), and gives all panels one y range. Runs with no place on the axes are counted in the panel.
    """
    chosen = {"experiment": experiment, "architecture": architecture, "dataset": dataset}
    every = select(runs, **chosen, optimizers=optimizers, valid=False)
    rates = sorted(every["learning_rate"].unique()) if by_learning_rate else []
    panels = [(x, y, rate) for x, y in pairs for rate in (rates or [None])]
    columns = min(len(panels), 4)
    rows = -(-len(panels) // columns)
    figure, axes = new_figure(rows=rows, columns=columns, panel_height=2.7 if columns == 1 else 1.8)
    handles = []
    for axis, (x, y, rate) in zip(axes.flat, panels, strict=False):
        here = every if rate is None else every[every["learning_rate"] == rate]
        heading = "" if rate is None else rf"$\eta$ = {number_label(rate)}"
        draw_panel(axis, here, x=x, y=y, fit=fit, heading=heading)
        if floor and (x, y) in FLOORS and len(axis.collections):
            handles += draw_floor(axis, FLOORS[x, y])
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    if len({y for _, y in pairs}) == 1:
        share_y(axes.flat[: len(panels)])
    elif floor:
        one_y_range(axes.flat[: len(panels)])
    shown = [name for name in optimizers if not why_no_valid(every, optimizer=name)]
    legend_above(figure, optimizer_handles(shown, line=False, marker=True) + handles)
    remark(figure, left_out(every, optimizers=optimizers))
    return figure


def draw_panel(axis: Axes, runs: pd.DataFrame, *, x: str, y: str, fit: bool, heading: str) -> None:
    """The valid runs as points, and the fit; words when there is no valid run."""
    axis.set(xlabel=METRIC_LABELS[x], ylabel=METRIC_LABELS[y], title=heading)
    valid = runs[runs["valid"].astype(bool)]
    shown = valid[has_place(valid[x], x) & has_place(valid[y], y)]
    if shown.empty:
        words_in_panel(axis, why_no_valid(runs) or f"no run with finite {x} and {y}")
        return
    axis.set(xscale=scale_of(x), yscale=scale_of(y))
    dots = MANY if len(shown) > 1000 else FEW
    for name, points in shown.groupby("optimizer", sort=False):
        look = optimizer_style(name)
        axis.scatter(points[x], points[y], color=look["color"], marker=look["marker"], **dots)
    words = [heading, draw_fit(axis, shown, x=x, y=y) if fit else ""]
    if len(shown) < len(valid):
        words.append(f"{len(valid) - len(shown)} of {len(valid)} not shown")
    axis.set_title("\n".join(filter(None, words)))
    log_ticks(axis)


def draw_floor(axis: Axes, floor: Callable) -> list[Line2D]:
    """The floor over the panel's x, and its legend entry."""
    across = np.linspace(0, min(axis.get_xlim()[1], 1), 500)
    axis.plot(across, floor(across), **FLOOR)
    return [Line2D([], [], label="floor", **FLOOR)]


def scale_of(metric: str) -> str:
    """The scale of a metric's axis."""
    return "log" if metric in LOG_METRICS else "linear"


def has_place(values: pd.Series, metric: str) -> pd.Series:
    """Which values can stand on the axis of their metric."""
    numbers = values.astype(float)
    return np.isfinite(numbers) & ((numbers > 0) | (metric not in LOG_METRICS))


def draw_fit(axis: Axes, runs: pd.DataFrame, *, x: str, y: str) -> str:
    """The fitted line where it is above 0, as y is, and its R2 in words; no line through few points.

    Runs without decay are the same under a coupled and a decoupled decay: points that coincide count once.
    """
    numbers = fit_on_log10(runs, x=x, y=y)
    n, distinct = numbers["n"], numbers["distinct"]
    counted = f"n = {n}" + (f", {distinct} distinct" if distinct < n else "")
    if numbers["note"] or distinct < LEAST_DISTINCT:
        return f"no fit: {counted}"
    across = np.geomspace(runs[x].min(), runs[x].max(), 500)
    fitted = numbers["intercept"] + numbers["beta"] * np.log10(across)
    axis.plot(across[fitted >= 0], fitted[fitted >= 0], color="black", lw=1)
    return f"$R^2$ = {numbers['r2']:.2f}" + ("\n" if distinct < n else ", ") + counted


if "snakemake" in globals():
    with job(snakemake):
        results = read_results(snakemake.input.runs, snakemake.input.history)
        save_target(snakemake, draw(*results, **snakemake.params.settings))
