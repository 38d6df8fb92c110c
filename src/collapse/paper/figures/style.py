"""One look for every figure: sizes, colours, labels, legends, saving; collapse.paper.figures.axes has the
axes.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from os import PathLike
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import LoadFlags
from matplotlib.lines import Line2D

from collapse.optimizers import OPTIMIZERS

HALF_WIDTH, FULL_WIDTH = 5.0, 7.0  # inches: two panels, three or more
SMALL = 7  # points, the smallest type anywhere
GREY = "#555555"
# What a matplotlibrc or another library may have set goes back to what matplotlib comes with.
DEFAULTS = {
    name: value for name, value in matplotlib.rcParamsDefault.items() if not name.startswith("backend")
}
RC = DEFAULTS | {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters on every machine
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.title_fontsize": SMALL,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "legend.columnspacing": 1.4,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.which": "major",
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "hatch.linewidth": 0.5,
}
# Text stays text in the PDF, and the same figure is the same bytes.
SAVING = {"pdf.fonttype": 42, "svg.hashsalt": "collapse", "savefig.dpi": 300}

METRIC_LABELS = {
    "NC0": "NC0",
    "NC0_normalised": "NC0, normalised",
    "NC1": "NC1",
    "NC2": "NC2",
    "NC2W": r"NC2$_W$",
    "NC2M": r"NC2$_M$",
    "NC2n": r"NC2$_n$",
    "NC2a": r"NC2$_a$",
    "NC2Wn": r"NC2$_{Wn}$",
    "NC2Wa": r"NC2$_{Wa}$",
    "NC3": "NC3",
    "NC4": "NC4",
    "gauge_share": r"$\|W^\top 1\|^2 / (K \|W\|_F^2)$",
    "NC2W_centred": r"NC2$_W$ of centred $W$",
    "NC3_centred": r"NC3 of centred $W$",
    "condition_number": "condition number of $M$",
    "effective_rank": "effective rank of $M$",
    "train_accuracy": "training accuracy",
    "test_accuracy": "validation accuracy",
    "train_loss": "training loss",
    "test_loss": "validation loss",
    "running_loss": "running training loss",
    "NCC_train": "NCC accuracy, training",
    "NCC_test": "NCC accuracy, validation",
    "within_over_between": r"tr $\Sigma_W$ / tr $\Sigma_B$",
    "numerical_rank": "numerical rank",
    "stable_rank": "stable rank",
    # of collapse.paper.layer_summaries
    "layer_NC1": r"NC1, tr $\Sigma_W$ / tr $\Sigma_B$",
    "layer_NC2": r"NC2, $\kappa(\bar Z)$",
    "layer_NC3": "NC3, mean cosine",
    "tail_input_NC2": "NC2, input of the tail",
    "tail_balancedness": "balancedness of the tail",
    "relu_balancedness": "least ReLU balancedness",
    "mean_relu_balancedness": "mean ReLU balancedness",
    "relu_negativity": "mean ReLU negativity",
}
LOG_METRICS = frozenset(
    {
        *("NC0", "NC0_normalised", "NC1", "condition_number", "train_loss", "test_loss", "running_loss"),
        *("within_over_between", "numerical_rank", "stable_rank"),
        *("layer_NC1", "layer_NC2", "tail_input_NC2", "tail_balancedness", "relu_balancedness"),
        "mean_relu_balancedness",
    }
)
SETTING_LABELS = {
    "learning_rate": r"learning rate $\eta$",
    "momentum": r"momentum $\beta$",
    "weight_decay": r"weight decay $\lambda$",
    "step_decay": r"$\eta\lambda$",
    "coupled_fraction": "coupled share of the weight decay",
    "epochs": "epochs",
    "epsilon": r"$\epsilon$",
    "optimizer": "optimizer",
    "seed": "seed",
    "width": "width",
    "linear_layers": "linear layers",
    "relu_layers": "ReLU layers",
    "head": "head",
    "feature_dimension": "feature dimension",
    "feature_decay": r"decay of features $\lambda_H$",
}
SETTING_SYMBOLS = {"learning_rate": r"$\eta$", "momentum": r"$\beta$", "weight_decay": r"$\lambda$"}
MARKERS = {"coupled": "o", "decoupled": "^", "interpolated": "s", "cautious": "v"}
DASHES = {
    "coupled": "-",
    "decoupled": (0, (4, 1.5)),
    "interpolated": (0, (4, 1.2, 1, 1.2)),
    "cautious": (0, (1, 1.2)),
}


def paper_style():
    """The style as a context and as a decorator of a `draw`: nothing global is changed."""
    return matplotlib.rc_context(RC)


def optimizer_style(name: str) -> dict[str, object]:
    """Colour, dashes and marker of an optimizer: solid with disks = coupled, dashed = decoupled."""
    entry = OPTIMIZERS[name]
    kind = str(entry.weight_decay_kind)
    return {"color": entry.colour, "linestyle": DASHES[kind], "marker": MARKERS[kind]}


def above(name: str) -> dict[str, float]:
    """The order of lines: dashed ones (decoupled) above full ones, so that both are seen where they meet."""
    return {"zorder": 2.0 if optimizer_style(name)["linestyle"] == "-" else 2.1}


def optimizer_handles(names: Iterable[str], *, line: bool, marker: bool) -> list[Line2D]:
    """Legend entries of the optimizers, with their line, their marker or both."""
    handles = []
    for name in names:
        look = optimizer_style(name)
        look |= {} if line else {"linestyle": "none"}
        look |= {} if marker else {"marker": "none"}
        handles.append(Line2D([], [], label=OPTIMIZERS[name].label, **look))
    return handles


def new_figure(*, rows: int, columns: int, panel_height: float) -> tuple[Figure, np.ndarray]:
    """A figure of rows x columns panels (axes as a 2-d array), `panel_height` inches each."""
    width = HALF_WIDTH if columns <= 2 else FULL_WIDTH
    figure = Figure(figsize=(width, rows * panel_height + 0.35), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    figure.align_labels()
    return figure, axes


def number_label(value: float) -> str:
    """A hyperparameter as text: 0.0679, 5e-4, 10."""
    if value == 0 or abs(value) >= 1e-3:
        return f"{value:g}"
    mantissa, exponent = f"{value:.6e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def band(values: Sequence[float], *, log: bool) -> tuple[float, float, float]:
    """Mean, mean - std, mean + std of runs (sample deviation; 0 of a single run).

    For a logarithmic axis all three of the logarithms: the geometric mean, and it divided and multiplied by
    the geometric deviation. An arithmetic mean - std can lie below every run there, or below zero.
    """
    numbers = np.log(values) if log else np.asarray(values, dtype=float)
    mean, deviation = numbers.mean(), numbers.std(ddof=1) if len(numbers) > 1 else 0.0
    edges = np.array([mean, mean - deviation, mean + deviation])
    return tuple((np.exp(edges) if log else edges).tolist())


def draw_mean(
    axis: Axes, places: Sequence[float], groups: Iterable[Sequence[float]], *, log: bool, **look: Any
) -> np.ndarray:
    """A line through the means of the runs at each place, in its `band`; returns the means."""
    mean, low, high = np.array([band(values, log=log) for values in groups]).T
    axis.plot(places, mean, **look)
    axis.fill_between(places, low, high, color=look["color"], alpha=0.18, linewidth=0)
    return mean


def remark(figure: Figure, remarks: Iterable[str]) -> None:
    """Say below the panels what they leave out; each remark once."""
    unique = [words for words in dict.fromkeys(remarks) if words]
    if unique:
        add_foot(figure, "; ".join(unique) + ".", slant="normal")


def legend_above(
    figure: Figure, handles: Sequence[Line2D], *, columns: int | None = None, title: str | None = None
) -> None:
    """The legend above all panels, where it hides nothing, in rows of like length."""
    if not handles:
        return
    lines = any(handle.get_linestyle() not in ("None", "none") for handle in handles)
    width = 0.86 if lines else 0.72
    if len(handles) > int(figure.get_figwidth() / width):  # in rows, a column is as wide as its longest name
        longest = max(len(str(handle.get_label())) for handle in handles)
        width = max(width, (0.55 * longest + (5.0 if lines else 3.4)) * SMALL / 72)
    fitting = int(figure.get_figwidth() / width)
    rows = -(-len(handles) // fitting)
    figure.legend(
        handles=list(handles),
        loc="outside upper center",
        ncols=columns or -(-len(handles) // rows),
        handlelength=2.4 if lines else 1.0,
        title=title,
    )


def characters_in(figure: Figure) -> int:
    """How many letters of the smallest type fit across the figure."""
    return int(figure.get_figwidth() * 72 / (0.58 * SMALL))


def save_figure(
    figure: Figure,
    *,
    pdf: str | PathLike,
    png: str | PathLike,
    title: str,
    study: str,
    note: str | None,
    code: str,
) -> None:
    """Write the figure as PDF and PNG, reproducible to the byte, titled in their metadata.

    `note` says at what scale the study is; it is printed below the panels, which keep their
    size. Title, study, note and the digest of the code (collapse.records.code_digest) stand in both files'
    metadata. The commit does not: the same figure drawn at the next commit is the same bytes, and
    the file's record (collapse.records.provenance) has it.
    """
    with matplotlib.rc_context(RC | SAVING):
        if note:
            add_foot(figure, note, slant="italic")
        subject = f"study {study}" + (f": {note}" if note else "")
        dates = {"CreationDate": None, "ModDate": None}
        about = {"Title": title, "Subject": subject, "Keywords": f"{study}, code {code}"}
        about |= {"Creator": "collapse"}
        figure.savefig(pdf, format="pdf", metadata=about | dates)
        about = {"Title": title, "Description": subject, "Source": study, "Code": code}
        about |= {"Software": "collapse"}
        figure.savefig(png, format="png", metadata=about)


def save_target(task: Any, figure: Figure) -> None:
    """`save_figure` to where, and with what title and note, a script's `snakemake` (`task`) says."""
    save_figure(
        figure,
        pdf=task.output.pdf,
        png=task.output.png,
        title=task.params.caption,
        study=task.config["study"],
        note=task.params.note,
        code=task.params.code,
    )


