"""A metric at the end of training against weight decay, a line an optimizer (figures 1, 3, ..., 102)."""

from collections.abc import Mapping, Sequence
from string import Formatter
from typing import NotRequired, TypedDict

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collapse.measuring.results import read_results
from collapse.paper.figures.axes import (
    decay_axis,
    log_ticks,
    metric_axis,
    one_y_range,
    steady_range,
    words_in_panel,
    words_on_coinciding,
)
from collapse.paper.figures.style import (
    LOG_METRICS,
    METRIC_LABELS,
    SETTING_LABELS,
    band,
    legend_above,
    new_figure,
    optimizer_handles,
    optimizer_style,
    paper_style,
    remark,
    save_target,
)
from collapse.paper.seeds import words_on_seeds
from collapse.paper.selection import left_out, select, why_no_valid
from collapse.records.job import job


class Panel(TypedDict):
    """What one panel shows; `where` as collapse.paper.selection `select` has it.

    In `title`, "{epochs}" stands for the value that the panel's runs have of that column. `against` is
    "step_decay" where the axis is learning rate * weight decay, of which decoupled decay takes that share in
    a step: optimizers of other learning rates are compared at equal ones.
    """

    optimizers: Sequence[str]
    metric: str
    where: NotRequired[Mapping[str, object]]
    title: NotRequired[str]
    against: NotRequired[str]


@paper_style()
def draw(
    runs: pd.DataFrame,
    history: pd.DataFrame,
    *,
    experiment: str,
    architecture: str | None,
    dataset: str | None,
    panels: Sequence[Panel],
    columns: int,
) -> Figure:
    """Mean over the valid runs of a weight decay (learning rates, momenta, seeds), +- 1 deviation; on
    logarithmic axes of the logarithms (collapse.paper.figures.style `band`). One run has no band.

    Panels that differ in `where` alone have one y range. `columns` panels stand in a row.
    Which runs are left out, and which points are missing for that, is named below.
    """
    rows = -(-len(panels) // columns)
    figure, axes = new_figure(rows=rows, columns=columns, panel_height=1.75)
    chosen = {"experiment": experiment, "architecture": architecture, "dataset": dataset}
    remarks, shown, alike, alone, named = [], {}, {}, [], []
    for axis, panel in zip(axes.flat, panels, strict=False):
        every = select(
            runs,
            **chosen,
            optimizers=panel["optimizers"],
            where=panel.get("where"),
            valid=False,
        )
        every = every.assign(step_decay=every["learning_rate"] * every["weight_decay"])
        against = panel.get("against", "weight_decay")
        sizes = draw_panel(
            axis, every, optimizers=panel["optimizers"], metric=panel["metric"], against=against
        )
        title = filled_title(panel.get("title", ""), every)
        axis.set_title(title)
        label = METRIC_LABELS[panel["metric"]]
        named.append((f"{label} ({title})" if title else label, axis))
        alike.setdefault((panel["metric"], *panel["optimizers"]), []).append(axis)
        reasons = left_out(every, optimizers=panel["optimizers"], by=[against])
        reasons += words_on_seeds(every, shown=every[every["valid"].astype(bool)], what="point")
        remarks += [f"{title}: {reason}" if title else reason for reason in reasons]
        shown |= sizes
        alone += [size == 1 for its in sizes.values() for size in its]
    for group in alike.values():
        one_y_range(group)
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    legend_above(figure, optimizer_handles(shown, line=True, marker=True))
    if any(alone):
        remarks.append("each point is one run" if all(alone) else "a point without a band is one run")
    remark(figure, [*remarks, *words_on_coinciding(named)])
    return figure


def filled_title(title: str, runs: pd.DataFrame) -> str:
    """`title` with, in the place of "{column}", the values that `runs` have there."""
    names = [name for _, name, _, _ in Formatter().parse(title) if name]
    values = {name: ", ".join(f"{value:g}" for value in sorted(runs[name].unique())) for name in names}
    return title.format(**{name: text or "no" for name, text in values.items()})


def draw_panel(
    axis: Axes, runs: pd.DataFrame, *, optimizers: Sequence[str], metric: str, against: str
) -> dict:
    """One metric of the valid runs of some optimizers, or words when there is none.

    Gives back by optimizer of how many runs each point is.
    """
    metric_axis(axis, metric)
    valid = runs[runs["valid"].astype(bool) & np.isfinite(runs[metric])]
    if metric in LOG_METRICS:
        valid = valid[valid[metric] > 0]
    if valid.empty:
        words_in_panel(axis, why_no_valid(runs) or f"no {METRIC_LABELS[metric]} was measured")
        return {}
    sizes = {}
    for name in optimizers:
        groups = valid[valid["optimizer"] == name].groupby(against)[metric]
        if not len(groups):
            continue
        decays = sorted(groups.groups)
        bands = [band(groups.get_group(decay), log=metric in LOG_METRICS) for decay in decays]
        mean, low, high = zip(*bands, strict=True)
        look = optimizer_style(name)
        axis.plot(decays, mean, **look, label=name)
        sizes[name] = [len(groups.get_group(decay)) for decay in decays]
        draw_band(axis, decays, low, high, several=np.array(sizes[name]) > 1, colour=look["color"])
    decay_axis(axis, valid[against])
    axis.set_xlabel(SETTING_LABELS[against])
    steady_range(axis, metric=metric)
    log_ticks(axis)
    return sizes


def draw_band(
    axis: Axes,
    decays: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    *,
    several: np.ndarray,
    colour: str,
) -> None:
    """Shade between neighbours that have `several` runs; a bar at one whose neighbours have one run."""
    axis.fill_between(decays, low, high, where=several, color=colour, alpha=0.18, linewidth=0)
    beside = np.pad(several, 1)
    for place in np.flatnonzero(several & ~beside[:-2] & ~beside[2:]):
        ends = {"ymin": low[place], "ymax": high[place]}
        axis.vlines(decays[place], **ends, color=colour, alpha=0.35, linewidth=2.5)


if "snakemake" in globals():
    with job(snakemake):
        results = read_results(snakemake.input.runs, snakemake.input.history)
        save_target(snakemake, draw(*results, **snakemake.params.settings))
