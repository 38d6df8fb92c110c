"""alpha = NC0^2 / K through the steps of training, the last ones enlarged (figure 9)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from collapse.datasets.registry import DATASETS
from collapse.measuring.results import read_results
from collapse.paper.figures.axes import log_ticks, words_in_panel
from collapse.paper.figures.style import (
    SMALL,
    legend_above,
    new_figure,
    number_label,
    optimizer_handles,
    optimizer_style,
    paper_style,
    remark,
    save_target,
)
from collapse.paper.selection import drawable, remarks, select, trajectory, why_no_valid
from collapse.records.job import job
from collapse.study.schedules import batches_per_epoch

ALPHA = r"$\alpha = \frac{1}{K}\,\Vert W^\top \mathbf{1} \Vert^2$"
SIGN_DESCENT = {"Signum": "SignSGD", "SignumW": "SignSGDW"}  # their names at momentum 0
INLAY = (0.36, 0.66, 0.62, 0.26)  # of the panel: left, bottom, width, height
BELOW_INLAY = 0.54  # of the panel's height: what is left to the curves
LEAST_POWERS = 1.0  # of ten, on an axis of alpha


@paper_style()
def draw(
    runs: pd.DataFrame,
    history: pd.DataFrame,
    *,
    experiment: str,
    architecture: str | None,
    dataset: str | None,
    optimizers: Sequence[str],
    enlarged_share: float,
    require_valid: bool,
) -> Figure:
    """A panel a weight decay, a line a run; alpha logarithmic, at the epochs that NC0 was logged.

    The last `enlarged_share` of the steps stands again in an inlay, above all curves. Signum at
    momentum 0 is named SignSGD, as in the paper. What is missing, or shown though undertrained
    (without `require_valid`), is named below.
    """
    chosen = {"experiment": experiment, "architecture": architecture, "dataset": dataset}
    every = select(runs, **chosen, optimizers=optimizers, valid=False)
    shown = drawable(every, require_valid=require_valid)
    decays = sorted(every["weight_decay"].unique()) or [None]
    figure, axes = new_figure(rows=1, columns=len(decays), panel_height=2.7)
    for axis, decay in zip(axes.flat, decays, strict=True):
        curves = [
            (optimizer_style(run["optimizer"]) | {"marker": "none"}, *curve)
            for _, run in shown[shown["weight_decay"] == decay].iterrows()
            if len((curve := alpha_through_steps(run, history))[0])
        ]
        if curves:
            axis.set_title(rf"$\lambda$ = {number_label(decay)}")
            draw_panel(axis, curves, enlarged_share=enlarged_share)
        else:
            its = every[every["weight_decay"] == decay]
            words_in_panel(axis, why_no_valid(its) or "nothing was logged")
    axes[0, 0].set_ylabel(ALPHA)
    names = [name for name in optimizers if name in set(shown["optimizer"])]
    legend_above(figure, named_handles(names, every))
    remark(figure, remarks(every, shown=shown, optimizers=optimizers, by=["weight_decay"]))
    return figure


def alpha_through_steps(run: pd.Series, history: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The steps at the end of each logged epoch, and alpha = NC0^2 / K there, where it is above 0."""
    logged = trajectory(history, key=run["key"])
    logged = logged[logged["NC0"] > 0]
    steps = logged["epoch"] * batches_per_epoch(run["train_size"], run["batch_size"])
    alpha = logged["NC0"] ** 2 / DATASETS[run["dataset"]].num_classes
    return steps.to_numpy(), alpha.to_numpy()


def draw_panel(axis: Axes, curves: Sequence[tuple], *, enlarged_share: float) -> None:
    """The curves, below an inlay with the end of them."""
    last = max(steps[-1] for _, steps, _ in curves)
    first = (1 - enlarged_share) * last
    inlay = axis.inset_axes(INLAY)
    for look, steps, alpha in curves:
        axis.plot(steps, alpha, linewidth=1.0, **look)
        inlay.plot(steps, alpha, linewidth=0.8, **look)
    axis.set(xlabel="step", xlim=(0, last))
    axis.grid(False, axis="x")  # it would run through the inlay
    inlay.set_xlim(first, last)
    axis.set_xticks(*thousands(np.array([0, 0.5, 1]) * last))
    inlay.set_xticks(*thousands(np.array([first, last])))
    inlay.tick_params(pad=1.5, length=2)
    inlay.set_title(f"the last {last - first:,.0f} steps", fontsize=SMALL, pad=2)
    ends = [alpha[steps >= first] for _, steps, alpha in curves]
    alpha_axis(inlay, np.concatenate(ends), share=1.0)
    alpha_axis(axis, np.concatenate([alpha for _, _, alpha in curves]), share=BELOW_INLAY)


def alpha_axis(axis: Axes, alpha: np.ndarray, *, share: float) -> None:
    """A logarithmic y axis of which the values `alpha` fill the lower `share`, with ticks there alone."""
    low, high = np.log10(alpha.min()), np.log10(alpha.max())
    margin = max(0.05 * (high - low), (LEAST_POWERS - (high - low)) / 2)
    low, high = low - margin, high + margin
    axis.set_yscale("log")
    axis.set_ylim(10**low, 10**high)
    log_ticks(axis)
    ticks = [tick for tick in axis.get_yticks() if 10**low <= tick <= 10**high]
    axis.yaxis.set_major_locator(FixedLocator(ticks))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.set_ylim(10**low, 10 ** (low + (high - low) / share))


def thousands(steps: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Ticks at `steps` and their labels: 10,000."""
    return steps, [f"{step:,.0f}" for step in steps]


def named_handles(optimizers: Sequence[str], runs: pd.DataFrame) -> list[Line2D]:
    """The legend, with the names that Signum and SignumW have where all their momenta are 0."""
    handles = optimizer_handles(optimizers, line=True, marker=False)
    for handle, name in zip(handles, optimizers, strict=True):
        if name in SIGN_DESCENT and (runs.loc[runs["optimizer"] == name, "momentum"] == 0).all():
            handle.set_label(SIGN_DESCENT[name])
    return handles


if "snakemake" in globals():
    with job(snakemake):
        results = read_results(snakemake.input.runs, snakemake.input.history)
        save_target(snakemake, draw(*results, **snakemake.params.settings))
