"""Runs that differ in their seed alone are one line, one point, one row: their mean, never one of them."""

from __future__ import annotations

import numpy as np
import pytest
from claim_rows import both, table
from conftest import ROOT
from figure_parts import drawn_lines, words
from synthetic import fail, load_script, make_paper, undertrain

from collapse.paper.optimizer_table import kept_nc0, optimizer_rows, print_optimizers
from collapse.paper.seeds import settings_of, words_on_seeds
from collapse.paper.selection import at_step_decay, remarks, select
from collapse.paper.targets import target_settings
from collapse.study.parameters import load_parameters
from collapse.theory.closed_forms import NC0_RATIOS
from collapse.theory.keepers import RowSum, head_by, nc3_floor, row_sum

PARAMETERS = load_parameters(ROOT / "params.yaml")
CHOSEN = {"experiment": "optimizers", "optimizers": ["MuonW"], "valid": False}


@pytest.fixture(scope="module")
def paper():
    """With three seeds of every setting of the experiment `optimizers`."""
    return make_paper(seed=0)


def drawn(number, runs, history, **changes):
    target = PARAMETERS["figures"][f"figure_{number}"]
    settings = target_settings(PARAMETERS, "paper", target["settings"]) | changes
    return load_script(f"figures/{target['script']}.py").draw(runs, history, **settings)


def test_a_line_is_the_geometric_mean_of_seeds(paper):
    runs, history = paper
    figure = drawn(101, runs, history, optimizers=["SGDW", "MuonW"])
    its = at_step_decay(select(runs, **CHOSEN | {"optimizers": ["SGDW", "MuonW"]}), of="SGDW")
    keys = its[its["optimizer"] == "MuonW"].drop_duplicates("seed")["key"]
    line = next(line for line in drawn_lines(figure.axes[0]) if line.get_label() == "MuonW")
    logged = history[history["key"].isin(keys)].groupby("epoch")["NC0"]
    np.testing.assert_allclose(line.get_ydata(), np.exp(logged.apply(lambda nc0: np.log(nc0).mean())))
    assert len(figure.axes[0].collections) == len(list(settings_of(its)))  # a band each
    assert "each line is the mean over 3 seeds" in words(figure)


def test_a_seed_that_broke_off_is_counted(paper):
    runs, history = paper
    one = (runs["experiment"] == "optimizers") & (runs["optimizer"] == "MuonW") & (runs["seed"] == 1)
    runs = fail(runs, one, status="diverged", reason="x")
    assert "MuonW over 2 of 3" in words(drawn(101, runs, history))
    every = select(runs, **CHOSEN)
    said = words_on_seeds(every, shown=every[every["valid"].astype(bool)], what="point")
    assert said == ["each point is the mean over 3 seeds", "MuonW over 2 of 3"]
    assert words_on_seeds(every, shown=every, what="line", apart=["seed"]) == []


def test_undertrained_seeds_are_one_remark(paper):
    runs, _ = paper
    its = next(settings_of(select(runs, **CHOSEN)))
    its = undertrain(its, its["key"].notna())
    its["train_accuracy"] = [0.93, 0.95, 0.94]
    said = remarks(its, shown=its, optimizers=["MuonW"])
    assert said == ["MuonW undertrained with 3 seeds: 93.0% to 95.0% training accuracy"]


def test_decays_are_compared_at_equal_products():
    rates = {"SGDW": [(0.1, 0.01), (0.1, 0.1)], "LionW": [(0.001, 0.9), (0.001, 9.0), (0.001, 0.0)]}
    runs = table(
        *(both(name, decay, 1, 1, learning_rate=rate) for name, each in rates.items() for rate, decay in each)
    )
    chosen = at_step_decay(runs, of="SGDW")
    assert chosen[["optimizer", "weight_decay"]].to_numpy().tolist() == [["SGDW", 0.01], ["LionW", 0.9]]
    assert len(at_step_decay(runs, of="MuonW")) == len(runs)


def test_the_axis_of_products_has_its_name_and_the_seeds_are_counted(paper):
    figure = drawn(102, *paper)
    assert {axis.get_xlabel() for axis in figure.axes} == {r"$\eta\lambda$"}
    its = select(paper[0], **CHOSEN)
    line = next(line for line in drawn_lines(figure.axes[0]) if line.get_color() == "#9B6FD0")
    products = sorted((its["learning_rate"] * its["weight_decay"]).unique())
    np.testing.assert_allclose(line.get_xdata(), products)
    assert "each point is the mean over 3 seeds" in words(figure)


def test_the_floor_of_nc3_is_drawn_where_theory_has_one(paper):
    left, right = drawn(103, *paper).axes
    (floor,) = left.lines
    np.testing.assert_allclose(floor.get_ydata(), nc3_floor(floor.get_xdata()))
    assert not right.lines and left.get_ylim() == right.get_ylim()


def test_nc3_of_a_weight_along_its_row_sum_is_at_the_floor():
    """The best W at share g of the row sum is the means' direction plus a part along 1."""
    means = np.eye(4) - 1 / 4
    weight = means / np.linalg.norm(means) + 0.3 * np.ones((4, 4)) / 4
    share = np.linalg.norm(weight.sum(0)) ** 2 / (4 * np.linalg.norm(weight) ** 2)
    nc3 = np.linalg.norm(weight / np.linalg.norm(weight) - means / np.linalg.norm(means))
    assert nc3 == pytest.approx(float(nc3_floor(share)))


def test_the_table_has_a_row_a_setting(paper):
    runs, _ = paper
    its = select(runs, experiment="optimizers", optimizers=["SGD", "MuonW", "AdamW", "AdamCautious"])
    found = optimizer_rows(its, optimizers=["SGD", "MuonW", "AdamW", "AdamCautious", "Lion"], floor=0.001)
    muon = found[found["optimizer"] == "MuonW"]
    assert len(muon) == 4 and set(muon["seeds"]) == {3} and set(muon["keeps_row_sum"]) == {RowSum.KEPT}
    assert muon["ratio"].to_numpy() == pytest.approx(1, abs=0.01)
    first = its[its["key"].isin(muon["keys"].iloc[0].split())]
    assert muon["NC3"].iloc[0] == pytest.approx(first["NC3"].mean())
    assert muon["NC3_sd"].iloc[0] == pytest.approx(first["NC3"].std())
    assert muon["NC0_sd"].iloc[0] == pytest.approx(np.log(first["NC0"]).std())
    assert found.set_index("optimizer").loc["Lion", "status"] == "no run in this study"
    assert kept_nc0(its[its["optimizer"] == "SGD"]).isna().all()
    assert kept_nc0(its[its["optimizer"] == "AdamCautious"]).notna().all()
    printed = print_optimizers(found)
    assert printed["NC3"].str.contains(" ± ").sum() == printed["NC0"].str.contains(" ×/÷ ").sum() == 14


def test_optimizers_with_a_closed_form_keep_the_row_sum():
    assert {row_sum(name) for name in NC0_RATIOS} <= {RowSum.KEPT, RowSum.ROUNDED}
    assert [head_by(name) for name in ("MuonW", "MuonHiddenW", "AdamW")] == ["own", "Adam", "own"]
