"""Every figure kind: what it draws, that it never fails or invents a number, how it is saved."""

from __future__ import annotations

import inspect
import runpy
import time
import warnings

import numpy as np
import pandas as pd
import pytest
from as_job import as_job
from figure_kinds import GRID, KINDS, TABLE_2
from figure_parts import assert_nothing_is_cut_off, drawn_lines, words
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.textpath import TextPath
from PIL import Image
from synthetic import SCRIPTS, fail, load_script, make_study, undertrain

from collapse.measuring.results import MEASURES
from collapse.optimizers import OPTIMIZERS as REGISTRY
from collapse.paper.figures.axes import decay_axis
from collapse.paper.figures.style import (
    METRIC_LABELS,
    SMALL,
    balanced_lines,
    band,
    fitting_lines,
    new_figure,
    number_label,
    optimizer_style,
    points_of,
    save_figure,
)
from collapse.paper.selection import select

DRAW = {kind: load_script(f"figures/{kind}.py").draw for kind in KINDS}


@pytest.fixture(scope="module")
def study():
    return make_study(seed=0)


@pytest.mark.parametrize("kind", KINDS)
def test_settings_are_keyword_only_and_have_no_defaults(kind):
    parameters = list(inspect.signature(DRAW[kind]).parameters.values())
    assert [p.name for p in parameters[:2]] == ["runs", "history"]
    assert {p.name for p in parameters[2:]} == set(KINDS[kind])
    assert all(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters[2:])


