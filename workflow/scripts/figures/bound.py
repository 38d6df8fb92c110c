"""NC1 against what balancedness and fit allow it to be (jacot_figure_12)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collapse.measuring.results import read_further, read_runs
from collapse.paper.figures.axes import log_ticks, words_in_panel
from collapse.paper.figures.style import (
    GREY,
    legend_above,
    new_figure,
    optimizer_handles,
    optimizer_style,
    paper_style,
    remark,
    save_target,
)
from collapse.paper.layer_summaries import summaries
from collapse.paper.selection import drawable
from collapse.records.job import job

LABELS = {"bound_NC1": "bound on NC1", "tail_balancedness": "largest balancedness of the tail"}


@paper_style()
def draw(
    runs: pd.DataFrame,
    layers: pd.DataFrame,
    *,
    optimizers: Sequence[str],
    least_decay: float,
    require_valid: bool,
) -> Figure:
    """NC1 of the last features against its bound (left) and against the tail's balancedness (right).

    Every run of the study with one of the optimizers and a weight decay of `least_decay` or more: small
    points on the way, large ones at the end. A point below the diagonal obeys the bound; infinite bounds are
    counted.
    """
    every = runs[runs["optimizer"].isin(optimizers) & (runs["weight_decay"] >= least_decay)]
    shown = drawable(every, require_valid=require_valid).drop_duplicates("key")
    measured = summaries(layers).merge(shown[["key", "optimizer"]], on="key")
    last = measured["epoch"] == measured.groupby("key")["epoch"].transform("max")
    figure, axes = new_figure(rows=1, columns=2, panel_height=2.6)
    for axis, place in zip(axes.flat, LABELS, strict=True):
        for name in optimizers:
            its = measured["optimizer"] == name
            draw_points(axis, measured[its & ~last], place=place, name=name, size=1.2)
            draw_points(axis, measured[its & last], place=place, name=name, size=4.5)
        if not axis.lines:
            words_in_panel(axis, "no run has a tail of two linear layers or more")
            continue
        axis.set(xscale="log", yscale="log", xlabel=LABELS[place], ylabel="NC1 of the last features")
        if place == "bound_NC1":
            draw_diagonal(axis)
        log_ticks(axis)
    present = [name for name in optimizers if name in set(measured["optimizer"])]
    legend_above(figure, optimizer_handles(present, line=False, marker=True))
    finite = np.isfinite(measured["bound_NC1"].astype(float))
    poor = (~finite & measured["bound_NC1"].notna()).sum()
    bounded = measured.loc[finite, "key"].nunique()
    words = [f"{finite.sum()} points of {bounded} runs; large: at the end of training"]
    remark(figure, [*words, f"{poor} more, early ones, have no finite bound" if poor else ""])
    return figure


def draw_points(axis: Axes, measured: pd.DataFrame, *, place: str, name: str, size: float) -> None:
    """Those that logarithmic axes can show."""
    x, y = measured[place].astype(float), measured["layer_NC1"].astype(float)
    known = np.isfinite(x) & np.isfinite(y) & (x > 0) & (y > 0)
    if known.any():
        edge = {"markeredgecolor": "black", "markeredgewidth": 0.4} if size > 2 else {"markeredgewidth": 0}
        look = optimizer_style(name) | {"linestyle": "none", "markersize": size} | edge
        axis.plot(x[known], y[known], **look)


def draw_diagonal(axis: Axes) -> None:
    """Where NC1 is its bound."""
    low = max(min(axis.get_xlim()[0], axis.get_ylim()[0]), 1e-12)
    ends = [low, max(axis.get_xlim()[1], axis.get_ylim()[1])]
    limits = axis.get_xlim(), axis.get_ylim()
    axis.plot(ends, ends, color=GREY, linestyle=":", linewidth=0.9)
    axis.set(xlim=limits[0], ylim=limits[1])


if "snakemake" in globals():
    with job(snakemake):
        tables = read_runs(snakemake.input.runs), read_further("layers", snakemake.input.layers)
        save_target(snakemake, draw(*tables, **snakemake.params.settings))
