"""What a figure or table leaves out, has only in part or cannot know is said on its face."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from figure_kinds import ADAMS, GRID, KINDS, SIX, TABLE_2
from figure_parts import drawn_lines, words
from matplotlib.collections import LineCollection
from synthetic import fail, load_script, make_study, undertrain

from collapse.paper.figures.axes import coinciding
from collapse.paper.figures.style import new_figure, optimizer_style
from collapse.paper.scale import scale_note, target_note
from collapse.paper.selection import absences, left_out, select
from collapse.paper.targets import targets_of

DRAW = {kind: load_script(f"figures/{kind}.py").draw for kind in KINDS}
SGDS = GRID | {"panels": [{"optimizers": ["SGD", "SGDW"], "metric": "NC3"}], "columns": 1}


@pytest.fixture(scope="module")
def study():
    return make_study(seed=0)


def labels(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def note_of(parameters, target, study="demo"):
    return target_note(parameters, study, parameters["figures"][target]["settings"])


def test_a_note_says_of_which_optimizers_it_speaks(parameters):
    """In demo's table 2 Adam and AdamW alone have another learning rate; in its grid some of their runs."""
    assert "learning rate 0.003 (Adam and AdamW)" in note_of(parameters, "figure_6")
    assert "learning rate 0.003 (Adam and AdamW)" in note_of(parameters, "figure_7")
    assert "learning rate 0.003 (some runs)" in note_of(parameters, "figure_1")
    of_six = "(some runs of Adam, AdamW, Signum and SignumW)"
    for figure in ("figure_2", "figure_11", "figure_12", "figure_13"):
        assert f"learning rate 0.003 {of_six}" in note_of(parameters, figure)
    assert "(some runs of Signum and SignumW)" in note_of(parameters, "figure_3")
    assert "learning rate" not in note_of(parameters, "figure_28")
    assert "(some candidates of Adam, " in note_of(parameters, "figure_17")


def test_a_note_is_of_the_runs_that_the_figure_selects(parameters):
    assert "; 24 epochs;" in note_of(parameters, "figure_22")
    assert "; 24, 72 epochs;" in note_of(parameters, "figure_25")
    where = [{"weight_decay": 0.0005 * 82.4}]
    note = scale_note(parameters, "demo", "zero_weight_decay", wheres=where)
    assert "; 24 epochs;" in note, "weight decays are compared as the runs have them"


def test_a_study_at_the_papers_scale_says_so(parameters):
    assert note_of(parameters, "figure_6", "evidence") == "evidence study, at the paper's scale"


def test_captions_name_the_data_that_was_used(parameters):
    captions = {name: target["caption"] for name, target in targets_of(parameters, "demo", "figures").items()}
    assert captions["figure_2"].endswith("ResNet9 on Digits.")
    assert captions["figure_8"].endswith("ResNet9 on Digits."), "MNIST's stand-in is of that experiment alone"
    assert not [caption for caption in captions.values() if "MNIST" in caption]
    papers = targets_of(parameters, "paper", "figures")
    assert papers["figure_2"]["caption"].endswith("ResNet9 on FashionMNIST.")
    assert targets_of(parameters, "demo", "tables")["table_2"]["caption"].endswith("ResNet9 on Digits.")


def test_a_point_that_no_valid_run_makes_is_named(study):
    runs, history = study
    strongest = (runs["optimizer"] == "SGD") & (runs["weight_decay"] == 0.05)
    runs = undertrain(runs, strongest & (runs["experiment"] == "grid") & (runs["status"] == "done"))
    said = words(DRAW["weight_decay"](runs, history, **SGDS))
    assert "left out of SGD: " in said and "undertrained" in said
    assert "so no point at weight decay 0.05" in said
    its = select(runs, **GRID, optimizers=["SGD"], valid=False)
    counted = (its["status"] == "done").sum() - its["valid"].sum()
    assert f"{counted} undertrained" in said
    by_rate = GRID | {"optimizers": ["SGD", "SGDW"], "metrics": ["NC3"]}
    figure = DRAW["weight_decay_by_learning_rate"](runs, history, **by_rate)
    assert "so no point at learning rate" in words(figure)


def test_optimizers_that_are_not_run_yet_are_in_no_legend(study):
    runs, history = study
    later = (runs["experiment"] == "table_2") & runs["optimizer"].isin(["SGDW", "Signum", "SignumW"])
    runs = fail(runs, later, status="missing", reason="not measured yet")
    figure = DRAW["metric_curves"](runs, history, **KINDS["metric_curves"])
    assert labels(figure)[:3] == ["SGD", "Adam", "AdamW"] and len(labels(figure)) == 4  # and the closed form
    assert "3 of 6 runs so far; SGDW, Signum and SignumW: not run yet" in words(figure)
    figure = DRAW["singular_values"](runs, history, **KINDS["singular_values"])
    assert labels(figure) == ["SGD", "Adam", "AdamW", "smallest singular value"]
    its = select(runs, **TABLE_2, valid=False)
    assert absences(its, optimizers=["SGD", "SGDW"]) == ["3 of 6 runs so far", "SGDW: not run yet"]
    assert left_out(its, optimizers=["SGD"]) == ["3 of 6 runs so far"]