CASES = [(kind, case) for kind in KINDS for case in ("all", "none valid", "no runs", "one run")]
CASES += [("metric_curves", "no history"), ("singular_values", "no history")]


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_a_figure_is_drawn_whatever_there_is(kind, case, study, tmp_path):
    runs, history = study
    if case == "none valid":
        runs = fail(runs, runs["key"].notna(), status="diverged", reason="x")
    elif case == "no runs":
        runs = runs.iloc[:0]
    elif case == "one run":
        runs = select(runs, experiment=KINDS[kind]["experiment"]).head(1)
    elif case == "no history":
        history = history.iloc[:0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = DRAW[kind](runs, history, **KINDS[kind])
        figure.draw_without_rendering()
    assert_nothing_is_cut_off(figure)
    if case == "no history":
        assert "nothing was logged" in words(figure)
    if case in ("none valid", "no runs"):
        said = words(figure)
        assert {"none valid": "diverged", "no runs": "no run"}[case] in said
        assert not [line for axis in figure.axes for line in drawn_lines(axis)]
        assert not [c for axis in figure.axes for c in axis.collections if kind != "heatmap"]


def test_weight_decay_draws_mean_and_deviation_of_the_valid_runs(study):
    runs, history = study
    figure = DRAW["weight_decay"](runs, history, **KINDS["weight_decay"])
    axis = figure.axes[1]  # NC3, a linear axis
    adam = drawn_lines(axis)[0]
    groups = select(runs, **GRID, optimizers=["Adam"]).groupby("weight_decay")["NC3"]
    np.testing.assert_allclose(adam.get_xdata(), sorted(groups.groups))
    np.testing.assert_allclose(adam.get_ydata(), groups.mean().sort_index())
    edges = axis.collections[0].get_paths()[0].vertices
    at_zero = edges[edges[:, 0] == 0][:, 1]
    np.testing.assert_allclose(at_zero.max(), groups.mean()[0.0] + groups.std()[0.0])
    np.testing.assert_allclose(at_zero.min(), groups.mean()[0.0] - groups.std()[0.0])
    assert figure.axes[0].get_yscale() == "log"
    assert adam.get_color() == REGISTRY["Adam"].colour


def test_an_optimizer_without_a_valid_run_is_named_with_the_reason(study):
    runs, history = study
    adamw = runs["optimizer"] == "AdamW"
    runs = fail(runs, adamw & (runs["momentum"] < 0.8), status="diverged", reason="x")
    runs = undertrain(runs, adamw & (runs["momentum"] > 0.8) & (runs["status"] == "done"))
    figure = DRAW["weight_decay"](runs, history, **KINDS["weight_decay"])
    diverged = (select(runs, **GRID, optimizers=["AdamW"], valid=False)["status"] != "done").sum()
    assert f"no valid run of AdamW here: {diverged} diverged, {108 - diverged} under" in words(figure)
    assert all(len(drawn_lines(axis)) == 1 for axis in figure.axes)


def test_panels_by_learning_rate_hold_a_line_a_momentum(study):
    runs, history = study
    figure = DRAW["weight_decay_by_learning_rate"](runs, history, **KINDS["weight_decay_by_learning_rate"])
    assert len(figure.axes) == 6
    solid = [line for line in drawn_lines(figure.axes[0]) if line.get_linestyle() == "-"]
    assert len(solid) == 6
    assert len({line.get_marker() for line in solid}) == 6
    assert figure.axes[0].get_title() == r"$\eta$ = 0.001"


def test_scatter_shows_the_fit_and_counts_what_has_no_place(study):
    runs, history = study
    settings = KINDS["metric_scatter"] | {"by_learning_rate": False}
    valid = select(runs, **GRID)
    changed = runs.copy()
    changed.loc[valid.index[:3], "NC0"] = 0.0
    figure = DRAW["metric_scatter"](changed, history, **settings)
    said = words(figure)
    assert f"n = {len(valid) - 3}" in said
    assert f"3 of {len(valid)} not shown" in said
    points = sum(len(c.get_offsets()) for c in figure.axes[0].collections)
    assert points == len(valid) - 3
    (line,) = figure.axes[0].lines
    slope, intercept = np.polyfit(np.log10(valid["NC0"].iloc[3:]), valid["NC3"].iloc[3:].astype(float), 1)
    np.testing.assert_allclose(line.get_ydata(), intercept + slope * np.log10(line.get_xdata()), rtol=1e-6)


def test_heatmap_never_shows_a_number_for_a_run_that_has_none(study):
    runs, history = study
    cell = (runs["experiment"] == "momentum_heatmap") & (runs["momentum"] == 0.9)
    runs = fail(runs, cell & (runs["weight_decay"] == 0), status="diverged", reason="x")
    runs = undertrain(runs, cell & (runs["weight_decay"] == 0.005))
    runs = runs[~(cell & (runs["weight_decay"] == 0.0005))]
    strict = DRAW["heatmap"](runs, history, **KINDS["heatmap"])
    loose = DRAW["heatmap"](runs, history, **KINDS["heatmap"] | {"require_valid": False})
    for figure, undertrained in ((strict, 2), (loose, 0)):  # one of its own makes two
        axis = figure.axes[0]
        shown = [text.get_text() for text in axis.texts]
        assert shown.count("div.") == 1
        assert shown.count("–") == 1
        assert shown.count("und.") == undertrained
        assert len(shown) == 56
        numbers = [text for text in shown if text[0].isdigit()]
        assert len(numbers) == 54 - undertrained
    assert "div.: diverged" in words(strict)
    assert "cut corner" in words(loose)


def test_curves_pass_over_epochs_without_a_measurement(study):
    runs, history = study
    figure = DRAW["metric_curves"](runs, history, **KINDS["metric_curves"])
    nc0, nc1 = figure.axes[0], figure.axes[1]
    assert len(nc0.lines) == 6 + 2  # SGD's and SGDW's closed forms
    assert len(nc1.lines) == 6
    assert len(nc0.lines[0].get_xdata()) == history["epoch"].nunique()
    assert len(nc1.lines[0].get_xdata()) == history[history["measured"]]["epoch"].nunique()
    assert all(np.isfinite(line.get_ydata()).all() for line in nc1.lines)
    run = select(runs, **TABLE_2, optimizers=["SGD"]).iloc[0]
    logged = history[history["key"] == run["key"]]
    np.testing.assert_allclose(nc0.lines[6].get_ydata(), logged["NC0_closed_form"])


def test_curves_can_be_told_apart_by_another_column(study):
    runs, history = study
    settings = KINDS["metric_curves"] | {"line": "learning_rate", "metrics": ["train_loss"]}
    figure = DRAW["metric_curves"](runs, history, **settings)
    assert "learning rate" in words(figure)
    assert len({str(line.get_color()) for line in figure.axes[0].lines}) == 2


def test_singular_values_are_the_smallest_and_the_mean_of_the_others(study):
    runs, history = study
    figure = DRAW["singular_values"](runs, history, **KINDS["singular_values"])
    run = select(runs, **TABLE_2, optimizers=["SGD"]).iloc[0]
    logged = history[history["key"] == run["key"]]
    values = np.stack(logged["singular_values_W"])
    mean, smallest = figure.axes[0].lines[:2]
    np.testing.assert_allclose(mean.get_ydata(), values[:, :-1].mean(axis=1))
    np.testing.assert_allclose(smallest.get_ydata(), values[:, -1])
    assert smallest.get_linestyle() == ":"
    assert len(figure.axes[1].lines) == 2 * 5


def test_a_band_on_a_logarithmic_axis_is_of_the_logarithms():
    """1, 1, 1, 81: log3 has mean 1 and deviation 2."""
    assert band([1.0, 1.0, 1.0, 81.0], log=True) == pytest.approx((3.0, 1 / 3, 27.0))
    assert band([1.0, 1.0, 1.0, 9.0], log=False) == (3.0, -1.0, 7.0)
    assert band([2.0], log=True) == pytest.approx((2.0, 2.0, 2.0))


@pytest.mark.parametrize(
    "decays", [[0, 5e-5, 0.5], [5e-4, 5], [0], [0, 0.0021], [0.3], [0, 0.0021, 0.021, 420]]
)
def test_the_decay_axis_has_a_place_for_every_value(decays):
    figure, axes = new_figure(rows=1, columns=1, panel_height=1.5)
    axis = axes[0, 0]
    decay_axis(axis, decays)
    places = axis.transData.transform([(x, 0) for x in decays])[:, 0]
    inside = axis.get_window_extent()
    assert inside.x0 <= places.min() <= places.max() <= inside.x1
    assert (np.diff(places) > 5).all()
    labels = [label.get_text() for label in axis.get_xticklabels()]
    assert ("0" in labels) == (0 in decays)
    figure.draw_without_rendering()


def test_numbers_of_hyperparameters():
    for text in ("0", "0.0679", "5e-4", "2.5e-5", "10", "0.001"):
        assert number_label(float(text)) == text


def test_every_metric_and_optimizer_has_its_look():
    assert set(MEASURES) <= set(METRIC_LABELS)
    assert len({entry.colour for entry in REGISTRY.values()}) == len(REGISTRY)
    for name, entry in REGISTRY.items():
        solid = optimizer_style(name)["linestyle"] == "-"
        assert solid == (str(entry.weight_decay_kind) == "coupled")


def test_as_a_script_of_snakemake_it_reads_the_results_and_writes_both_files(study, tmp_path):
    for table, name in zip(study, ("runs", "history"), strict=True):
        table.to_parquet(tmp_path / name)
    job = as_job(
        tmp_path,
        "figures/singular_values.py",
        input={"runs": tmp_path / "runs", "history": tmp_path / "history"},
        output={"pdf": tmp_path / "7.pdf", "png": tmp_path / "7.png"},
        params={"settings": KINDS["singular_values"], "caption": "Figure 7", "note": None},
        config={"study": "demo"},
    )
    script = SCRIPTS / "figures" / "singular_values.py"
    runpy.run_path(str(script), init_globals={"snakemake": job})
    about = Image.open(job.output.png).text
    assert about["Title"] == "Figure 7" and about["Code"] == job.params.code
    assert job.output.pdf.read_bytes().startswith(b"%PDF")


def test_files_are_reproducible_titled_and_their_foot_is_apart(study, tmp_path):
    runs, history = study
    runs = fail(runs, runs["optimizer"] == "AdamW", status="diverged", reason="x")
    note = "demo study, not the paper's scale: ResNet9 at width 1/8; Digits stands in for " * 2
    contents = []
    for attempt in range(2):
        time.sleep(1.1 * attempt)  # dates in files have seconds
        figure = DRAW["weight_decay"](runs, history, **KINDS["weight_decay"])
        pdf, png = tmp_path / f"{attempt}.pdf", tmp_path / f"{attempt}.png"
        save_figure(figure, pdf=pdf, png=png, title="Figure 1", study="demo", note=note, code="c0de")
        contents.append((pdf.read_bytes(), png.read_bytes()))
    assert contents[0] == contents[1]
    assert b"CreationDate" not in contents[0][0] and b"demo, code c0de" in contents[0][0]
    assert b"/Type42" in contents[0][0] or b"CIDFontType2" in contents[0][0]
    about = Image.open(tmp_path / "0.png").text
    assert about["Title"] == "Figure 1"
    assert about["Description"].startswith("study demo: demo study")
    reason, foot = figure.texts
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in (foot, reason)]
    assert boxes[0].y0 >= 0
    assert boxes[0].y1 <= boxes[1].y0
    panels = [axis.get_tightbbox(renderer) for axis in figure.axes]
    assert all(boxes[1].y1 <= panel.y0 + 1 for panel in panels)
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in boxes)


def test_words_at_the_foot_fit_even_in_capitals():
    def widest(lines):
        """As matplotlib draws them, in points."""
        return max(TextPath((0, 0), line, size=SMALL).get_extents().width for line in lines)

    words = "lines that coincide: SGDW, MARSMuonW, MMMMWWWW, AdamCentredW, MuonW, SOAPW and MARSW in NC0"
    points = 0.9 * widest(balanced_lines(words, 60))
    lines = fitting_lines(words, 60, points=points)
    assert widest(lines) <= 1.01 * points and " ".join(lines) == words
    assert points_of(words) == pytest.approx(widest([words]), rel=0.02)
    assert fitting_lines(words, 60, points=1000) == balanced_lines(words, 60)


def test_optimizers_whose_lines_coincide_are_named(study):
    runs, history = study
    as_adam = runs[runs["optimizer"] == "Adam"].assign(optimizer="AdamW", key=lambda its: "x" + its["key"])
    both = pd.concat([runs[runs["optimizer"] == "Adam"], as_adam], ignore_index=True)
    figure = DRAW["weight_decay"](both, history, **KINDS["weight_decay"])
    assert "lines that coincide: Adam and AdamW in NC" in words(figure)
