"""The run table: counts, keys that follow content, packs that stay put."""

import copy
import dataclasses
import hashlib
import json

import pandas as pd
import pytest

from collapse.architectures.trunk import TRUNK_POINTS
from collapse.datasets import DATASETS
from collapse.study import runs
from collapse.study.depth import WITH_POINTS, depth_packs
from collapse.study.parameters import ParameterError
from collapse.study.runs import (
    run_key,
    run_minutes,
    run_table,
    runs_by_pack,
    summary,
    unique_runs,
)
from collapse.study.settings import SETTINGS, UNSAID


def test_the_papers_grid_is_3888_runs_in_108_packs(parameters):
    parameters["pack_minutes"] = 10_000
    table = run_table(parameters, "paper")
    grid = table[table.experiment == "grid"]
    assert len(grid) == grid.key.nunique() == 2 * 3 * 6 * (3 * 6 * 6) == 3888
    assert grid.pack.nunique() == 108
    assert (grid.groupby("pack").size() == 36).all()
    assert set(grid.groupby(["architecture", "dataset", "optimizer"]).size()) == {108}
    assert (
        grid.train_size == grid.dataset.map({"MNIST": 60000, "FashionMNIST": 60000, "CIFAR10": 50000})
    ).all()
    assert set(grid.seed) == {3141} and set(grid.epochs) == {200} and set(grid.batch_size) == {128}
    decays = grid.groupby("optimizer").weight_decay.unique().map(sorted)
    for optimizer in ("SGD", "SGDW", "Adam", "Signum"):
        assert decays[optimizer] == [0, 5e-5, 5e-4, 5e-3, 0.05, 0.5]
    for optimizer in ("AdamW", "SignumW"):
        assert decays[optimizer] == [0, 5e-4, 0.05, 0.5, 5, 10]
    rates = grid.groupby("optimizer").learning_rate.unique().map(sorted)
    for optimizer in ("SGD", "SGDW"):
        assert rates[optimizer] == [0.001, 0.01, 0.0679]
    for optimizer in ("Adam", "AdamW", "Signum", "SignumW"):
        assert rates[optimizer] == [0.001, 0.005, 0.01]


def test_one_run_a_pack(parameters):
    parameters["pack_by"] = [
        "architecture", "dataset", "optimizer", "learning_rate", "momentum", "weight_decay",
    ]  # fmt: skip
    table = run_table(parameters, "paper")
    assert table[table.experiment == "grid"].pack.nunique() == 3888


def lengths(table, parameters):
    """Minutes that each pack of a study should take, of distinct runs."""
    speeds = parameters["images_per_second"]
    return {name: sum(run_minutes(run, speeds) for run in runs) for name, runs in runs_by_pack(table).items()}


def test_the_papers_packs_are_cut_to_the_wanted_length(parameters):
    table = run_table(parameters, "paper")
    grid = table[table.experiment == "grid"]
    assert run_minutes(dict(epochs=200, train_size=60_000, architecture="ResNet9"), {"ResNet9": 40_000}) == 5
    minutes = {name: length for name, length in lengths(table, parameters).items() if name in set(grid.pack)}
    assert 30 <= sum(minutes.values()) / len(minutes) <= 60, "half of pack_minutes to all of it"
    assert sum(30 <= length <= 90 for length in minutes.values()) > 0.7 * len(minutes), (
        "by chance some are not"
    )
    images = table[table.experiment == "imagenet"]
    assert images.pack.nunique() == len(images) == 24, "a run that takes a day has its job"
    assert all(images.pack.str.endswith(key).any() for key in images.key)


def test_an_added_run_moves_no_other_until_its_pack_is_too_long(parameters):
    parameters["pack_minutes"] = 0.1  # of the demo's packs, which take up to 0.27
    before = run_table(parameters, "demo").set_index(["experiment", "key"]).pack
    assert before.str.contains("-[1-4]of[24]$").any()
    grid = parameters["studies"]["demo"]["experiments"]["grid"]
    del grid["num_runs"]
    grid["rows"][3]["weight_decay"].insert(1, 0.001)  # Adam and Signum, in the middle of the table
    after = run_table(parameters, "demo").set_index(["experiment", "key"]).pack
    assert len(after) == len(before) + 2
    moved = before != after[before.index]
    assert not moved.any()
    parameters["pack_minutes"] = 0.05
    halved = run_table(parameters, "demo").set_index(["experiment", "key"]).pack
    assert (after.groupby(halved).nunique() == 1).all(), "a part of a part, and never of two"


