"""Unconstrained features through training, against what decoupled decay has acted (zhu_figure_12)."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.measuring.results import read_further
from collapse.optimizers import OPTIMIZERS
from collapse.paper.figures.axes import log_ticks, words_in_panel
from collapse.paper.figures.style import (
    GREY,
    SMALL,
    above,
    legend_above,
    new_figure,
    number_label,
    optimizer_style,
    paper_style,
    remark,
    save_target,
)
from collapse.paper.unconstrained import (
    NO_WEIGHTS,
    at_the_end,
    nearest_at_vertex,
    of_decays,
    squares_of_columns,
)
from collapse.records.job import job

LABELS = {"imbalance": "imbalance of $W$ and $H$"}
AT_LEAST = 1e-10  # what is smaller is as good as zero, and drawn there
DARKER = 0.35  # each further epsilon by this share
FLOOR = "what is below $10^{-10}$ is drawn there"
OF_VERTICES = "SignumW"
EXPOSURE, NOTHING = r"$\lambda \, \Sigma \eta$", "nothing was trained"
NOTE = {"textcoords": "offset points", "fontsize": SMALL, "color": GREY}


@paper_style()
def draw(
    ufm: pd.DataFrame,
    *,
    weight_decays: Mapping[str, float],
    more_epsilons: Mapping[str, Sequence[float]],
    ufm_metrics: Sequence[str],
    columns: int,
) -> Figure:
    """A panel a metric, each optimizer at its weight decay, against that times the sum of learning rates.

    The last panel: SignumW's (lambda NC0)^2, dotted the number nearest to its end that belongs to a vertex of
    the box. more_epsilons: by optimizer, further epsilons that are shown of it, darker.
    """
    its = of_decays(ufm, weight_decays)
    figure, axes = new_figure(rows=-(-(len(ufm_metrics) + 1) // columns), columns=columns, panel_height=1.9)
    looks = lines_of(
        its, optimizers=[name for name in OPTIMIZERS if name in weight_decays], more_epsilons=more_epsilons
    )
    for axis, metric in zip(axes.flat, ufm_metrics, strict=False):
        for (name, epsilon), look in looks.items():
            one = its[(its["optimizer"] == name) & (its["epsilon"] == epsilon)]
            draw_line(axis, one, metric=metric, look=look)
        if not axis.lines:
            words_in_panel(axis, NOTHING)
            continue
        axis.set(xscale="log", yscale="log", ylabel=LABELS.get(metric, metric), xlabel=EXPOSURE)
        log_ticks(axis)
    draw_vertices(axes.flat[len(ufm_metrics)], its[its["optimizer"] == OF_VERTICES])
    for axis in axes.flat[len(ufm_metrics) + 1 :]:
        axis.set_visible(False)
    handles = [Line2D([], [], label=label_of(*line, looks=looks), **look) for line, look in looks.items()]
    legend_above(figure, handles, columns=4)
    shown = [f"{OPTIMIZERS[name].label} {number_label(weight_decays[name])}" for name, _ in looks]
    lost = its.loc[its["cross_entropy"].isna(), "optimizer"].unique()
    ends = at_the_end(its)
    dead = ends.loc[ends["norm_W"] <= NO_WEIGHTS, "optimizer"].unique()
    said = [f"weight decay: {', '.join(dict.fromkeys(shown))}", FLOOR] if shown else []
    remark(
        figure, [*said, *(f"{name} diverged" for name in lost), *(f"{name} ends at zero" for name in dead)]
    )
    return figure


def draw_vertices(axis: Axes, ufm: pd.DataFrame) -> None:
    """(lambda NC0)^2 through training, and what of a vertex is nearest to its end."""
    its = ufm[(ufm["exposure"] > 0) & ufm["NC0"].notna()].sort_values("step")
    if its.empty:
        words_in_panel(axis, NOTHING)
        return
    found, size = squares_of_columns(its), its.iloc[-1][["num_classes", "num_features"]].astype(int)
    nearest = nearest_at_vertex(found.iloc[-1], **size)
    axis.axhline(nearest, color=GREY, linestyle=":", linewidth=0.9)
    axis.annotate(f"{nearest}", (its["exposure"].iloc[0], nearest), (0, 2), **NOTE)
    axis.plot(its["exposure"], found, **optimizer_style(OF_VERTICES) | {"marker": "none"})
    axis.set(xscale="log", xlabel=EXPOSURE, ylabel=r"$(\lambda\,$NC0$)^2$", ylim=(0, 1.2 * found.max()))
    log_ticks(axis)


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
            look = optimizer_style(name) | above(name) | {"marker": "none"}
            found[name, epsilon] = look | {"color": darker(look["color"], (1 - DARKER) ** place)}
    return found


def darker(colour: str, share: float) -> str:
    """A colour with this share of its light."""
    return to_hex([share * part for part in to_rgb(colour)])


def label_of(name: str, epsilon: float, *, looks: Mapping[tuple[str, float], dict]) -> str:
    """The optimizer's name, with its epsilon where several are shown."""
    label = OPTIMIZERS[name].label
    several = sum(other == name for other, _ in looks) > 1
    return rf"{label}, $\epsilon$ {number_label(epsilon)}" if several else label


def draw_line(axis: Axes, ufm: pd.DataFrame, *, metric: str, look: dict) -> None:
    """One training; what is no number, or zero decay has acted on, is left out."""
    values = ufm[metric].astype(float)
    known = ufm[np.isfinite(values) & (ufm["exposure"] > 0)].sort_values("step")
    if len(known):
        axis.plot(known["exposure"], known[metric].clip(lower=AT_LEAST), **look)


if "snakemake" in globals():
    with job(snakemake):
        save_target(snakemake, draw(read_further("ufm", snakemake.input.ufm), **snakemake.params.settings))
