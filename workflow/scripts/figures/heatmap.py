"""Metrics over momentum and weight decay as annotated heatmaps (figure 5)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Polygon, Rectangle

from collapse.measuring.results import read_results
from collapse.paper.figures.axes import words_in_panel
from collapse.paper.figures.style import (
    GREY,
    METRIC_LABELS,
    SETTING_LABELS,
    SMALL,
    new_figure,
    number_label,
    paper_style,
    remark,
    save_target,
)
from collapse.paper.selection import NOT_RUN, TO_ZERO, absences, outcome, select
from collapse.records.job import job

SHORT = {
    "diverged": "div.", "undertrained": "und.", TO_ZERO: "zero", "failed": "fail", "missing": "miss",
    "valid": "n/a",
}  # fmt: skip
LONG = {
    "div.": "diverged",
    "und.": "undertrained: too low a training accuracy",
    "fail": "failed",
    "miss": NOT_RUN,
    "n/a": "not measurable",
    "–": "not in this study",
}
CORNER = "cut corner: undertrained"
CORNER_MARKER = [(-1, 1), (1, 1), (1, -1), (-1, 1)]
HATCHED = {"facecolor": "#e8e8e8", "edgecolor": "#b5b5b5", "hatch": "////"}
CUT = {"facecolor": "white", "edgecolor": GREY, "linewidth": 0.4}
CUT_MARKER = {"markerfacecolor": "white", "markeredgecolor": GREY, "markeredgewidth": 0.5, "markersize": 5}


@paper_style()
def draw(
    runs: pd.DataFrame,
    history: pd.DataFrame,
    *,
    experiment: str,
    architecture: str | None,
    dataset: str | None,
    optimizer: str,
    metrics: Sequence[str],
    require_valid: bool,
) -> Figure:
    """A panel a metric; rows momentum, columns weight decay; a cell the mean over its runs.

    A cell without a number is grey and hatched and says why. Without `require_valid` the numbers
    of undertrained runs are shown too, a corner cut off; diverged and failed runs never are.
    """
    chosen = {"experiment": experiment, "architecture": architecture, "dataset": dataset}
    here = select(runs, **chosen, optimizers=[optimizer], valid=False)
    columns = min(len(metrics), 3)
    rows = -(-len(metrics) // columns)
    height = 0.9 + 0.2 * max(here["momentum"].nunique(), 3)
    figure, axes = new_figure(rows=rows, columns=columns, panel_height=height)
    reasons: set[str] = set()
    for position, (axis, metric) in enumerate(zip(axes.flat, metrics, strict=False)):
        axis.set_title(METRIC_LABELS[metric])
        if here.empty:
            words_in_panel(axis, f"no run of {optimizer} in this study")
            continue
        reasons |= draw_panel(axis, here, metric=metric, require_valid=require_valid)
        axis.set_xlabel(SETTING_LABELS["weight_decay"])
        axis.set_ylabel(SETTING_LABELS["momentum"] if position % columns == 0 else "")
        if position % columns:
            axis.set_yticklabels([])
    for axis in axes.flat[len(metrics) :]:
        axis.remove()
    add_legend(figure, reasons)
    remark(figure, absences(here, optimizers=[]))
    return figure


def draw_panel(axis: Axes, runs: pd.DataFrame, *, metric: str, require_valid: bool) -> set[str]:
    """The heatmap of one metric; gives back the reasons that its hatched cells show."""
    became = outcome(runs)
    usable = became.isin(["valid"] if require_valid else ["valid", "undertrained"])
    shape = {"index": "momentum", "columns": "weight_decay"}
    grid = pd.DataFrame(
        index=sorted(runs["momentum"].unique()), columns=sorted(runs["weight_decay"].unique())
    )
    values = runs[usable].pivot_table(values=metric, aggfunc="mean", **shape)
    values = values.reindex_like(grid).astype(float)
    measured = values.stack()
    sns.heatmap(
        values,
        ax=axis,
        vmin=measured.min() if len(measured) else 0,
        vmax=measured.max() if len(measured) else 1,
        cmap="cividis",
        annot=values.map(lambda v: f"{v:.2f}" if abs(v) < 99.995 else f"{v:.0f}"),
        fmt="",
        annot_kws={"size": SMALL},
        linewidths=0.5,
        cbar=False,
        xticklabels=[number_label(v) for v in grid.columns],
        yticklabels=[number_label(v) for v in grid.index],
    )
    axis.grid(False)
    axis.tick_params(length=0)
    axis.tick_params(axis="x", labelrotation=60)
    axis.tick_params(axis="y", labelrotation=0)
    reasons = set()
    for row, momentum in enumerate(grid.index):
        for column, decay in enumerate(grid.columns):
            here = (runs["momentum"] == momentum) & (runs["weight_decay"] == decay)
            if np.isnan(values.iloc[row, column]):
                reasons.add(mark_missing(axis, row, column, set(became[here])))
            elif (became[here] == "undertrained").any():
                mark_undertrained(axis, row, column)
                reasons.add(CORNER)
    return reasons


def mark_missing(axis: Axes, row: int, column: int, became: set[str]) -> str:
    """Grey and hatch a cell that has no number, and write the reason; gives the reason back."""
    reason = next((SHORT[name] for name in SHORT if name in became), "–")
    axis.add_patch(Rectangle((column, row), 1, 1, linewidth=0, **HATCHED))
    box = {"facecolor": HATCHED["facecolor"], "edgecolor": "none", "pad": 0.6}
    place = {"ha": "center", "va": "center", "size": SMALL, "color": GREY, "bbox": box}
    axis.text(column + 0.5, row + 0.5, reason, **place)
    return reason


def mark_undertrained(axis: Axes, row: int, column: int) -> None:
    """Cut the upper right corner off a cell whose number is of an undertrained run."""
    corner = [(column + 0.78, row), (column + 1, row), (column + 1, row + 0.28)]
    axis.add_patch(Polygon(corner, **CUT))


def add_legend(figure: Figure, reasons: set[str]) -> None:
    """What the marks of cells mean, above the panels."""
    words = ", ".join(f"{short}: {LONG[short]}" for short in LONG if short in reasons)
    handles = [Patch(label=words, linewidth=0.4, **HATCHED)] if words else []
    if CORNER in reasons:
        look = {"linestyle": "none", "marker": CORNER_MARKER, "label": CORNER}
        handles.append(Line2D([], [], **look, **CUT_MARKER))
    if handles:
        figure.legend(handles=handles, loc="outside upper center", ncols=2)


if "snakemake" in globals():
    with job(snakemake):
        results = read_results(snakemake.input.runs, snakemake.input.history)
        save_target(snakemake, draw(*results, **snakemake.params.settings))