def test_experiments_share_runs(parameters):
    table = run_table(parameters, "paper")
    shared = table[table.experiment == "table_2"].key
    assert shared.isin(table[table.experiment == "grid"].key).all()
    main = table[table.experiment.isin(["grid", "momentum_heatmap", "table_2"])]
    assert len(unique_runs(main)) == 3888 + 32  # the heatmap has 24 cells in common with the grid
    dynamics = table[table.experiment == "momentum_dynamics"].key
    assert dynamics.isin(table[table.experiment == "momentum_heatmap"].key).all()
    counts = summary(table).set_index("experiment").runs.to_dict()
    counts = {name: n for name, n in counts.items() if name not in ("all (distinct)", "imagenet")}
    assert counts == {
        "grid": 3888, "momentum_heatmap": 56, "table_2": 6, "depth": 8, "momentum_dynamics": 7,
        "interpolation": 6, "momentum_control": 30, "epsilon": 3, "optimizers": 498, "seeds": 30,
        "zero_weight_decay": 8, "long_training": 36, "mlp": 15, "ufm": 72, "vit": 84,
    }  # fmt: skip


def test_figure_15_is_six_settings_of_the_heatmap_and_ten_times_their_epochs(parameters):
    table = run_table(parameters, "paper")
    sgd = table[(table.experiment == "long_training") & (table.optimizer == "SGD")]
    pairs = {(0, 0), (0.97, 5e-5), (0, 5e-4), (0.9, 5e-4), (0.9, 0), (0.95, 0.0025)}
    for epochs in (200, 2000):
        here = sgd[sgd.epochs == epochs]
        assert set(zip(here.momentum, here.weight_decay, strict=True)) == pairs and len(here) == 6
    assert sgd[sgd.epochs == 200].key.isin(table[table.experiment == "momentum_heatmap"].key).all()


def test_packs_hold_every_run_once(parameters):
    table = run_table(parameters, "paper")
    packs = runs_by_pack(table)
    keys = [run["key"] for pack in packs.values() for run in pack]
    assert len(keys) == len(set(keys)) == table.key.nunique()
    first = next(iter(packs.values()))[0]
    assert first["coupled_fraction"] is None and first["learning_rate"] == 0.0679


def test_keys_follow_content(parameters):
    before = run_table(parameters, "demo")
    reordered = copy.deepcopy(parameters)
    study = reordered["studies"]["demo"]
    study["experiments"] = dict(reversed(study["experiments"].items()))
    for experiment in study["experiments"].values():
        experiment["rows"] = [dict(reversed(row.items())) for row in reversed(experiment["rows"])]
    after = run_table(reordered, "demo")
    identity = ["experiment", "key", "pack"]
    pd.testing.assert_frame_equal(
        before[identity].sort_values(identity, ignore_index=True),
        after[identity].sort_values(identity, ignore_index=True),
    )


