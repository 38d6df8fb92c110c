"""Metrics through training, a line a run (figures 4, 6, 8, 17, 18, 20-25, 101)."""

from collections.abc import Iterable, Mapping, Sequence
from numbers import Real

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from collapse.measuring.results import read_results
from collapse.optimizers import OPTIMIZERS
from collapse.paper.figures.axes import (
    epoch_axis,
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
    SETTING_LABELS,
    SETTING_SYMBOLS,
    above,
    band,
    legend_above,
    new_figure,
    number_label,
    optimizer_handles,
    optimizer_style,
    paper_style,
    remark,
    save_target,
)
from collapse.paper.seeds import settings_of, words_on_seeds
from collapse.paper.selection import (
    at_step_decay,
    drawable,
    remarks,
    select,
    setting_words,
    trajectory,
    why_no_valid,
    words_on_step_decay,
)
from collapse.records.job import job

CLOSED_FORM = {"color": "black", "linestyle": ":", "linewidth": 0.9}
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)))


@paper_style()
def draw(
    runs: pd.DataFrame,
    history: pd.DataFrame,
    *,
    experiment: str,
    architecture: str | None,
    dataset: str | None,
    optimizers: Sequence[str],
    metrics: Sequence[str],
    line: str,
    dash: str | None,
    where: Mapping[str, object] | None,
    run_of_smallest: str | None,
    columns: int,
    epoch_scale: str,
    closed_form: bool,
    step_decay_of: str | None,
    require_valid: bool,
) -> Figure:
    """A panel a metric or other logged quantity against the epoch, epoch 0 the initialisation.

    `line` names the column of runs that colours tell apart ("optimizer", "momentum", ...), `dash`
    one that dashes do ("epochs"); `where` narrows the runs down (collapse.paper.selection), and
    `run_of_smallest` names the metric by which one run an optimizer is chosen. What is missing, or
    shown though undertrained (without `require_valid`), is named below. `closed_form` adds to NC0
    what theory says of it, dotted, down to the measured range. `step_decay_of` names an optimizer: of each
    other the setting is drawn whose learning rate * weight decay is nearest to its.

    Runs that differ in their seed alone are one line, their mean, in a band of +- 1 standard deviation; on
    logarithmic axes of the logarithms (collapse.paper.figures.style `band`).
    """
    chosen = {"experiment": experiment, "architecture": architecture, "dataset": dataset}
    every = select(runs, **chosen, optimizers=optimizers, where=where, valid=False)
    if step_decay_of:
        every = at_step_decay(every, of=step_decay_of)
    shown = drawable(every, require_valid=require_valid, run_of_smallest=run_of_smallest)
    looks = line_looks(every, optimizers=optimizers, line=line)
    dashes = dash_looks(every, dash=dash)
    rows = -(-len(metrics) // columns)
    figure, axes = new_figure(rows=rows, columns=columns, panel_height=2.7 if columns == 1 else 1.75)
    present = {value: look for value, look in looks.items() if value in set(shown[line])}
    symbol = SETTING_SYMBOLS.get(line) if len(dashes) > 1 else None  # a title would be the dashes' too
    colours = line_handles(present, line=line, symbol=symbol)
    if len(dashes) > 1:  # the dashes are those of the column, not an optimizer's own
        for handle in colours:
            handle.set_linestyle("-")
    handles = colours + dash_handles(dashes, dash=dash)
    groups = list(settings_of(shown, apart=(line, dash)))
    firsts = [its.iloc[0] for its in groups]
    each = [looks[run[line]] | dashes.get(known(run.get(dash)), {}) for run in firsts]
    last = max(shown["epochs"], default=1)
    for axis, metric in zip(axes.flat, metrics, strict=False):
        draw_panel(axis, groups, history, metric=metric, looks=each)
        epoch_axis(axis, last=last, scale=epoch_scale)
        if not axis.lines:
            words_in_panel(axis, why_no_valid(every) or "nothing was logged")
        elif closed_form and metric == "NC0":
            handles += draw_closed_form(axis, groups, history)
        steady_range(axis, metric=metric)
        log_ticks(axis)
    for axis in axes.flat[len(metrics) :]:
        axis.remove()
    title = None if line == "optimizer" or symbol else SETTING_LABELS[line]
    legend_above(figure, handles, title=title if present else None)
    by = [] if run_of_smallest else [name for name in (line, dash) if name not in (None, "optimizer")]
    words = remarks(every, shown=shown, optimizers=optimizers, by=by, where=where)
    words += words_on_seeds(every, shown=shown, what="line", apart=(line, dash))
    words += [words_on_step_decay(every)] if step_decay_of and len(shown) else []
    if line == "optimizer":
        labels = [METRIC_LABELS[metric] for metric in metrics]
        words += words_on_coinciding(zip(labels, axes.flat, strict=False))
    remark(figure, words)
    return figure


def line_looks(runs: pd.DataFrame, *, optimizers: Sequence[str], line: str) -> dict:
    """How each value of the column `line` is drawn: optimizers as everywhere, others in order."""
    if line == "optimizer":
        return {
            name: optimizer_style(name) | above(name) | {"marker": "none", "label": OPTIMIZERS[name].label}
            for name in optimizers
        }
    values = sorted(runs[line].dropna().unique())
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(values)))
    widths = np.linspace(2.2, 1.0, len(values))  # so that lines which coincide are all seen
    return {
        value: {"color": colour, "linewidth": width}
        for value, colour, width in zip(values, colours, widths, strict=True)
    }


