"""Figures and claims of layers (Jacot et al. 2024): what they show of a made-up study, and what fails."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from figure_parts import assert_nothing_is_cut_off, words
from synthetic import SCRIPTS, load_script
from synthetic_layers import STUDY, make_layers_study

from collapse.paper.claims.jacot import findings
from collapse.paper.layer_summaries import at_the_end, exposure_by_epoch, summaries
from collapse.paper.signatures import tables_of
from collapse.paper.targets import target_settings, targets_of

CLAIMS = ["J-a", "J-b", "J-c", "J-d", "J-e", "J-f"]


@pytest.fixture(scope="module")
def study():
    return make_layers_study(ROOT / "params.yaml")


def drawn(target, study, parameters):
    entry = targets_of(parameters, STUDY, "figures")[target]
    script = load_script(f"figures/{entry['script']}.py")
    figure = script.draw(*study, **target_settings(parameters, STUDY, entry["settings"]))
    figure.draw_without_rendering()
    return figure


@pytest.mark.parametrize("target", [f"jacot_figure_{n}" for n in (1, 2, 3, 11, 12, 13)])
def test_every_figure_is_drawn_of_the_study_and_of_one_without_a_valid_run(target, study, parameters):
    entry = parameters["figures"][target]
    assert tables_of(SCRIPTS / f"figures/{entry['script']}.py") == ["runs", "layers"]
    assert_nothing_is_cut_off(drawn(target, study, parameters))
    runs, layers = study
    failed = runs.assign(status="diverged", valid=False, reason="loss is not finite at epoch 3")
    said = words(drawn(target, (failed, layers[:0]), parameters))
    assert "no valid run" in said or "no run" in said, said


def test_balanced_and_unbalanced_panels_and_the_coupled_share(study, parameters):
    figure = drawn("jacot_figure_11", study, parameters)
    panels = {axis.get_title(): axis for axis in figure.axes if axis.get_title()}
    adam, adamw, between = (panels[name].lines for name in ("Adam", "AdamW", "Adam–AdamW"))
    assert adam[0].get_ydata()[-1] < 0.02 and adamw[0].get_ydata()[-1] > 2.9
    assert panels["AdamW"].get_xlim()[1] > 6 > panels["Adam"].get_xlim()[1], "weight decay times rates"
    known = panels["SGD"].lines[-1]
    assert known.get_linestyle() == ":" and known.get_ydata()[-1] == pytest.approx(np.exp(-13.8), rel=0.1)
    shares, ends = between[0].get_data()
    assert list(shares) == [0, 0.25, 0.5, 1] and ends[0] > 2.9 and max(ends[1:]) < 0.02


def test_the_matrices_are_those_of_the_linear_layers(study, parameters):
    figure = drawn("jacot_figure_1", study, parameters)
    images = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title() for axis in images] == [f"class means of layer {layer}" for layer in (7, 8, 9)]
    np.testing.assert_array_equal(images[0].images[0].get_array(), np.eye(10))


def test_points_without_a_finite_bound_are_counted(study, parameters):
    said = words(drawn("jacot_figure_12", study, parameters))
    assert "have no finite bound" in said and "points of" in said


def test_the_slope_of_nc1_is_the_laws(study, parameters):
    said = words(drawn("jacot_figure_13", study, parameters))
    assert "1.50" in said


def test_a_run_that_is_left_out_is_said_so_and_why(study, parameters):
    runs, layers = study
    one = (runs.experiment == "linear_layers") & (runs.linear_layers == 5) & (runs.seed == 1)
    reason = runs.reason.mask(one, "collapsed to zero: training loss 0.5000")
    said = words(
        drawn("jacot_figure_2", (runs.assign(valid=runs.valid & ~one, reason=reason), layers), parameters)
    )
    assert "left out of SGD: 1 collapsed to zero" in said


def test_summaries_are_of_the_last_features_and_of_pairs(study):
    runs, layers = study
    key = runs.key[runs.experiment == "through_training"].iloc[0]
    its = layers[(layers.key == key) & (layers.epoch == 0)].copy()
    its["balancedness"] = [0.5, 0.2, 0.9, 0.8, 0.7, 40.0, 3.0, 2.0, np.nan]  # six ReLU layers, three linear
    its["NC1"] = np.arange(9.0)
    found = summaries(its).iloc[0]
    assert found.layer_NC1 == 7 and found.tail_balancedness == 3.0
    assert found.relu_balancedness == 0.2 and found.mean_relu_balancedness == pytest.approx(0.62)


def test_the_end_of_a_run_without_layers_is_not_a_number(study):
    runs, layers = study
    table = at_the_end(runs[:2], layers[layers.key == runs.key[0]])
    assert table.layer_NC1.notna().tolist() == [True, False]


def test_exposure_is_of_momentum_under_coupled_sgd_alone(study):
    runs = study[0][study[0].experiment == "split"].drop_duplicates("optimizer")
    runs = runs.set_index("optimizer").to_dict("index")
    ends = {name: exposure_by_epoch({"optimizer": name} | run)[-1] for name, run in runs.items()}
    assert ends["SGD"] == pytest.approx(6.9, rel=0.02) and ends["SGDW"] == pytest.approx(6.9, rel=0.02)
    assert ends["AdamW"] == pytest.approx(6.9, rel=0.02) and ends["Adam"] < 0.03


def judged(study, parameters, **changes):
    settings = parameters["analysis"]["jacot_claims"]["settings"] | changes
    return {name: found.verdict for name, found in findings(*study, **settings).items()}


def test_every_claim_holds_of_the_laws(study, parameters):
    assert judged(study, parameters) == dict.fromkeys(CLAIMS, "holds")


def changed(study, column, of, value):
    runs, layers = study
    settings = runs[of(runs)].drop_duplicates("key")[["key", "weight_decay", "linear_layers", "relu_layers"]]
    joined = layers.merge(settings, on="key", how="left")
    numbers = layers[column].where(joined.weight_decay.isna().to_numpy(), value(joined))
    return runs, layers.assign(**{column: numbers})


# By claim: a column, the runs in which it is changed, and to what.
STAND_INS = {
    "J-a": ("balancedness", lambda runs: runs.optimizer == "AdamW", lambda its: its.balancedness / 3e3),
    "J-b": ("NC2", lambda runs: runs.experiment == "linear_layers", lambda its: 1.0 + its.linear_layers),
    "J-c": ("bound_NC1", lambda runs: runs.optimizer == "Signum", lambda its: its.NC1 / 2),
    "J-d": ("NC1", lambda runs: runs.optimizer == "SignumW", lambda its: 0.5),
    "J-e": ("NC1", lambda runs: runs.experiment == "weight_decay", lambda its: its.weight_decay**0.5),
    "J-f": ("negativity", lambda runs: runs.experiment == "relu_layers", lambda its: its.relu_layers / 20),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_stand_in_that_breaks_a_claim_is_seen(claim, study, parameters):
    assert judged(changed(study, *STAND_INS[claim]), parameters)[claim] == "fails"


def test_the_pairs_of_equal_loss_are_judged_too(study, parameters):
    """Their balancedness alone, and SGD's, decides J-a as well."""
    runs, layers = study
    strong = runs.key[runs.experiment == "equal_loss"]
    balanced = layers.assign(balancedness=layers.balancedness.mask(layers.key.isin(strong), 1e-3))
    assert judged((runs, balanced), parameters)["J-a"] == "fails"
    sgd = runs.key[(runs.experiment == "split") & (runs.optimizer == "SGD")]
    loose = layers.assign(balancedness=layers.balancedness.mask(layers.key.isin(sgd), 5.0))
    assert judged((runs, loose), parameters)["J-a"] == "fails"
    adam = runs.key[(runs.experiment == "equal_loss") & (runs.optimizer == "Adam")]
    on_the_way = layers.assign(balancedness=layers.balancedness.mask(layers.key.isin(adam), 0.06))
    assert judged((runs, on_the_way), parameters)["J-a"] == "holds", "its decay has not acted yet"


def test_weak_decoupled_decay_is_shown_and_not_judged(study, parameters):
    settings = parameters["analysis"]["jacot_claims"]["settings"]
    numbers = findings(*study, **settings)["J-d"].numbers
    shown = {each["part"]: each["holds"] for each in numbers}
    for decay in ("0.00222", "2.2"):
        assert shown.pop(f"AdamW at weight decay {decay}, 3 runs") is None
    assert list(shown.values()) == [True, True]


def test_without_valid_runs_nothing_is_judged(study, parameters):
    runs, layers = study
    verdicts = judged((runs.assign(valid=False), layers), parameters)
    assert set(verdicts.values()) == {"not testable"}


def test_the_table_of_claims_has_a_row_a_claim(study, parameters):
    script = load_script("tables/jacot_claims.py")
    table = script.make(*study, {}, **parameters["analysis"]["jacot_claims"]["settings"])
    assert list(dict.fromkeys(table["claim"])) == CLAIMS and isinstance(table, pd.DataFrame)