OTHERS = {
    "architecture": "VGG9", "width": 0.25, "dataset": "MNIST", "image_size": 9, "train_size": 10,
    "augmentation": "crop_flip", "optimizer": "AdamInterpolated", "learning_rate": 0.5, "momentum": 0.25,
    "weight_decay": 0.125, "coupled_fraction": 0.5, "beta2": 0.9, "epsilon": 0.1, "schedule": "constant",
    "epochs": 3, "batch_size": 7, "measure_every": 2, "precision": "float32", "loss": "squared",
    "head": "fixed_etf", "feature_dimension": "K", "feature_decay": 0.1, "stem": "cifar", "relu_layers": 2,
    "linear_layers": 3, "seed": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_keys_change_with_every_setting(parameters, name):
    run = run_table(parameters, "demo").iloc[0].to_dict()
    assert run_key(run) != run_key(run | {name: OTHERS[name]})


def test_what_a_run_does_not_say_is_no_part_of_its_key(parameters):
    """So keys, packs, evidence and states from before there was such a setting stay what they are."""
    run = runs.records(run_table(parameters, "demo"))[0]
    identity = {name: run[name] for name in SETTINGS if name not in UNSAID}
    identity |= {"dataset_digest": DATASETS[run["dataset"]].digest, "protocol": runs.PROTOCOL}
    before = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    assert run["key"] == run_key(run) == before
    said = {"loss": "cross_entropy", "head": "learned", "feature_dimension": "p"}
    parameters["studies"]["demo"]["defaults"] |= said
    assert run_table(parameters, "demo").iloc[0].key == before


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"stem": "cifar"}, "stem: ResNet9 has no such setting; it is for ResNet18 and ResNet50"),
        ({"relu_layers": 2}, "relu_layers: ResNet9 has no such setting"),
        ({"architecture": "MLPTail", "relu_layers": 2}, "linear_layers: MLPTail needs it"),
        ({"architecture": "VGG9", "feature_dimension": "K", "image_size": 16}, "feature_dimension: VGG9"),
        ({"feature_decay": 0.1, "weight_decay": 0}, "feature_decay needs a weight_decay"),
        ({"head": "fixed_etf", "width": 0.015625}, "as the 10 classes of Digits; ResNet9 has 8 at width"),
    ],
)
def test_a_network_has_the_form_that_its_architecture_can_have(parameters, settings, words):
    defaults = parameters["studies"]["demo"]["defaults"]
    rows = [{"optimizer": "SGD", "learning_rate": 0.1, "momentum": 0, "weight_decay": 0.1} | settings]
    parameters["studies"]["demo"]["experiments"] = {"grid": {"axes": defaults, "rows": rows}}
    with pytest.raises(ParameterError, match=words):
        run_table(parameters, "demo")


def test_keys_change_with_protocol_and_dataset(parameters, monkeypatch):
    run = run_table(parameters, "demo").iloc[0].to_dict()
    before = run_key(run)
    with monkeypatch.context() as patch:
        patch.setattr(runs, "PROTOCOL", 99)
        assert run_key(run) != before
    altered = dataclasses.replace(DATASETS["Digits"], arrays_sha256="other")
    monkeypatch.setitem(DATASETS, "Digits", altered)
    assert run_key(run) != before


def test_an_added_weight_decay_adds_its_runs_alone(parameters):
    before = run_table(parameters, "demo")
    parameters["studies"]["demo"]["experiments"]["grid"].pop("num_runs")
    parameters["studies"]["demo"]["experiments"]["grid"]["rows"][0]["weight_decay"].append(0.001)
    after = run_table(parameters, "demo")
    assert set(before.key) < set(after.key) and set(before.pack) == set(after.pack)
    added = after[~after.key.isin(before.key)]
    assert len(added) == 2 and set(added.optimizer) == {"SGD", "SGDW"}
    kept = after[after.key.isin(before.key)].set_index(["experiment", "key"]).pack
    pd.testing.assert_series_equal(kept, before.set_index(["experiment", "key"]).pack)


def test_interpolation_is_one_more_axis(parameters):
    parameters["studies"]["demo"]["experiments"]["interpolation"] = {
        "rows": [
            {
                "optimizer": "AdamInterpolated",
                "learning_rate": 0.001,
                "momentum": 0.9,
                "weight_decay": 0.0005,
                "coupled_fraction": [0, 0.5, 1],
            }
        ]
    }
    table = run_table(parameters, "demo")
    assert table[table.experiment == "interpolation"].coupled_fraction.tolist() == [0, 0.5, 1]
    assert table[table.experiment == "grid"].coupled_fraction.isna().all()


def test_the_points_of_depth_are_of_known_architectures(parameters):
    """Beside the registry of points, which cannot be read without torch."""
    assert set(TRUNK_POINTS) == set(WITH_POINTS)
    for study in ("demo", "mini", "core", "paper"):
        table = run_table(parameters, study)
        packs = depth_packs(table)
        keys, of_table_2 = ({*table.key[table.experiment == name]} for name in ("depth", "table_2"))
        assert {run["key"] for its in packs.values() for run in its} == keys >= of_table_2, "trained once"
        assert set(packs) <= set(table.pack)
