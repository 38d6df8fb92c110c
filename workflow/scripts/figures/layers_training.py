"""Every dense layer through training, against how long weight decay has acted (jacot_figure_1)."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.measuring.results import read_further, read_runs
from collapse.paper.figures.axes import log_ticks, words_in_panel
from collapse.paper.figures.style import draw_mean, legend_above, new_figure, paper_style, remark, save_target
from collapse.paper.layer_summaries import tail_pairs, with_exposure
from collapse.paper.selection import drawable, remarks, select, why_no_valid
from collapse.records.job import job

EXPOSURE = r"$\lambda \, \Sigma \eta \, / \, (1 - \beta)$"
LABELS = {
    "NC1": r"NC1, tr $\Sigma_W$ / tr $\Sigma_B$",
    "NC2": r"NC2, $\kappa(\bar Z)$",
    "NC3": "NC3, mean cosine",
}
LOGARITHMIC = ("NC1", "NC2", "balancedness")
KNOWN = {"color": "black", "linestyle": ":", "linewidth": 0.9}


@paper_style()
def draw(
    runs: pd.DataFrame,
    layers: pd.DataFrame,
    *,
    experiment: str,
    optimizer: str,
    where: Mapping[str, object] | None,
    layer_metrics: Sequence[str],
    columns: int,
    require_valid: bool,
) -> Figure:
    """A panel a metric of layers, a line a layer: full of linear layers, dashed of ReLU layers.

    A line is the mean over seeds, in a band of +- 1 deviation; on logarithmic axes of the logarithms. The
    axis is weight decay times the sum of learning rates, over 1 - momentum; dotted, how fast the imbalance of
    two linear layers falls in theory, from where the first pair has begun. Below, the products of the
    class means of each linear layer at the end of one run, over the largest.
    """
    every = select(runs, experiment=experiment, optimizers=[optimizer], where=where, valid=False)
    shown = drawable(every, require_valid=require_valid)
    its = with_exposure(shown, layers)
    metrics, matrices = list(layer_metrics), class_mean_products(its)
    rows = -(-len(metrics) // columns)
    figure, axes = new_figure(rows=rows + -(-len(matrices) // columns), columns=columns, panel_height=1.9)
    looks = layer_looks(its)
    for axis, metric in zip(axes.flat, metrics, strict=False):
        for layer, look in looks.items():
            draw_layer(axis, its[its["layer"] == layer], metric=metric, look=look)
        if not axis.lines:
            words_in_panel(axis, why_no_valid(every) or "nothing was measured")
            continue
        axis.set(xlabel=EXPOSURE, ylabel=LABELS.get(metric, metric))
        if metric in LOGARITHMIC:
            axis.set_yscale("log")
        if metric == "balancedness":
            draw_known(axis, its)
        log_ticks(axis)
    below = axes[rows:].flat
    for axis, (layer, products_KK) in zip(below, matrices.items(), strict=False):
        draw_matrix(axis, products_KK, title=f"class means of layer {layer}")
    for axis in [*axes[:rows].flat[len(metrics) :], *below[len(matrices) :]]:
        axis.set_visible(False)
    handles = [Line2D([], [], label=f"layer {layer}", **look) for layer, look in looks.items()]
    known = Line2D([], [], label=r"$\propto e^{-2 \lambda \Sigma \eta / (1 - \beta)}$", **KNOWN)
    legend_above(figure, [*handles, known] if handles else [], columns=5)
    words = remarks(every, shown=shown, optimizers=[optimizer], where=where)
    words += ["matrices: products of class means over the largest, at the end of one run"] if matrices else []
    seeds = shown["key"].nunique()
    remark(figure, [*words, f"each line is the mean over {seeds} seeds" if seeds > 1 else ""])
    return figure


def layer_looks(layers: pd.DataFrame) -> dict[int, dict]:
    """By layer: colours in their order, dashes where a ReLU follows."""
    kinds = layers.drop_duplicates("layer").sort_values("layer")
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, max(len(kinds), 1)))
    return {
        row.layer: {"color": colour, "linestyle": (0, (3, 1.3)) if row.kind == "relu" else "-"}
        for row, colour in zip(kinds.itertuples(), colours, strict=False)
    }


def draw_layer(axis: Axes, layer: pd.DataFrame, *, metric: str, look: dict) -> None:
    """One layer's metric: mean and band over the runs that have it."""
    is_log = metric in LOGARITHMIC
    numbers = layer[metric].astype(float)
    known = layer[np.isfinite(numbers) & ((numbers > 0) | (not is_log))]
    if known.empty:
        return
    places = known.groupby("epoch")["exposure"].mean()
    draw_mean(axis, places, [its for _, its in known.groupby("epoch")[metric]], log=is_log, **look)


def class_mean_products(layers: pd.DataFrame) -> dict[int, np.ndarray]:
    """K x K, over the largest, by linear layer, at the end of the first run."""
    if layers.empty:
        return {}
    its = layers[layers["key"] == layers["key"].iloc[0]]
    its = its[its["epoch"] == its["epoch"].max()].sort_values("layer")
    found = {row.layer: np.array(row.means_gram) for row in its[its["kind"] == "linear"].itertuples()}
    return {
        layer: (gram / np.abs(gram).max()).reshape(2 * [round(len(gram) ** 0.5)])
        for layer, gram in found.items()
    }


def draw_matrix(axis: Axes, products_KK: np.ndarray, *, title: str) -> None:
    """Red for positive and blue for negative products, white for orthogonal class means."""
    axis.imshow(products_KK, cmap="RdBu_r", vmin=-1, vmax=1)
    axis.set_title(title)
    axis.set(xticks=[], yticks=[])
    axis.grid(False)


def draw_known(axis: Axes, layers: pd.DataFrame) -> None:
    """e^(-2 x) from the mean balancedness of the first pair of linear layers before training."""
    pairs = tail_pairs(layers)
    begun = pairs[(pairs["pair"] == 1) & (pairs["epoch"] == 0)]["balancedness"]
    if begun.empty:
        return
    limits, places = axis.get_ylim(), np.linspace(0, layers["exposure"].max(), 200)
    axis.plot(places, begun.mean() * np.exp(-2 * places), **KNOWN)
    axis.set_ylim(limits)


if "snakemake" in globals():
    with job(snakemake):
        tables = read_runs(snakemake.input.runs), read_further("layers", snakemake.input.layers)
        save_target(snakemake, draw(*tables, **snakemake.params.settings))
