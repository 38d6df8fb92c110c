"""Whether decay balances the linear tail, a panel an optimizer (jacot_figure_11)."""

from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from collapse.measuring.results import read_further, read_runs
from collapse.optimizers import OPTIMIZERS
from collapse.paper.figures.axes import log_ticks, one_y_range, words_in_panel
from collapse.paper.figures.style import (
    draw_mean,
    legend_above,
    new_figure,
    optimizer_style,
    paper_style,
    remark,
    save_target,
)
from collapse.paper.layer_summaries import at_the_end, tail_pairs, with_exposure
from collapse.paper.seeds import words_on_seeds
from collapse.paper.selection import drawable, remarks, select, why_no_valid
from collapse.records.job import job

EXPOSURE = r"$\lambda \, \Sigma \eta$"
BY_MOMENTUM = r"$\lambda \, \Sigma \eta \, / \, (1 - \beta)$"
KNOWN = {"color": "black", "linestyle": ":", "linewidth": 0.9}


@paper_style()
def draw(
    runs: pd.DataFrame,
    layers: pd.DataFrame,
    *,
    experiment: str,
    optimizers: Sequence[str],
    between: str,
    columns: int,
    require_valid: bool,
) -> Figure:
    """Balancedness of each pair of linear layers through training, 0 for balanced layers.

    The axis is weight decay times the sum of learning rates, x, of SGD over 1 - momentum; dotted, e^(-2 x),
    what the decay would make of the first pair if it acted as in SGD. In the last panel the largest at the
    end against the coupled share of the decay under the optimizer `between`. Lines are means of the
    logarithms over seeds, in bands of +- 1 deviation.
    """
    every = select(runs, experiment=experiment, optimizers=[*optimizers, between], valid=False)
    shown = drawable(every, require_valid=require_valid)
    pairs = tail_pairs(with_exposure(shown, layers))
    figure, axes = new_figure(rows=-(-(len(optimizers) + 1) // columns), columns=columns, panel_height=1.8)
    numbers = sorted(pairs["pair"].unique())
    colours = dict(
        zip(numbers, matplotlib.colormaps["viridis"](np.linspace(0, 0.8, len(numbers))), strict=True)
    )
    panels = list(axes.flat)
    for place, name in enumerate(optimizers):
        its = pairs[pairs["key"].isin(shown.loc[shown["optimizer"] == name, "key"])]
        why = why_no_valid(every, optimizer=name) or "nothing was measured"
        draw_optimizer(panels[place], its, name=name, colours=colours, why=why)
    one_y_range(panels[: len(optimizers)])
    for axis in panels[: len(optimizers) : columns]:
        axis.set_ylabel("balancedness")
    last = panels[len(optimizers)]
    draw_shares(last, at_the_end(shown[shown["optimizer"] == between], layers), between=between)
    if not last.lines:
        words_in_panel(last, why_no_valid(every, optimizer=between) or "nothing was measured")
    for axis in panels[len(optimizers) + 1 :]:
        axis.set_visible(False)
    names = {1: "first pair of linear layers", 2: "second", 3: "third", 4: "fourth", 5: "fifth"}
    handles = [Line2D([], [], label=names.get(pair, f"{pair}th"), color=colours[pair]) for pair in numbers]
    legend_above(figure, [*handles, Line2D([], [], label=r"$\propto e^{-2 x}$", **KNOWN)] if handles else [])
    words = remarks(every, shown=shown, optimizers=[*optimizers, between], by=["coupled_fraction"])
    remark(figure, [*words, *words_on_seeds(every, shown=shown, what="line")])
    return figure


def draw_optimizer(axis: Axes, pairs: pd.DataFrame, *, name: str, colours: dict, why: str) -> None:
    """A line a pair under one optimizer, mean and band over the runs; dotted, what the decay alone does."""
    axis.set_title(OPTIMIZERS[name].label)
    its = pairs[pairs["balancedness"] > 0]
    if its.empty:
        words_in_panel(axis, why)
        return
    axis.set(yscale="log", xlabel=BY_MOMENTUM if name == "SGD" else EXPOSURE)
    places = its.groupby("epoch")["exposure"].mean()
    for pair, values in its.groupby("pair"):
        at_places = [at for _, at in values.groupby("epoch")["balancedness"]]
        draw_mean(axis, places, at_places, log=True, color=colours[pair])
    limits, across = axis.get_ylim(), np.linspace(0, places.max(), 200)
    axis.plot(across, axis.lines[0].get_ydata()[0] * np.exp(-2 * across), **KNOWN)
    axis.set_ylim(limits)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=3))


def draw_shares(axis: Axes, runs: pd.DataFrame, *, between: str) -> None:
    """The largest balancedness of the tail at the end, by coupled share: every run and the mean."""
    known = runs[runs["tail_balancedness"] > 0]
    axis.set_title(OPTIMIZERS[between].label)
    if known.empty:
        return
    look = optimizer_style(between)
    means = np.exp(np.log(known["tail_balancedness"].astype(float)).groupby(known["coupled_fraction"]).mean())
    axis.plot(means.index, means, **look | {"marker": "none"})
    axis.plot(known["coupled_fraction"], known["tail_balancedness"], **look | {"linestyle": "none"})
    axis.set(yscale="log", xlabel="coupled share of the decay", ylabel="largest, at the end")
    log_ticks(axis)


if "snakemake" in globals():
    with job(snakemake):
        tables = read_runs(snakemake.input.runs), read_further("layers", snakemake.input.layers)
        save_target(snakemake, draw(*tables, **snakemake.params.settings))
