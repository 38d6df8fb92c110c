"""Unconstrained features through training, against what decoupled decay has acted (zhu_figure_12)."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.measuring.results import read_further
from collapse.optimizers import OPTIMIZERS
from collapse.paper.figures.axes import log_ticks, words_in_panel
from collapse.paper.figures.style import (
    legend_above,
    new_figure,
    number_label,
    optimizer_style,
    paper_style,
    remark,
    save_target,
)
from collapse.paper.unconstrained import of_decay, vertex_words
from collapse.records.job import job

LABELS = {"imbalance": r"$\|W^\top W - H H^\top\|$, relative"}
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)))
LEAST = 1e-17  # below it nothing but rounding is seen


@paper_style()
def draw(
    ufm: pd.DataFrame,
    *,
    optimizers: Sequence[str],
    weight_decay: float,
    more_epsilons: Mapping[str, Sequence[float]],
    ufm_metrics: Sequence[str],
    columns: int,
) -> Figure:
    """A panel a metric at one weight decay, against that times the sum of learning rates.

    more_epsilons: by optimizer, further epsilons that are shown of it, dashed.
    """
    its = of_decay(ufm, weight_decay)
    figure, axes = new_figure(rows=-(-len(ufm_metrics) // columns), columns=columns, panel_height=1.9)
    looks = lines_of(its, optimizers=optimizers, more_epsilons=more_epsilons)
    for axis, metric in zip(axes.flat, ufm_metrics, strict=False):
        for (name, epsilon), look in looks.items():
            one = its[(its["optimizer"] == name) & (its["epsilon"] == epsilon)]
            draw_line(axis, one, metric=metric, look=look)
        if not axis.lines:
            words_in_panel(axis, f"nothing was trained at weight decay {weight_decay:g}")
            continue
        axis.set(xscale="log", yscale="log", ylabel=LABELS.get(metric, metric))
        axis.set_xlabel(r"$\lambda \, \Sigma \eta$")
        log_ticks(axis)
    for axis in axes.flat[len(ufm_metrics) :]:
        axis.set_visible(False)
    handles = [Line2D([], [], label=label_of(*line, looks=looks), **look) for line, look in looks.items()]
    legend_above(figure, handles, columns=4)
    remark(figure, vertex_words(its))
    return figure


def lines_of(
    ufm: pd.DataFrame, *, optimizers: Sequence[str], more_epsilons: Mapping[str, Sequence[float]]
) -> dict[tuple[str, float], dict]:
    """Optimizer and epsilon of every line that there is, and its look."""
    usual = ufm.groupby("optimizer")["epsilon"].min()
    found = {}
    for name in optimizers:
        if name not in usual:
            continue
        every = [usual[name], *(each for each in more_epsilons.get(name, []) if each != usual[name])]
        for place, epsilon in enumerate(every):
            look = optimizer_style(name) | {"marker": "none"}
            look |= {"linestyle": DASHES[place % len(DASHES)], "linewidth": 1.3 if place == 0 else 1.0}
            found[name, epsilon] = look
    return found


def label_of(name: str, epsilon: float, *, looks: Mapping[tuple[str, float], dict]) -> str:
    """The optimizer's name, with its epsilon where several are shown."""
    label = OPTIMIZERS[name].label
    several = sum(other == name for other, _ in looks) > 1
    return rf"{label}, $\epsilon$ {number_label(epsilon)}" if several else label


def draw_line(axis: Axes, ufm: pd.DataFrame, *, metric: str, look: dict) -> None:
    """One training; what is below rounding is left out."""
    values = ufm[metric].astype(float)
    known = ufm[np.isfinite(values) & (values > LEAST) & (ufm["exposure"] > 0)].sort_values("step")
    if len(known):
        axis.plot(known["exposure"], known[metric], **look)


if "snakemake" in globals():
    with job(snakemake):
        save_target(snakemake, draw(read_further("ufm", snakemake.input.ufm), **snakemake.params.settings))
