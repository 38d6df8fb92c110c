"""Every table and figure of params.yaml is made, whatever became of its runs, and says what it lacks."""

from __future__ import annotations

import inspect
import warnings

import pytest
from conftest import ROOT
from figure_parts import assert_nothing_is_cut_off, drawn_lines, words
from synthetic import fail, load_script, make_depth, make_paper

from collapse.paper.selection import select
from collapse.paper.targets import target_settings, targets_of
from collapse.study.parameters import load_parameters

PARAMETERS = load_parameters(ROOT / "params.yaml")


def targets(kind):
    """The paper's tables or figures, with their settings as its study has them."""
    return {
        name: target | {"settings": target_settings(PARAMETERS, "paper", target["settings"])}
        for name, target in targets_of(PARAMETERS, "paper", kind).items()
    }


FIGURES, TABLES = targets("figures"), targets("tables")
CASES = ("all", "all diverged", "all missing", "no runs", "one valid run")
REASONS = {
    "all diverged": ("diverged", "found 0"),
    "all missing": ("not run yet", "missing", "found 0"),  # table 4 counts them
    "no runs": ("no run", "planned", "found 0"),
}


@pytest.fixture(scope="module")
def paper():
    return make_paper(seed=0)


def conditions(settings) -> dict:
    """What `select` needs to find the runs of a target; of its first panel if panels differ."""
    panel = settings.get("panels", [settings])[0]
    optimizers = [settings["optimizer"]] if "optimizer" in settings else panel.get("optimizers")
    names = ("experiment", "architecture", "dataset")
    chosen = {name: settings[name] for name in names if name in settings}
    return chosen | {"optimizers": optimizers, "where": panel.get("where")}


def runs_of(case: str, runs, settings):
    """The runs of a target's experiment in one of `CASES`."""
    here = runs[runs["experiment"] == settings["experiment"]]
    if case == "all":
        return here
    if case == "no runs":
        return here.iloc[:0]
    if case == "all missing":
        return fail(here, here["key"].notna(), status="missing", reason="not measured yet")
    survivor = select(runs, **conditions(settings))["key"].iloc[0]
    lost = here["key"].notna() if case == "all diverged" else here["key"] != survivor
    return fail(here, lost, status="diverged", reason="the loss is not finite")


def settle(function, runs, history, settings):
    """The function on the tables that it takes, with no warning let pass."""
    tables = {"runs": runs, "history": history, "depth": make_depth(runs)}
    taken = [tables[name] for name in inspect.signature(function).parameters if name in tables]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return function(*taken, **settings)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_of_the_paper(name, case, paper):
    runs, history = paper
    settings = FIGURES[name]["settings"]
    draw = load_script(f"figures/{FIGURES[name]['script']}.py").draw
    figure = settle(draw, runs_of(case, runs, settings), history, settings)
    lines = [line for axis in figure.axes for line in drawn_lines(axis)]
    points = [line for axis in figure.axes for line in axis.lines]
    dots = [c for axis in figure.axes for c in axis.collections if len(c.get_offsets())]
    assert_nothing_is_cut_off(figure)
    said = words(figure)
    if case == "all":
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figure.draw_without_rendering()
        assert all(axis.has_data() for axis in figure.axes)
        assert not any(reason in said for reason in ("no valid run", "no run of", "nothing was logged"))
    elif case == "one valid run":
        assert points or dots
        alone = len(select(runs, **conditions(settings), valid=False)) == 1
        assert alone or "diverged" in said or "div." in said
    else:
        assert not lines and not (dots and FIGURES[name]["script"] != "heatmap")
        assert any(reason in said for reason in REASONS[case])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_the_paper(name, case, paper):
    runs, history = paper
    settings = TABLES[name]["settings"]
    make = load_script(f"tables/{TABLES[name]['script']}.py").make
    table = settle(make, runs_of(case, runs, settings), history, settings)
    said = table.to_string()
    assert len(table)
    if case in REASONS:
        assert any(reason in said for reason in REASONS[case])
        numbers = [column for column in table if column in ("NC0", "NC1", "NC2", "NC3", "beta")]
        assert table[numbers].isna().all(axis=None)
