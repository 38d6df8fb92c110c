"""Metrics at the end of training against a setting of the runs (zhu_figure_4, jacot_figure_2, _3, _13)."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from collapse.measuring.results import read_further, read_runs
from collapse.optimizers import OPTIMIZERS
from collapse.paper.figures.axes import log_ticks, metric_axis, steady_range, words_in_panel
from collapse.paper.figures.style import (
    LOG_METRICS,
    METRIC_LABELS,
    SETTING_LABELS,
    draw_mean,
    legend_above,
    new_figure,
    number_label,
    optimizer_style,
    paper_style,
    remark,
    save_target,
)
from collapse.paper.layer_summaries import at_the_end
from collapse.paper.seeds import words_on_seeds
from collapse.paper.selection import drawable, left_out, remarks, select, why_no_valid
from collapse.records.job import job


@paper_style()
def draw(
    runs: pd.DataFrame,
    layers: pd.DataFrame,
    *,
    experiment: str,
    optimizers: Sequence[str],
    where: Mapping[str, object] | None,
    setting: str,
    scale: str,
    line: str,
    metrics: Sequence[str],
    columns: int,
    slope: bool,
    require_valid: bool,
) -> Figure:
    """A panel a metric, of runs or of collapse.paper.layer_summaries, against a numeric setting.

    A line is the mean over seeds of the runs that have one value of the column `line`, in a band of +- 1
    deviation; on logarithmic axes of the logarithms. Where that column changes with the setting alone, there
    is one line of all. scale: of the setting's axis, "linear" or "log". `slope` names the slope of each line
    between the logarithms, of metrics with a logarithmic axis.
    """
    every = select(runs, experiment=experiment, optimizers=optimizers, where=where, valid=False)
    shown = at_the_end(drawable(every, require_valid=require_valid), layers)
    if every.groupby(line)[setting].nunique().max() == 1:
        line = "experiment"
    looks = line_looks(every, line=line)
    rows = -(-len(metrics) // columns)
    figure, axes = new_figure(rows=rows, columns=columns, panel_height=1.9)
    if require_valid:
        words = left_out(every, optimizers=optimizers, by=[setting])
    else:
        words = remarks(every, shown=shown, optimizers=optimizers, by=[setting], where=where)
    for axis, metric in zip(axes.flat, metrics, strict=False):
        metric_axis(axis, metric)
        for value, look in looks.items():
            its = shown[shown[line] == value]
            drawn = draw_line(axis, its, setting=setting, metric=metric, look=look)
            if slope and len(drawn) > 1 and metric in LOG_METRICS:
                fitted = np.polyfit(np.log(drawn.index), np.log(drawn), 1)[0]
                words.append(f"slope of log {METRIC_LABELS[metric]} of {label_of(value)}: {fitted:.2f}")
        finish_panel(axis, shown, setting=setting, scale=scale, metric=metric, words=why_no_valid(every))
    for axis in axes.flat[len(metrics) :]:
        axis.set_visible(False)
    present = [value for value in looks if value in set(shown[line])]
    handles = [Line2D([], [], label=label_of(value), **looks[value]) for value in present]
    legend_above(figure, handles if len(handles) > 1 else [])
    remark(figure, [*words, *words_on_seeds(every, shown=shown, what="point")])
    return figure


def line_looks(runs: pd.DataFrame, *, line: str) -> dict:
    """How each value of the column `line` is drawn: optimizers as everywhere, others in order."""
    if line == "optimizer":
        present = set(runs[line])
        return {name: optimizer_style(name) for name in OPTIMIZERS if name in present}
    values = sorted(runs[line].dropna().unique())
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.8, len(values)))
    marks = "os^vD"
    return {
        value: {"color": colour, "marker": marks[place % len(marks)]}
        for place, (value, colour) in enumerate(zip(values, colours, strict=True))
    }


def label_of(value: object) -> str:
    """An optimizer's label, a name or a number."""
    if isinstance(value, str):
        return OPTIMIZERS[value].label if value in OPTIMIZERS else value
    return number_label(value)


def draw_line(axis: Axes, runs: pd.DataFrame, *, setting: str, metric: str, look: dict) -> pd.Series:
    """Mean and band over the runs of each value of the setting. Returns the means, by value."""
    is_log = metric in LOG_METRICS
    numbers = runs[metric].astype(float)
    known = runs[np.isfinite(numbers) & ((numbers > 0) | (not is_log))]
    groups = dict(list(known.groupby(setting)[metric]))
    means = draw_mean(axis, list(groups), groups.values(), log=is_log, **look) if groups else []
    return pd.Series(means, index=list(groups), dtype=float)


def finish_panel(
    axis: Axes, shown: pd.DataFrame, *, setting: str, scale: str, metric: str, words: str
) -> None:
    """Scale, ticks and label of the setting's axis; words where nothing is drawn."""
    if not axis.lines:
        words_in_panel(axis, words or "nothing was measured")
        return
    axis.set_xlabel(SETTING_LABELS.get(setting, setting.replace("_", " ")))
    axis.set_xscale(scale)
    steady_range(axis, metric=metric)
    log_ticks(axis)
    values = sorted(shown[setting].dropna().unique())
    if len(values) <= 8:
        axis.set_xticks(values, [f"{value:.3g}" for value in values])
        axis.xaxis.set_minor_locator(NullLocator())


if "snakemake" in globals():
    with job(snakemake):
        tables = read_runs(snakemake.input.runs), read_further("layers", snakemake.input.layers)
        save_target(snakemake, draw(*tables, **snakemake.params.settings))
