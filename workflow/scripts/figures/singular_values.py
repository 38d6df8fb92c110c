"""Singular values of the last layer's weights and of the class means (figures 7, 19 and 29)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.measuring.results import read_results
from collapse.optimizers import OPTIMIZERS
from collapse.paper.figures.axes import log_ticks, words_in_panel, words_on_coinciding
from collapse.paper.figures.style import (
    GREY,
    above,
    legend_above,
    new_figure,
    optimizer_handles,
    optimizer_style,
    paper_style,
    remark,
    save_target,
)
from collapse.paper.selection import drawable, remarks, select, trajectory, why_no_valid
from collapse.records.job import job

TITLES = {
    "singular_values_W": r"last-layer weights $W$",
    "singular_values_M": r"centred class means $M$",
}
NO_PLACE = "the smallest singular value of M is 0, which a logarithmic axis cannot show"


@paper_style()
def draw(
    runs: pd.DataFrame,
    history: pd.DataFrame,
    *,
    experiment: str,
    architecture: str | None,
    dataset: str | None,
    optimizers: Sequence[str],
    run_of_smallest: str | None,
    scale: str,
    require_valid: bool,
) -> Figure:
    """W left, M right, against the epoch: the smallest value dotted, the mean of the others above.

    The K centred class means sum to zero, so M's smallest is zero but for rounding: on the `scale`
    "log" it has no place and is said to be zero. The mean is drawn as the optimizer is everywhere: full
    where its weight decay is coupled, dashed where decoupled. `run_of_smallest` names the metric by which
    one run an optimizer is chosen. Lines that coincide are named below.
    """
    chosen = {"experiment": experiment, "architecture": architecture, "dataset": dataset}
    every = select(runs, **chosen, optimizers=optimizers, valid=False)
    shown = drawable(every, require_valid=require_valid, run_of_smallest=run_of_smallest)
    figure, axes = new_figure(rows=1, columns=2, panel_height=1.9)
    for axis, (column, title) in zip(axes.flat, TITLES.items(), strict=True):
        axis.set_title(title)
        axis.set(xlabel="epoch", ylabel="singular value", yscale=scale)
        has_smallest = not (scale == "log" and column == "singular_values_M")
        draw_panel(axis, shown, history, column=column, with_smallest=has_smallest)
        if not axis.lines:
            words_in_panel(axis, why_no_valid(every) or "nothing was logged")
        log_ticks(axis)
    axes[0, 1].set_ylabel("")
    names = [name for name in optimizers if name in set(shown["optimizer"])]
    handles = optimizer_handles(names, line=True, marker=False)
    if handles:
        handles.append(Line2D([], [], color=GREY, linestyle=":", label="smallest singular value"))
    legend_above(figure, handles, columns=min(len(handles), 4))
    words = remarks(every, shown=shown, optimizers=optimizers)
    words += words_on_coinciding(zip(("$W$", "$M$"), axes.flat, strict=True))
    remark(figure, words + [NO_PLACE] * (scale == "log" and bool(handles)))
    return figure


def draw_panel(
    axis: Axes, runs: pd.DataFrame, history: pd.DataFrame, *, column: str, with_smallest: bool
) -> None:
    """One or two lines a run, over the epochs at which the values were taken."""
    for run in runs.itertuples():
        logged = trajectory(history, key=run.key).dropna(subset=[column])
        if logged.empty:
            continue
        values = np.stack([np.sort(np.asarray(row, dtype=float)) for row in logged[column]])
        look = optimizer_style(run.optimizer) | {"marker": "none"}
        look |= {"label": OPTIMIZERS[run.optimizer].label}
        means = values[:, 1:].mean(axis=1)
        axis.plot(logged["epoch"], means, **look, **above(run.optimizer))
        if with_smallest:
            axis.plot(logged["epoch"], values[:, 0], **look | {"linestyle": ":", "label": None})


if "snakemake" in globals():
    with job(snakemake):
        results = read_results(snakemake.input.runs, snakemake.input.history)
        save_target(snakemake, draw(*results, **snakemake.params.settings))
