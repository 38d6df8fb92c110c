"""Related works as families of studies: their targets, their unconstrained features, their dense layers."""

import pytest

from collapse.paper.layer_summaries import exposure_by_epoch
from collapse.paper.targets import targets_of
from collapse.study.families import FAMILIES, family_of, is_of, of_family, without_prefix
from collapse.study.layers import layer_packs
from collapse.study.runs import run_table
from collapse.study.unconstrained import unconstrained_rows


def test_a_target_is_of_one_work(parameters):
    names = [*parameters["theory"], *parameters["analysis"], *parameters["tables"], *parameters["figures"]]
    for name in names:
        assert sum(is_of(family, name) for family in FAMILIES.values()) == 1, name
    assert family_of({}).reference_study == "paper" and family_of({"family": "zhu2021"}).prefix == "zhu_"
    assert without_prefix("zhu_figure_3") == "figure_3" and without_prefix("figure_3") == "figure_3"


RELATED = [f"{work}_{scale}" for work in ("zhu", "jacot") for scale in ("demo", "mini", "paper")]


@pytest.mark.parametrize("study", RELATED)
def test_a_study_of_a_related_work_has_its_targets_alone(parameters, study):
    entry = parameters["studies"][study]
    prefix = family_of(entry).prefix
    for kind in ("tables", "figures"):
        assert all(name.startswith(prefix) for name in targets_of(parameters, study, kind))
    assert set(of_family(entry, parameters["analysis"])) == {f"{prefix}claims"}
    assert set(of_family(entry, parameters["theory"])) == {f"{prefix}table_11"}
    assert family_of(entry).reference_study in parameters["studies"]
    assert not any(name.startswith(("zhu_", "jacot_")) for name in targets_of(parameters, "demo", "figures"))


def test_unconstrained_features_are_crossed_by_optimizer(parameters):
    rows = unconstrained_rows(parameters["studies"]["zhu_demo"])
    assert set(rows) == {"SGD", "SGDW", "Adam", "AdamW", "Signum", "SignumW"}
    assert len(rows["SGD"]) == 7 and len(rows["AdamW"]) == 11, "and two more epsilons at two decays"
    assert rows["SGD"][0] | {"weight_decay": 0} == {
        "num_classes": 10, "samples_per_class": 10, "num_features": 32, "steps": 20000, "seed": 3141,
        "optimizer": "SGD", "learning_rate": 2, "momentum": 0.9, "weight_decay": 0, "epsilon": 1e-8,
    }  # fmt: skip
    assert unconstrained_rows(parameters["studies"]["demo"]) == {}


def test_dense_layers_are_measured_of_networks_that_have_a_tail(parameters):
    table = run_table(parameters, "jacot_demo")
    assert {run["key"] for runs in layer_packs(table).values() for run in runs} == set(table.key)
    assert layer_packs(run_table(parameters, "demo")) == {}
    assert all(type(run["linear_layers"]) is int for runs in layer_packs(table).values() for run in runs)


def test_what_decay_acts_is_the_same_in_every_run_of_jacot_demo(parameters):
    """weight_decay * sum of learning rates is 6.9, of coupled SGD over 1 - momentum; equal_loss has more."""
    table = run_table(parameters, "jacot_demo").drop_duplicates("key")
    table = table[table.experiment != "equal_loss"]
    for run in table[table.optimizer.isin(["SGD", "SGDW", "AdamW", "SignumW"])].to_dict("records"):
        assert exposure_by_epoch(run)[-1] == pytest.approx(6.9, rel=0.01), run["optimizer"]
