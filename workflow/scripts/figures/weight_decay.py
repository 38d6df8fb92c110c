"""A metric at the end of training against weight decay, a line an optimizer (figures 1, 3, ...)."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from collapse.results import read_results
from collapse.selection import select, why_no_valid
from collapse.style import (
    LOG_METRICS,
    METRIC_LABELS,
    band,
    decay_axis,
    legend_above,
    log_ticks,
    metric_axis,
    new_figure,
    optimizer_handles,
    optimizer_style,
    paper_style,
    remark,
    save_figure,
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
    panels: Sequence[Mapping],
    columns: int,
) -> Figure:
    """Mean over the valid runs of a weight decay (learning rates, momenta, seeds), +- 1 deviation.

    Each of `panels` names its `optimizers` and `metric`, and may have `where` (further columns
    and the value each must have, as {epochs: 200}) and a `title`. `columns` panels stand in a
    row. On logarithmic axes the band's lower edge is never below the smallest run (collapse.style
    `band`). An optimizer without a valid run is named below the panels, with the reason.
    """
    rows = -(-len(panels) // columns)
    figure, axes = new_figure(rows=rows, columns=columns, panel_height=1.75)
    chosen = {"experiment": experiment, "architecture": architecture, "dataset": dataset}
    remarks, shown = [], []
    for axis, panel in zip(axes.flat, panels, strict=False):
        every = select(
            runs,
            **chosen,
            optimizers=panel["optimizers"],
            where=panel.get("where"),
            valid=False,
        )
        draw_panel(axis, every, optimizers=panel["optimizers"], metric=panel["metric"])
        axis.set_title(panel.get("title", ""))
        remarks += [why_no_valid(every, optimizer=name) for name in panel["optimizers"]]
        shown += panel["optimizers"]
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    legend_above(figure, optimizer_handles(dict.fromkeys(shown), line=True, marker=True))
    remark(figure, remarks)
    return figure


def draw_panel(axis: Axes, runs: pd.DataFrame, *, optimizers: Sequence[str], metric: str) -> None:
    """One metric of the valid runs of some optimizers, or words when there is none."""
    metric_axis(axis, metric)
    valid = runs[runs["valid"].astype(bool) & np.isfinite(runs[metric])]
    if metric in LOG_METRICS:
        valid = valid[valid[metric] > 0]
    if valid.empty:
        words_in_panel(axis, why_no_valid(runs) or f"no {METRIC_LABELS[metric]} was measured")
        return
    for name in optimizers:
        groups = valid[valid["optimizer"] == name].groupby("weight_decay")[metric]
        if not len(groups):
            continue
        decays = sorted(groups.groups)
        bands = [band(groups.get_group(decay), log=metric in LOG_METRICS) for decay in decays]
        mean, low, high = zip(*bands, strict=True)
        look = optimizer_style(name)
        axis.plot(decays, mean, **look)
        axis.fill_between(decays, low, high, color=look["color"], alpha=0.18, linewidth=0)
    decay_axis(axis, valid["weight_decay"])
    log_ticks(axis)


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