def test_one_run_has_no_band_and_one_among_single_runs_has_a_bar(study):
    runs, history = study
    its = select(runs, **GRID, optimizers=["Adam"])
    firsts = its.drop_duplicates("weight_decay")
    draw = DRAW["weight_decay"]
    single = KINDS["weight_decay"] | {"panels": [{"optimizers": ["Adam"], "metric": "NC3"}], "columns": 1}
    figure = draw(firsts, history, **single)
    assert "each point is one run" in words(figure)
    assert not [path for c in figure.axes[0].collections for path in c.get_paths()]
    second = its[~its["key"].isin(firsts["key"]) & (its["weight_decay"] == 0.0005)].head(1)
    figure = draw(pd.concat([firsts, second]), history, **single)
    assert "a point without a band is one run" in words(figure)
    (bars,) = [c for c in figure.axes[0].collections if isinstance(c, LineCollection)]
    (bar,) = bars.get_paths()
    assert set(bar.vertices[:, 0]) == {0.0005} and np.ptp(bar.vertices[:, 1]) > 0


def test_a_fit_needs_distinct_points_and_ends_at_zero(study):
    runs, history = study
    settings = KINDS["metric_scatter"] | {"by_learning_rate": False}
    its = select(runs, **GRID).head(4).copy()
    its.loc[its.index[1], ["NC0", "NC3"]] = its.loc[its.index[0], ["NC0", "NC3"]].to_numpy()
    figure = DRAW["metric_scatter"](its, history, **settings)
    assert "no fit: n = 4, 3 distinct" in words(figure) and not figure.axes[0].lines
    steep = select(runs, **GRID).head(12).copy()
    steep["NC0"], steep["NC3"] = np.geomspace(1e-6, 10, 12), [0.1] * 6 + [0.1, 0.2, 0.3, 0.5, 0.6, 0.7]
    figure = DRAW["metric_scatter"](steep, history, **settings)
    (line,) = figure.axes[0].lines
    assert line.get_ydata().min() >= 0 and line.get_xdata().min() > 1e-6
    assert "n = 12" in words(figure)


def test_an_optimizer_has_its_dashes_in_every_figure(study):
    runs, history = study
    curves = DRAW["metric_curves"](runs, history, **KINDS["metric_curves"]).axes[1].lines
    values = DRAW["singular_values"](runs, history, **KINDS["singular_values"]).axes[0].lines
    for lines in (curves, [line for line in values if line.get_linestyle() != ":"]):
        for line in lines:
            name = str(line.get_label())
            full = optimizer_style(name)["linestyle"] == "-"
            assert (line.get_linestyle() == "-") == full, name
            assert full or line.get_zorder() > 2, "above the full line that it may lie on"


def test_lines_that_cannot_be_told_apart_are_named(study):
    runs, history = study
    keys = select(runs, **TABLE_2).set_index("optimizer")["key"]
    same = history[history["key"] == keys["SGD"]].assign(key=keys["SGDW"])
    joined = pd.concat([history[history["key"] != keys["SGDW"]], same])
    figure = DRAW["metric_curves"](runs, joined, **KINDS["metric_curves"])
    assert "lines that coincide: SGD and SGDW in NC0, NC1, NC2 and NC3" in words(figure)
    assert "lines that coincide: SGD and SGDW in" in words(
        DRAW["singular_values"](runs, joined, **KINDS["singular_values"])
    )


def test_lines_coincide_where_they_do_so_nearly_all_the_way():
    _, axes = new_figure(rows=1, columns=1, panel_height=2)
    x = np.linspace(0, 1, 50)
    for name, y in {"a": x, "b": x + 0.002, "c": 1 - x, "d": x + 0.3 * (x < 0.2)}.items():
        axes[0, 0].plot(x, y, label=name)
    assert coinciding(axes[0, 0]) == [["a", "b"]]


def test_the_legend_of_two_settings_has_no_title_of_one(study):
    runs, history = study
    runs = runs.assign(epochs=np.where(runs["optimizer"] == "SGD", 200, 100))
    settings = KINDS["metric_curves"] | {"line": "momentum", "dash": "epochs"}
    figure = DRAW["metric_curves"](runs, history, **settings)
    assert not figure.legends[0].get_title().get_text()
    assert {r"$\beta$ = 0.9", "100 epochs", "200 epochs"} <= set(labels(figure))
    assert len(drawn_lines(figure.axes[1])) == len(SIX) and set(ADAMS) < set(SIX)


def test_dashes_of_a_setting_are_no_optimizers(study):
    """Where dashes tell a setting, the legend has optimizers in full lines, as are runs without it."""
    runs, history = study
    higher = runs["learning_rate"] > runs["learning_rate"].min()
    runs = runs.assign(feature_decay=np.where(higher, 0.1, np.nan))
    settings = KINDS["metric_curves"] | {"dash": "feature_decay"}
    figure = DRAW["metric_curves"](runs, history, **settings)
    handles = dict(zip(labels(figure), figure.legends[0].legend_handles, strict=True))
    assert {handles[name].get_linestyle() for name in ("SGD", "SGDW", "AdamW")} == {"-"}
    assert handles["feature decay 0.1"].get_linestyle() != "-"
