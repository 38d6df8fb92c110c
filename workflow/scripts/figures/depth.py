"""Which layers collapse: metrics at the points of the trunk, a line an optimizer (figure 105)."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.datasets.registry import DATASETS
from collapse.measuring.results import read_depth, read_runs
from collapse.optimizers import OPTIMIZERS
from collapse.paper.figures.axes import (
    log_ticks,
    metric_axis,
    steady_range,
    words_in_panel,
    words_on_coinciding,
)
from collapse.paper.figures.style import (
    GREY,
    LOG_METRICS,
    METRIC_LABELS,
    above,
    band,
    legend_above,
    new_figure,
    optimizer_handles,
    optimizer_style,
    paper_style,
    remark,
    save_target,
)
from collapse.paper.selection import (
    at_step_decay,
    drawable,
    remarks,
    select,
    why_no_valid,
    words_on_step_decay,
)
from collapse.records.job import job

INITIAL = {"color": GREY, "linestyle": (0, (3, 1.5)), "linewidth": 1.1, "zorder": 1.9}
AT_COLLAPSE = {"color": "black", "linestyle": ":", "linewidth": 0.9}
RANKS = ("numerical_rank", "stable_rank")  # K - 1 at collapse


@paper_style()
def draw(
    runs: pd.DataFrame,
    depth: pd.DataFrame,
    *,
    experiment: str,
    architecture: str | None,
    dataset: str | None,
    optimizers: Sequence[str],
    where: Mapping[str, object] | None,
    step_decay_of: str | None,
    views: Sequence[str],
    point_metrics: Sequence[str],
    require_valid: bool,
) -> Figure:
    """A row of panels a view of the features, a panel a metric, against the points from image to head.

    A line is the mean over an optimizer's runs (seeds), with a band of +- 1 deviation where there are
    several; on logarithmic axes of the logarithms. `step_decay_of` names an optimizer: of each the setting
    nearest to its learning rate * weight decay is drawn. Dashed grey: the networks before training. A point
    without a number, as one whose features are all zero, breaks its line and is named below.
    """
    chosen = {"experiment": experiment, "architecture": architecture, "dataset": dataset}
    every = select(runs, **chosen, optimizers=optimizers, where=where, valid=False)
    if step_decay_of:
        every = at_step_decay(every, of=step_decay_of)
    shown = drawable(every, require_valid=require_valid)
    measured = depth.merge(shown[["key", "optimizer"]].drop_duplicates("key"), on="key")
    figure, axes = new_figure(rows=len(views), columns=len(point_metrics), panel_height=2.0)
    decays = [words_on_step_decay(every)] if step_decay_of and len(shown) else []
    words, panels = remarks(every, shown=shown, optimizers=optimizers, where=where), {}
    for view, row in zip(views, axes, strict=True):
        for metric, axis in zip(point_metrics, row, strict=True):
            its = measured[measured["view"] == view]
            name = METRIC_LABELS[metric] + (f" ({view})" if len(views) > 1 else "")
            words += draw_panel(axis, its, metric=metric, optimizers=optimizers, name=name)
            if not axis.lines:
                words_in_panel(axis, why_no_valid(every) or "no point of a trunk was measured")
                continue
            if dataset and metric in RANKS:
                axis.axhline(DATASETS[dataset].num_classes - 1, **AT_COLLAPSE)
            axis.set_title(f"{view} features" if len(views) > 1 else "")
            panels[name] = axis
    present = [name for name in optimizers if name in set(measured["optimizer"])]
    legend_above(figure, handles_of(present, ranks=bool(dataset and set(RANKS) & set(point_metrics))))
    remark(figure, [*words, *words_on_coinciding(panels.items()), *words_on_runs(shown), *decays])
    return figure


def draw_panel(
    axis: Axes, measured: pd.DataFrame, *, metric: str, optimizers: Sequence[str], name: str
) -> list[str]:
    """One metric in one view; in words, what has no place on the axis."""
    metric_axis(axis, metric)
    if measured.empty:
        return []
    points = measured.drop_duplicates("depth").sort_values("depth")
    initial, trained = measured[measured["epoch"] == 0], measured[measured["epoch"] > 0]
    draw_line(axis, initial, metric=metric, look=INITIAL)
    words = []
    for optimizer in optimizers:
        its = trained[trained["optimizer"] == optimizer]
        look = optimizer_style(optimizer) | above(optimizer) | {"label": OPTIMIZERS[optimizer].label}
        lost = draw_line(axis, its, metric=metric, look=look)
        words += [f"no {name} of {optimizer} at {', '.join(lost)}"] if lost else []
    axis.set_xticks(points["depth"], points["point"], rotation=45, ha="right", rotation_mode="anchor")
    steady_range(axis, metric=metric)
    log_ticks(axis)
    return words


def draw_line(axis: Axes, measured: pd.DataFrame, *, metric: str, look: Mapping[str, object]) -> list[str]:
    """The mean over runs at every point, with its band; the points of which some run has no number."""
    log = metric in LOG_METRICS
    values = measured[metric].astype(float)
    known = measured[np.isfinite(values) & ((values > 0) | (not log))]
    lost = measured[~measured.index.isin(known.index)]
    if known.empty:
        return list(dict.fromkeys(lost["point"]))
    bands = {place: band(its, log=log) for place, its in known.groupby("depth")[metric]}
    places = sorted(set(measured["depth"]))
    mean, low, high = np.array([bands.get(place, (np.nan,) * 3) for place in places]).T
    axis.plot(places, mean, **look)
    if (high > low).any():
        axis.fill_between(places, low, high, color=look["color"], alpha=0.18, linewidth=0)
    return list(dict.fromkeys(lost["point"]))


def handles_of(optimizers: Sequence[str], *, ranks: bool) -> list[Line2D]:
    """The legend of the lines; of nothing where there is none."""
    if not optimizers:
        return []
    dotted = [Line2D([], [], label="$K - 1$", **AT_COLLAPSE)] if ranks else []
    initial = Line2D([], [], label="initialisation", **INITIAL)
    return [*optimizer_handles(optimizers, line=True, marker=True), initial, *dotted]


def words_on_runs(runs: pd.DataFrame) -> list[str]:
    """How many runs a line is of, where some are of several."""
    sizes = runs.drop_duplicates("key").groupby("optimizer").size()
    if sizes.empty or sizes.max() == 1:
        return []
    range_of = f"{sizes.min()}" if sizes.min() == sizes.max() else f"{sizes.min()} to {sizes.max()}"
    return [f"a line is the mean of {range_of} runs"]


if "snakemake" in globals():
    with job(snakemake):
        tables = read_runs(snakemake.input.runs), read_depth(snakemake.input.depth)
        save_target(snakemake, draw(*tables, **snakemake.params.settings))
