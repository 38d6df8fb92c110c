"""The choice of runs by their settings, and what is said of those that are not there."""

from __future__ import annotations

import pytest
from synthetic import fail, make_paper, undertrain

from collapse.paper.selection import drawable, remarks, run_name, select, setting_words, smallest

LONG = {"experiment": "long_training"}


@pytest.fixture(scope="module")
def runs():
    return make_paper(seed=0)[0]


def test_the_ends_are_those_of_the_otherwise_selected_runs(runs):
    assert runs["epochs"].max() == 2000
    assert set(select(runs, **LONG, where={"epochs": "smallest"})["epochs"]) == {200}
    assert set(select(runs, **LONG, where={"epochs": "largest"})["epochs"]) == {2000}
    sgd = select(runs, **LONG, optimizers=["SGD"], where={"weight_decay": "largest", "epochs": "largest"})
    assert sgd[["weight_decay", "momentum", "epochs"]].to_numpy().tolist() == [[0.0025, 0.95, 2000]]
    calm = select(runs, **LONG, optimizers=["SGD"], where={"momentum": 0, "weight_decay": "largest"})
    assert set(calm["weight_decay"]) == {0.0005}


def test_the_ends_do_not_depend_on_what_is_valid(runs):
    broken = fail(runs, runs["epochs"] == 2000, status="diverged", reason="x")
    assert select(broken, **LONG, where={"epochs": "largest"}).empty
    assert len(select(broken, **LONG, where={"epochs": "largest"}, valid=False)) == 18


def test_a_list_means_any_of_it_and_ends_are_for_numbers(runs):
    two = select(runs, experiment="momentum_dynamics", where={"momentum": [0.7, 0.9]})
    assert sorted(two["momentum"]) == [0.7, 0.9]
    assert select(runs, **LONG, where={"status": "largest"}).empty
    assert len(select(runs, **LONG, where={"epochs": None})) == 36
    assert select(runs.iloc[:0], **LONG, where={"epochs": "smallest"}).empty
    with pytest.raises(KeyError, match="epoch"):
        select(runs, **LONG, where={"epoch": "smallest"})


def test_one_run_an_optimizer_of_those_that_may_be_drawn(runs):
    grid = select(runs, experiment="grid", valid=False)
    best = drawable(grid, require_valid=True, run_of_smallest="NC3")
    assert list(best["key"]) == list(smallest(grid[grid["valid"]], metric="NC3")["key"])
    assert len(best) == 6
    assert drawable(grid, require_valid=True).equals(grid[grid["valid"]])


def test_all_that_is_not_shown_is_named(runs):
    its = select(runs, experiment="zero_weight_decay", valid=False, where={"weight_decay": 0})
    its = fail(its, its["epochs"] == 2000, status="diverged", reason="x")
    its = undertrain(its, its["momentum"] == 0.7)
    where = {"momentum": [0.7, 0.5], "epochs": "smallest"}
    shown = drawable(its, require_valid=True)
    said = remarks(its, shown=shown, optimizers=["SGD", "Adam"], by=["momentum", "epochs"], where=where)
    assert said == [
        "no run of Adam in this study",
        "no valid run of SGD at momentum 0, 2000 epochs here: 1 diverged",
        "no valid run of SGD at momentum 0.7, 200 epochs here: 1 undertrained",
        "no valid run of SGD at momentum 0.98, 2000 epochs here: 1 diverged",
        "no run with momentum 0.5 in this study",
    ]


def test_runs_in_words(runs):
    run = select(runs, experiment="interpolation").iloc[1]
    assert run_name(run, by=[]) == "AdamInterpolated"
    assert run_name(run, by=["coupled_fraction"]) == "AdamInterpolated at coupled fraction 0.2"
    assert setting_words("weight_decay", 0.00005) == "weight decay 5e-05"
    assert setting_words("dataset", "MNIST") == "dataset MNIST"
