"""Which minimum of the unconstrained feature model an optimizer reaches, by weight decay (zhu_figure_11)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.measuring.results import read_further
from collapse.paper.figures.axes import log_ticks, words_in_panel
from collapse.paper.figures.style import (
    legend_above,
    new_figure,
    optimizer_handles,
    optimizer_style,
    paper_style,
    remark,
    save_target,
)
from collapse.paper.unconstrained import NO_WEIGHTS, at_the_end, norm_at_minimum, threshold
from collapse.records.job import job

KNOWN = {"color": "black", "linestyle": ":", "linewidth": 0.9}
THRESHOLD = {"color": "#9a9a9a", "linestyle": ":", "linewidth": 1.8}
LEAST = 1e-16  # below it a difference is rounding of float64
LABELS = {
    "gap": r"own $f - f^*$, at least $10^{-16}$",
    "norm_W": r"$\|W\|_F$",
    "NC0": "NC0",
    "NC3": "NC3",
}


@paper_style()
def draw(ufm: pd.DataFrame, *, optimizers: Sequence[str], epsilon: float) -> Figure:
    """At the end of training against weight decay: the objective above its minimum, ||W||, NC0 and NC3.

    The objective is an optimizer's own: with weight decay lambda under coupled decay, with
    lambda (1 - momentum) of SGDW; AdamW and SignumW have none. Dotted: ||W|| at the minimum in closed form;
    grey: 1/(K sqrt(n)), from which on the minimum is zero.
    """
    ends = at_the_end(ufm)
    ends = ends[ends["optimizer"].isin(optimizers) & (ends["epsilon"] == epsilon)]
    ends = ends.assign(gap=(ends["objective"] - ends["minimum"]).abs().clip(lower=LEAST))
    figure, axes = new_figure(rows=2, columns=2, panel_height=1.9)
    for axis, metric in zip(axes.flat, LABELS, strict=True):
        for name in optimizers:
            draw_line(axis, ends[ends["optimizer"] == name], metric=metric, name=name)
        if not axis.lines:
            words_in_panel(axis, "nothing was trained")
            continue
        axis.set(xscale="log", yscale="log", xlabel=r"weight decay $\lambda$", ylabel=LABELS[metric])
        if metric == "norm_W":
            draw_minimum(axis, ends)
        axis.axvline(threshold(ends), **THRESHOLD)
        log_ticks(axis)
    present = [name for name in optimizers if name in set(ends["optimizer"])]
    dotted = Line2D([], [], label="closed form", **KNOWN)
    edge = Line2D([], [], label=r"$1/(K\sqrt{n})$", **THRESHOLD)
    legend_above(figure, [*optimizer_handles(present, line=True, marker=True), dotted, edge])
    none = [name for name in present if ends.loc[ends["optimizer"] == name, "minimum"].isna().all()]
    remark(
        figure, [f"{' and '.join(none)} have no objective of their own" if none else "", *words_on_zero(ends)]
    )
    return figure


def draw_line(axis: Axes, ends: pd.DataFrame, *, metric: str, name: str) -> None:
    """One optimizer's values that a logarithmic axis can show, of ||W|| where there is any."""
    values = ends[metric].astype(float)
    least = {"norm_W": NO_WEIGHTS, "NC0": 1e-18}.get(metric, 0)
    alive = ends["norm_W"] > NO_WEIGHTS if metric in ("NC0", "NC3") else True
    known = ends[np.isfinite(values) & (values > least) & alive].sort_values("weight_decay")
    if len(known):
        axis.plot(known["weight_decay"], known[metric], **optimizer_style(name))


def draw_minimum(axis: Axes, ends: pd.DataFrame) -> None:
    """||W|| at the minimum, for coupled decay and for SGDW."""
    limits = axis.get_ylim()
    decays = np.geomspace(ends["weight_decay"].min(), ends["weight_decay"].max(), 400)
    for momentum in (0.0, ends["momentum"].iloc[0]):
        norms = [norm_at_minimum(ends, decay * (1 - momentum)) for decay in decays]
        axis.plot(decays, np.where(np.array(norms) > 0, norms, np.nan), **KNOWN)
    axis.set_ylim(limits)


def words_on_zero(ends: pd.DataFrame) -> list[str]:
    """Where nothing is left, and where the training diverged."""
    said = []
    for what, its in (
        ("ends at zero", ends[ends["norm_W"] <= NO_WEIGHTS]),
        ("diverged", ends[ends["norm_W"].isna()]),
    ):
        names = [f"{row.optimizer} at {row.weight_decay:g}" for row in its.itertuples()]
        said += [f"{what}: {', '.join(names)}"] if names else []
    return said


if "snakemake" in globals():
    with job(snakemake):
        save_target(snakemake, draw(read_further("ufm", snakemake.input.ufm), **snakemake.params.settings))
