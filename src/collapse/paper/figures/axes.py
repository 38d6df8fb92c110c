"""The axes of figures: weight decay with a place for 0, epochs, legible logarithms, panels of words."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.path import Path
from matplotlib.ticker import (
    FixedFormatter,
    FixedLocator,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
)

from collapse.paper.figures.style import GREY, LOG_METRICS, METRIC_LABELS, SETTING_LABELS, SMALL
from collapse.paper.selection import in_a_row

COINCIDE = 0.012  # of the panel's height: lines nearer than this cannot be told apart
COINCIDING_SHARE = 0.9  # of the way that two lines have in common
LEAST_RATIO, LEAST_SPAN = 1.02, 0.002  # below, a panel's range shows rounding and no trend


def decay_axis(axis: Axes, decays: Iterable[float]) -> None:
    """A logarithmic weight decay axis that has a place for 0, set off by a break mark.

    `decays` are the values that the axis must show. Without a positive one the axis stays linear.
    """
    values = np.unique(np.asarray(list(decays), dtype=float))
    positive = values[values > 0]
    axis.set_xlabel(SETTING_LABELS["weight_decay"])
    if not positive.size:
        axis.set_xticks([0.0], ["0"])
        axis.set_xlim(-1, 1)
        return
    low, high, has_zero = positive[0], positive[-1], values[0] == 0
    powers = np.arange(np.ceil(np.log10(low) - 1e-9), np.floor(np.log10(high) + 1e-9) + 1)
    labelled = powers[::-1][:: max(1, -(-len(powers) // 3))][::-1]  # three at most, the last one in
    ticks = {10.0**power: f"$10^{{{int(power)}}}$" for power in labelled}
    if len(ticks) < 2:  # too short a range for powers: its ends
        ticks = {value: f"{value:.2g}" for value in (low, high)}
    ticks = ({0.0: "0"} if has_zero else {}) | ticks
    if has_zero:
        axis.set_xscale("symlog", linthresh=low, linscale=0.8)
        _break_mark(axis, 0.42 * low)
    else:
        axis.set_xscale("log")
    axis.xaxis.set_major_locator(FixedLocator(list(ticks)))
    axis.xaxis.set_major_formatter(FixedFormatter(list(ticks.values())))
    axis.xaxis.set_minor_locator(FixedLocator(10.0**powers))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlim(-0.15 * low if has_zero else low / 1.6, high * 1.6)


def _break_mark(axis: Axes, x: float) -> None:
    """Two strokes across the x axis: from here on to the left the scale is another."""
    strokes = Path([(-1, -1), (0, 1), (0, -1), (1, 1)], [Path.MOVETO, Path.LINETO] * 2)
    look = {"marker": strokes, "markersize": 7, "markeredgewidth": 0.7, "color": "black"}
    place = {"transform": axis.get_xaxis_transform(), "clip_on": False}
    axis.plot([x], [0], linestyle="none", scalex=False, scaley=False, **look, **place)


def metric_axis(axis: Axes, metric: str) -> None:
    """The label of a metric, and a logarithmic scale for those that span orders of magnitude."""
    axis.set_ylabel(METRIC_LABELS[metric])
    if metric in LOG_METRICS:
        axis.set_yscale("log")


def epoch_axis(axis: Axes, *, last: int, scale: str) -> None:
    """The epochs 0 to `last`; on the "log" scale, runs of many lengths, 0 has a place at the left."""
    axis.set_xlabel("epoch")
    if scale == "log":
        axis.set_xscale("symlog", linthresh=1, linscale=0.4)
        ticks = [0, *(10**power for power in range(len(str(last))))]
        axis.set_xticks(ticks, [f"{tick}" for tick in ticks])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlim(-0.3, last * 1.25)


def steady_range(axis: Axes, *, metric: str) -> None:
    """No y range so narrow that it shows rounding as if it were a trend, nor an accuracy above 1."""
    low, high = axis.get_ylim()
    if axis.get_yscale() == "log":
        if high / low < LEAST_RATIO:
            axis.set_ylim(low / 1.6, high * 1.6)
    elif high - low < LEAST_SPAN * max(abs(low), abs(high)):
        axis.set_ylim(low - 0.05 * abs(low), high + 0.05 * abs(high))
    if metric.endswith("accuracy") and axis.get_ylim()[1] > 1:
        axis.set_ylim(top=1 + 0.03 * (1 - axis.get_ylim()[0]))


def log_ticks(axis: Axes) -> None:
    """Few legible ticks on the logarithmic axes of a finished panel: powers of ten, or 1-2-5."""
    for line in (axis.xaxis, axis.yaxis):
        low, high = sorted(line.get_view_interval())
        is_labelled = isinstance(line.get_major_formatter(), FixedFormatter)  # as decay_axis has it
        if line.get_scale() != "log" or is_labelled or not 0 < low < high:
            continue
        powers = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        if ((10**powers >= low) & (10**powers <= high)).sum() >= 2:
            line.set_major_locator(LogLocator(numticks=5))
        else:
            line.set_major_locator(FixedLocator(ticks_within(low, high)))
            line.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
            line.set_minor_locator(NullLocator())
        line.set_minor_formatter(NullFormatter())


def ticks_within(low: float, high: float) -> np.ndarray:
    """Three ticks or more on less than a decade or two: 1-2-5, finer steps, or evenly spaced."""
    powers = 10 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for steps in ([1, 2, 5], [1, 1.5, 2, 3, 5, 7]):
        ticks = np.outer(powers, steps).ravel()
        if ((ticks >= low) & (ticks <= high)).sum() >= 3:
            break
    else:
        ticks = MaxNLocator(nbins=3).tick_values(low, high)
    return ticks[(ticks >= low) & (ticks <= high)]


def coinciding(axis: Axes) -> list[list[str]]:
    """Groups of labelled lines of a finished panel that lie on one another nearly all the way."""
    to_panel = axis.transData + axis.transAxes.inverted()
    paths = {
        line.get_label(): to_panel.transform(line.get_xydata())
        for line in axis.lines
        if not str(line.get_label()).startswith("_") and len(line.get_xydata()) > 1
    }
    groups: list[list[str]] = []
    for name, path in paths.items():
        near = [group for group in groups if any(lie_together(path, paths[other]) for other in group)]
        joined = [other for group in near for other in group]
        groups = [group for group in groups if group not in near] + [[*joined, name]]
    return [group for group in groups if len(group) > 1]


def words_on_coinciding(panels: Iterable[tuple[str, Axes]]) -> list[str]:
    """Which lines cannot be told apart, by panel: ["lines that coincide: SGD and SGDW in NC0 and NC1"]."""
    where: dict[str, list[str]] = {}
    for name, axis in panels:
        for group in coinciding(axis):
            where.setdefault(in_a_row(group), []).append(name)
    said = [f"{names} in {in_a_row(its)}" for names, its in where.items()]
    return [f"lines that coincide: {', '.join(said)}"] if said else []


def lie_together(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two lines ((x, y) in shares of the panel) are closer than `COINCIDE` nearly everywhere."""
    across = np.linspace(max(one[0, 0], other[0, 0]), min(one[-1, 0], other[-1, 0]), 200)
    apart = np.abs(np.interp(across, *one.T) - np.interp(across, *other.T))
    return bool((apart < COINCIDE).mean() >= COINCIDING_SHARE)


def share_y(axes: Iterable[Axes]) -> None:
    """One y range for panels of a row with the same metric, labelled at the first alone."""
    axes = list(axes)
    for axis in axes[1:]:
        axis.set_ylabel("")
    one_y_range(axes)


def one_y_range(axes: Iterable[Axes]) -> None:
    """One y range for panels of the same metric; empty ones aside."""
    filled = [axis for axis in axes if axis.has_data()]
    limits = np.array([axis.get_ylim() for axis in filled])
    for axis in filled[1:]:
        axis.sharey(filled[0])
    for axis in filled:
        axis.set_ylim(limits.min(), limits.max())  # sharing alone would keep the first one's
        log_ticks(axis)


def words_in_panel(axis: Axes, words: str) -> None:
    """An empty panel that says why it is empty."""
    axis.grid(False)
    axis.set(xscale="linear", yscale="linear", xticks=[], yticks=[])
    text = textwrap.fill(words, 24)
    centre = {"ha": "center", "va": "center", "transform": axis.transAxes}
    axis.text(0.5, 0.5, text, fontsize=SMALL, color=GREY, **centre)
