"""alpha(t) as theorems 3.1 to 3.4 predict it and as the update rules give it in float64."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.lib.stride_tricks import sliding_window_view

from collapse.optimizers import OPTIMIZERS
from collapse.paper.figures.axes import log_ticks
from collapse.paper.figures.style import GREY, SMALL, legend_above, new_figure, paper_style, save_target
from collapse.records.job import job
from collapse.theory import sign_descent
from collapse.theory.closed_forms import NC0_RATIOS
from collapse.theory.last_layer import alphas
from collapse.theory.theorem_checks import ROUNDING_FLOOR, decaying_rates, sgd_alpha, ufm_weights

ALPHA = r"$\alpha(t) = \frac{1}{K}\,\Vert W^\top \mathbf{1} \Vert^2$"
PREDICTED = {"linestyle": "-", "linewidth": 1.1}
SIMULATED = {"linestyle": "none", "marker": "o", "markersize": 3.2, "markerfacecolor": "white"}
NUM_MARKERS = 14
OSCILLATION = 20  # steps
DECAYING = "#6B1D00"  # Signum's colour, darker
NOTE = {"fontsize": SMALL, "color": GREY}
MARK = {"color": GREY, "linestyle": (0, (1, 1.5)), "linewidth": 0.8}


@paper_style()
def draw(
    *,
    num_classes: int,
    more_classes: Sequence[int],
    learning_rate: float,
    weight_decay: float,
    momentum: float,
    steps: int,
    seed: int,
) -> Figure:
    """SGD and SGDW, SignGD with decoupled decay, SignGD with coupled decay; lines predicted.

    `num_classes` is K of the first and the last panel, `more_classes` those of the second. The
    first shows alpha down to the rounding of float64, the last alpha at a fixed and at a decaying
    learning rate, with T1 and T2 of the former.
    """
    figure, axes = new_figure(rows=1, columns=3, panel_height=2.1)
    setting = {"learning_rate": learning_rate, "weight_decay": weight_decay, "steps": steps}
    draw_sgd(axes[0, 0], num_classes=num_classes, momentum=momentum, seed=seed, **setting)
    draw_decoupled(axes[0, 1], more_classes=more_classes, **setting)
    draw_coupled(axes[0, 2], num_classes=num_classes, **setting)
    titles = ("SGD and SGDW (3.1, 3.2)", "SignGD, decoupled (3.3)", "SignGD, coupled (3.4)")
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set(title=title, xlabel="step $t$")
    axes[0, 0].set_ylabel(ALPHA)
    handles = [
        Line2D([], [], color="black", label="predicted", **PREDICTED),
        Line2D([], [], color="black", label="simulated", **SIMULATED),
    ]
    legend_above(figure, handles)
    return figure


def draw_sgd(
    axis: Axes,
    *,
    num_classes: int,
    learning_rate: float,
    weight_decay: float,
    momentum: float,
    steps: int,
    seed: int,
) -> None:
    """Exponential decay on cross-entropy with moving data, down to where rounding takes over."""
    for optimizer in ("SGDW", "SGD"):
        how = {"momentum": momentum, "weight_decay": weight_decay}
        simulated = sgd_alpha(
            optimizer, num_classes=num_classes, learning_rate=learning_rate, steps=steps, seed=seed, **how
        )
        predicted = simulated[0] * NC0_RATIOS[optimizer]([learning_rate] * steps, **how) ** 2
        above = predicted > ROUNDING_FLOOR * predicted[0]
        shown = int(np.flatnonzero(above)[-1]) + 1
        colour, name = OPTIMIZERS[optimizer].colour, OPTIMIZERS[optimizer].label
        compare_lines(axis, colour, predicted[:shown], simulated[:shown], log=False)
        beside = {"xytext": (6, 3), "textcoords": "offset points", "fontsize": SMALL, "color": colour}
        axis.annotate(name, (shown // 2, predicted[shown // 2]), **beside)
    axis.set_yscale("log")
    axis.set_xlim(left=0)
    log_ticks(axis)


def draw_decoupled(
    axis: Axes, *, more_classes: Sequence[int], learning_rate: float, weight_decay: float, steps: int
) -> None:
    """The rise to ((K - 2) / weight_decay)^2, which no learning rate schedule takes back."""
    setting = {"learning_rate": learning_rate, "weight_decay": weight_decay}
    colour = OPTIMIZERS["SignumW"].colour
    for count in sorted(more_classes):
        rates = [learning_rate] * steps
        weights = ufm_weights("SignumW", num_classes=count, learning_rates=rates, weight_decay=weight_decay)
        predicted = sign_descent.decoupled_alpha(num_classes=count, steps=steps, **setting)
        compare_lines(axis, colour, predicted, alphas(weights), log=True)
        limit = sign_descent.decoupled_limit(num_classes=count, weight_decay=weight_decay)
        axis.axhline(limit, **MARK)
        place = {"xycoords": axis.get_yaxis_transform(), "xytext": (3, 0), "va": "center"}
        look = {"textcoords": "offset points", "fontsize": SMALL, "color": colour}
        axis.annotate(f"$K = {count}$", (1, limit), **place, **look)
    words = r"limit $(K - 2)^2 / \lambda^2$"
    axis.annotate(words, (1, limit), (0, 2), textcoords="offset points", **NOTE)
    axis.set(xscale="log", yscale="log", xlim=(0.8, 1.4 * steps))
    axis.set_ylim(top=20 * limit)
    log_ticks(axis)


def draw_coupled(
    axis: Axes, *, num_classes: int, learning_rate: float, weight_decay: float, steps: int
) -> None:
    """Up to T1, down to T2, then within K^3 eta^2; and to zero as the learning rate goes to zero."""
    ufm = {
        "num_classes": num_classes,
        "feature_scale": sign_descent.unit_scale(num_classes),
        "gradient_scale": 1.0,
    }
    model = {"num_classes": num_classes, "weight_decay": weight_decay}
    fixed, decaying = np.full(steps, learning_rate), decaying_rates(learning_rate, steps=steps)
    for rates, colour in ((fixed, OPTIMIZERS["Signum"].colour), (decaying, DECAYING)):
        a_T, b_T = sign_descent.coupled_coordinates(**ufm, learning_rates=rates, weight_decay=weight_decay)
        predicted = sign_descent.coupled_alpha(a_T, b_T, num_classes=num_classes)
        simulated = alphas(ufm_weights("Signum", learning_rates=rates, **model))
        _, second = sign_descent.turning_times(a_T, b_T)
        compare_lines(axis, colour, predicted, simulated, log=True, oscillates_from=second)
    axis.set(xscale="log", yscale="log", xlim=(0.8, 1.4 * steps), ylim=(1e-6, 20 * predicted.max()))
    step = {"learning_rate": learning_rate, "weight_decay": weight_decay}
    turns = {
        "$T_1$": sign_descent.first_turn(**ufm, **step),
        "$T_2$": sign_descent.second_turn(**ufm, **step),
    }
    for words, turn in turns.items():
        axis.axvline(turn, **MARK)
        place = {"xy": (turn, axis.get_ylim()[1]), "xytext": (2, -2), "va": "top"}
        axis.annotate(words, textcoords="offset points", **place, **NOTE)
    band = num_classes**3 * learning_rate**2
    axis.axhline(band, **MARK)
    axis.annotate(r"$K^3 \eta^2$", (1, band), (0, 2), textcoords="offset points", **NOTE)
    label(axis, GREY, f"$K = {num_classes}$", 0.97, 0.92)
    label(axis, OPTIMIZERS["Signum"].colour, r"fixed $\eta$", 0.97, 0.53)
    label(axis, DECAYING, r"$\eta \to 0$", 0.61, 0.2)
    log_ticks(axis)


def compare_lines(
    axis: Axes,
    colour: str,
    predicted_T: np.ndarray,
    simulated_T: np.ndarray,
    *,
    log: bool,
    oscillates_from: int | None = None,
) -> None:
    """The prediction at every step as a line, the simulation at a few as open circles.

    From `oscillates_from` on, where a line would hide all in black, the band that the predictions of
    OSCILLATION successive steps fill.
    """
    last = len(predicted_T) - 1
    chosen = np.geomspace(1, last, NUM_MARKERS) if log else np.linspace(0, last, NUM_MARKERS)
    steps = np.unique(chosen.round().astype(int))
    until = last if oscillates_from is None else oscillates_from
    axis.plot(np.arange(until + 1), predicted_T[: until + 1], color=colour, **PREDICTED)
    axis.plot(steps, simulated_T[steps], color=colour, **SIMULATED)
    if until < last:
        near = sliding_window_view(predicted_T[until:], min(OSCILLATION, last + 1 - until))
        across = np.arange(until, until + len(near))
        look = {"facecolor": colour, "alpha": 0.3, "linewidth": 0}
        axis.fill_between(across, near.min(axis=1), near.max(axis=1), **look)
        axis.plot(across, near.max(axis=1), color=colour, linewidth=0.7)


def label(axis: Axes, colour: str, words: str, x: float, y: float) -> None:
    """A line's name in its colour, ending at (x, y) of the panel."""
    axis.text(x, y, words, fontsize=SMALL, color=colour, ha="right", transform=axis.transAxes)


if "snakemake" in globals():
    with job(snakemake, threads=1):
        save_target(snakemake, draw(**snakemake.params.settings))