def balanced_lines(words: str, width: int) -> list[str]:
    """As few lines as `width` letters allow, of about the same length: no word left alone."""
    lines = textwrap.wrap(words, width)
    for narrower in range(-(-len(words) // max(len(lines), 1)), width):
        if len(balanced := textwrap.wrap(words, narrower)) == len(lines):
            return balanced
    return lines


def fitting_lines(words: str, width: int, *, points: float) -> list[str]:
    """`balanced_lines` of at most `width` letters, fewer where capitals make a line wider than `points`."""
    lines = balanced_lines(words, width)
    while width > 20 and max(map(points_of, lines)) > points:
        width -= 1
        lines = balanced_lines(words, width)
    return lines


def points_of(line: str) -> float:
    """The width of a line of the smallest type; formulas count as they are written, which is wider."""
    font = get_font(findfont(FontProperties()))
    font.set_size(SMALL, 72)
    font.set_text(line, flags=LoadFlags.NO_HINTING)
    return font.get_width_height()[0] / 64


def add_foot(figure: Figure, words: str, *, slant: str) -> None:
    """Lengthen the figure at its foot and print `words` there, below what the foot has already."""
    lines = fitting_lines(words, characters_in(figure), points=figure.get_figwidth() * 72)
    added = (len(lines) * 1.3 * SMALL + 4) / 72
    width, height = figure.get_size_inches()
    for text in figure.texts:
        text.set_y((text.get_position()[1] * height + added) / (height + added))
    engine = figure.get_layout_engine()
    share = (engine.get()["rect"][1] * height + added) / (height + added)
    engine.set(rect=(0, share, 1, 1 - share))
    figure.set_size_inches(width, height + added)
    place = {"ha": "center", "va": "bottom", "in_layout": False, "linespacing": 1.15}
    look = {"size": SMALL, "style": slant, "color": GREY}
    figure.text(0.5, 0.03 / (height + added), "\n".join(lines), **place, **look)
