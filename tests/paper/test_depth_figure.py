"""Figure 105: lines at the points of the trunk, and on its face what has no place there."""

from __future__ import annotations

import inspect

import numpy as np
import pandas as pd
import pytest
from figure_parts import assert_nothing_is_cut_off, drawn_lines, words
from synthetic import OPTIMIZERS, POINTS, SCRIPTS, fail, load_script, make_depth, make_paper

from collapse.paper.signatures import tables_of

SCRIPT = load_script("figures/depth.py")
SETTINGS = {
    "experiment": "depth",
    "architecture": "ResNet9",
    "dataset": "FashionMNIST",
    "optimizers": list(OPTIMIZERS),
    "where": None,
    "step_decay_of": None,
    "views": ["whole"],
    "point_metrics": ["NCC_test", "within_over_between", "numerical_rank"],
    "require_valid": False,
}


@pytest.fixture(scope="module")
def runs():
    return make_paper(seed=0)[0]


def test_it_takes_the_table_that_the_others_do_not():
    assert tables_of(SCRIPTS / "figures/depth.py") == ["runs", "depth"]
    others = {
        script: tables_of(script) for script in (SCRIPTS / "figures").glob("*.py") if script.stem != "depth"
    }
    assert not any("depth" in tables for tables in others.values())
    assert {
        name for name, it in inspect.signature(SCRIPT.draw).parameters.items() if it.kind == it.KEYWORD_ONLY
    } == set(SETTINGS)


def test_a_line_an_optimizer_and_one_of_the_initialisation(runs):
    figure = SCRIPT.draw(runs, make_depth(runs), **SETTINGS)
    figure.draw_without_rendering()
    assert_nothing_is_cut_off(figure)
    ratio = figure.axes[1]
    lines = {str(line.get_label()): line for line in drawn_lines(ratio)}
    assert set(OPTIMIZERS) <= set(lines) and len(lines) == 7
    assert lines["AdamW"].get_ydata() == pytest.approx([1.5 * 0.6**place for place in range(1, 8)])
    assert [label.get_text() for label in ratio.get_xticklabels()] == list(POINTS)
    assert ratio.get_yscale() == "log" and figure.axes[0].get_yscale() == "linear"
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [*OPTIMIZERS, "initialisation", "$K - 1$"]
    assert figure.axes[2].lines[-1].get_ydata()[0] == 9, "the rank at collapse"


def test_seeds_are_a_mean_with_a_band(runs):
    its = runs[runs["experiment"] == "depth"]
    again = its.assign(key=its["key"] + "-1", seed=1)
    depth = make_depth(its)
    other = depth.assign(key=depth["key"] + "-1", within_over_between=4 * depth["within_over_between"])
    figure = SCRIPT.draw(pd.concat([its, again]), pd.concat([depth, other]), **SETTINGS)
    line = next(line for line in figure.axes[1].lines if line.get_label() == "Adam")
    assert line.get_ydata()[0] == pytest.approx(2 * 1.5 * 0.4), "the geometric mean"
    assert len(figure.axes[1].collections) == 7 and "a line is the mean of 2 runs" in words(figure)


def test_a_point_without_a_number_breaks_the_line_and_is_named(runs):
    depth = make_depth(runs)
    dead = depth["key"].str.contains("-SGD-") & (depth["point"] == "block2") & (depth["epoch"] > 0)
    depth.loc[dead, ["within_over_between", "numerical_rank"]] = np.nan, 0
    figure = SCRIPT.draw(runs, depth, **SETTINGS)
    line = next(line for line in figure.axes[1].lines if line.get_label() == "SGD")
    assert np.isnan(line.get_ydata()[1]) and np.isfinite(np.delete(line.get_ydata(), 1)).all()
    said = words(figure)
    assert "no tr $\\Sigma_W$ / tr $\\Sigma_B$ of SGD at block2" in said
    assert "no numerical rank of SGD at block2" in said and "no NCC" not in said


def test_both_views_are_rows_and_runs_that_broke_off_are_said(runs):
    lost = (runs["experiment"] == "depth") & (runs["optimizer"] == "SignumW")
    broken = fail(runs, lost, status="diverged", reason="the loss is not finite")
    figure = SCRIPT.draw(broken, make_depth(broken), **SETTINGS | {"views": ["pooled", "whole"]})
    assert [axis.get_title() for axis in figure.axes] == ["pooled features"] * 3 + ["whole features"] * 3
    assert "SignumW" not in [text.get_text() for text in figure.legends[0].get_texts()]
    assert "no valid run of SignumW here: 1 diverged" in words(figure)


def test_without_any_run_each_panel_says_so(runs):
    figure = SCRIPT.draw(runs[runs["experiment"] == "grid"], make_depth(runs)[:0], **SETTINGS)
    assert all(
        "no run in this study" in " ".join(t.get_text() for t in axis.texts).replace("\n", " ")
        for axis in figure.axes
    )
    nothing = SCRIPT.draw(runs, make_depth(runs)[:0], **SETTINGS)
    assert "no point of a trunk was measured" in words(nothing)