def line_handles(looks: dict, *, line: str, symbol: str | None) -> list[Line2D]:
    """The legend of the colours."""
    if line == "optimizer":
        return optimizer_handles(looks, line=True, marker=False)
    text = {v: number_label(v) if isinstance(v, Real) else str(v) for v in looks}
    text |= {v: f"{symbol} = {words}" for v, words in text.items() if symbol}
    return [Line2D([], [], label=text[v], **look) for v, look in looks.items()]


def dash_looks(runs: pd.DataFrame, *, dash: str | None) -> dict:
    """The dashes of each value of the column `dash`, in order; {} without a column."""
    values = [] if dash is None else sorted(runs[dash].dropna().unique())
    if dash is not None and runs[dash].isna().any():
        values = [None, *values]
    return {value: {"linestyle": DASHES[place % len(DASHES)]} for place, value in enumerate(values)}


def known(value: object) -> object:
    """A setting's value, None where a run has none."""
    return None if value is None or pd.isna(value) else value


def dash_handles(dashes: dict, *, dash: str | None) -> list[Line2D]:
    """The legend of the dashes: none where all lines are of one kind."""
    if len(dashes) < 2:
        return []
    none = f"no {SETTING_LABELS.get(dash, dash)}"
    looks = {none if value is None else setting_words(dash, value): look for value, look in dashes.items()}
    return [Line2D([], [], color=GREY, label=label, **look) for label, look in looks.items()]


def draw_panel(
    axis: Axes, groups: Sequence[pd.DataFrame], history: pd.DataFrame, *, metric: str, looks: Sequence[dict]
) -> None:
    """One logged quantity of every group of seeds; epochs at which it was not measured are passed over."""
    metric_axis(axis, metric)
    is_log = metric in LOG_METRICS
    for its, look in zip(groups, looks, strict=True):
        logged = logged_by_epoch(history, keys=its["key"], column=metric, positive=is_log)
        if len(its) == 1:
            middle = logged.iloc[:, 0]
        else:
            bands = [band(values, log=is_log) for values in logged.to_numpy()]
            middle, low, high = np.array(bands).reshape(-1, 3).T
            shade = {"color": look["color"], "zorder": 1.9, "alpha": 0.18, "linewidth": 0}
            axis.fill_between(logged.index, low, high, **shade)
        if len(logged):
            axis.plot(logged.index, middle, **look)


def logged_by_epoch(
    history: pd.DataFrame, *, keys: Iterable[str], column: str, positive: bool
) -> pd.DataFrame:
    """A quantity of runs, a column a run, at the epochs at which all of them have it."""
    each = {key: trajectory(history, key=key).set_index("epoch")[column].astype(float) for key in keys}
    logged = pd.DataFrame(each)
    return logged[(np.isfinite(logged) & (logged > 0 if positive else True)).all(axis=1)]


def draw_closed_form(axis: Axes, groups: Sequence[pd.DataFrame], history: pd.DataFrame) -> list[Line2D]:
    """NC0 as theory has it, where it is defined, the mean of seeds; its legend entry, if any was drawn.

    Optimizers whose closed forms are the same but for the digits of a decay have one line.
    """
    limits, count = axis.get_ylim(), len(axis.lines)
    drawn: list[pd.Series] = []
    for its in groups:
        logged = logged_by_epoch(history, keys=its["key"], column="NC0_closed_form", positive=False)
        known = logged.iloc[:, 0] if len(its) == 1 else np.exp(np.log(logged).mean(axis=1))
        if len(known) and not any(is_same(known, other) for other in drawn):
            axis.plot(known.index, known, **CLOSED_FORM)
            drawn.append(known)
    axis.set_ylim(limits)
    return [Line2D([], [], label="closed form", **CLOSED_FORM)] if len(axis.lines) > count else []


def is_same(one: pd.Series, other: pd.Series) -> bool:
    """Whether two closed forms are of the same epochs and within a percent of each other."""
    return one.index.equals(other.index) and np.allclose(one, other, rtol=0.01, atol=0)


if "snakemake" in globals():
    with job(snakemake):
        results = read_results(snakemake.input.runs, snakemake.input.history)
        save_target(snakemake, draw(*results, **snakemake.params.settings))
