"""Depth, from checkpoints: what a direct computation on the trained network gives, and nothing is trained."""

import numpy as np
import pandas as pd
import pytest
import torch

from collapse.architectures.initialisation import initial_network
from collapse.architectures.trunk import TRUNK_POINTS, trunk_features
from collapse.measuring import depth as measuring
from collapse.measuring.depth import measure_depth, point_statistics, sampled
from collapse.measuring.further_tables import collect_further
from collapse.measuring.results import DEPTH_COLUMNS, read_depth
from collapse.metrics import depth_sweeps
from collapse.metrics.conventions import jacot_nc1
from collapse.metrics.depth import POINT_METRICS, measure_point
from collapse.metrics.neural_collapse import nc2
from collapse.training.evaluation import statistics_of
from collapse.training.images import load_images
from collapse.training.pack_files import PackPaths, of_run, prefixed, read_tensors, save_tensors
from collapse.training.packs import train_pack

CPU = torch.device("cpu")


def weights_of(runs, path):
    """A file of weights, of networks that differ from those at initialisation."""
    tensors = {}
    for run in runs:
        network = initial_network(run)
        for parameter in network.parameters():
            parameter.data.mul_(1.5)
        tensors |= prefixed(run["key"], network.state_dict())
    save_tensors({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def measured(runs, prepared, tmp_path, *, trained=None):
    weights_of(runs if trained is None else trained, tmp_path / "weights")
    where = {"prepared": prepared, "weights": tmp_path / "weights", "depth": tmp_path / "depth.parquet"}
    measure_depth(runs, **where, device="cpu")
    return read_depth(where["depth"])


@pytest.mark.parametrize(
    "settings", [{}, {"architecture": "VGG9", "image_size": 16}], ids=["ResNet9", "VGG9"]
)
def test_every_point_view_and_moment_has_a_row(settings, tiny_run, prepared, tmp_path):
    run = tiny_run | settings
    table = measured([run], prepared, tmp_path)
    points = list(TRUNK_POINTS[run["architecture"]].values())
    assert list(table) == DEPTH_COLUMNS and set(table.key) == {run["key"]}
    for (_, view), its in table.groupby(["epoch", "view"]):
        assert its.point.tolist() == points and its.depth.tolist() == list(range(1, len(points) + 1)), view
    assert set(table.epoch) == {0, run["epochs"]} and set(table.view) == {"pooled", "whole"}
    pooled, whole = (table[(table.view == view) & (table.epoch == 0)] for view in ("pooled", "whole"))
    assert (pooled.num_features.to_numpy() <= whole.num_features.to_numpy()).all()
    heads = table[(table.point == "head input") & (table.epoch == 0)][list(POINT_METRICS)]
    assert len(heads.drop_duplicates()) == 1, "one pixel is left: both views are one"


def test_the_numbers_are_those_of_all_features_at_once(tiny_run, prepared, tmp_path):
    """NCC, the ratio and the rank, from N x d features in float64."""
    table = measured([tiny_run], prepared, tmp_path).set_index(["epoch", "view", "point"])
    network, images = initial_network(tiny_run).eval(), load_images(prepared, tiny_run, CPU)
    labels = images.train_labels.numpy()
    with torch.no_grad():
        train, test = (
            trunk_features(network, TRUNK_POINTS["ResNet9"], part) for part in (images[0], images[2])
        )
    for point in train:
        for view, flat in (("pooled", lambda x: x.flatten(2).mean(2)), ("whole", lambda x: x.flatten(1))):
            if point == "head input":
                flat = torch.Tensor.double
            rows, test_rows = flat(train[point].double()).numpy(), flat(test[point].double()).numpy()
            means = np.stack([rows[labels == k].mean(0) for k in range(10)])
            nearest = ((test_rows[:, None] - means) ** 2).sum(2).argmin(1)
            values = np.linalg.eigvalsh(np.cov(rows.T, bias=True))
            ratio = np.mean(np.sum((rows - means[labels]) ** 2, 1)) / np.mean(
                np.sum((means - means.mean(0)) ** 2, 1)
            )
            row = table.loc[(0, view, point)]
            assert row.NCC_test == np.mean(nearest == images.test_labels.numpy())
            assert row.within_over_between == pytest.approx(ratio, rel=1e-6)
            assert row.numerical_rank == (values > 1e-3 * values.max()).sum()
            assert row.stable_rank == pytest.approx(values.sum() / values.max(), rel=1e-6)


def test_the_initialisation_is_that_of_the_seed_and_a_run_without_weights_has_it_alone(
    tiny_run, prepared, tmp_path
):
    diverged, other = tiny_run | {"key": "diverged"}, tiny_run | {"key": "other", "seed": 1}
    table = measured([tiny_run, diverged, other], prepared, tmp_path, trained=[tiny_run, other])
    epochs = {key: set(its.epoch) for key, its in table.groupby("key")}
    assert epochs == {tiny_run["key"]: {0, 5}, "diverged": {0}, "other": {0, 5}}
    first = table[table.epoch == 0].set_index("key")[list(POINT_METRICS)]
    pd.testing.assert_frame_equal(
        first.loc["diverged"].reset_index(drop=True), first.loc[tiny_run["key"]].reset_index(drop=True)
    )
    assert (first.loc["other"].NC2.to_numpy() != first.loc["diverged"].NC2.to_numpy()).any()
    trained = table[(table.epoch == 5) & (table.key == tiny_run["key"])]
    assert (trained.stable_rank.to_numpy() != first.loc["diverged"].stable_rank.to_numpy()).all()


def test_a_dead_branch_is_seen_and_a_dead_trunk_says_so(tiny_run, prepared):
    network, images = initial_network(tiny_run), load_images(prepared, tiny_run, CPU)
    for parameter in network.body[4].parameters():  # block3: zero from here on
        torch.nn.init.zeros_(parameter)
    found = point_statistics(network, TRUNK_POINTS["ResNet9"], images)
    dead, alive = (measure_point(found[point, "whole"]) for point in ("block3", "residual1"))
    assert np.isfinite(alive["within_over_between"]) and alive["numerical_rank"] > 0
    assert np.isnan(dead["within_over_between"]) and dead["numerical_rank"] == 0 and dead["NC1"] == np.inf


def test_where_a_point_has_too_many_dimensions_the_rank_is_a_gram_matrixs(tiny_run, prepared, monkeypatch):
    """Of all samples, where there are no more than the Gram matrix takes: the same eigenvalues."""
    network, images = initial_network(tiny_run), load_images(prepared, tiny_run, CPU)
    of_network = network, TRUNK_POINTS["ResNet9"], images
    whole = point_statistics(*of_network)["block1", "whole"]
    monkeypatch.setattr(depth_sweeps, "MOST_SCATTERED", 100)
    gram = point_statistics(*of_network)["block1", "whole"]
    D, N = len(whole.eigenvalues_E), len(gram.eigenvalues_E)
    assert (D, N) == (4 * 8 * 8, 300)
    assert gram.eigenvalues_E[:D] == pytest.approx(whole.eigenvalues_E, rel=1e-6, abs=1e-10)
    assert measure_point(gram) == pytest.approx(measure_point(whole), rel=1e-6)
    monkeypatch.setattr(measuring, "MOST_GRAM_SAMPLES", 40)
    rows = sampled(network, TRUNK_POINTS["ResNet9"], ("block1", "whole"), images.train_images)
    assert rows.shape == (40, 256)
    assert torch.equal(rows, sampled(network, {1: "block1"}, ("block1", "whole"), images.train_images))


@pytest.mark.parametrize("batch", [7, 1000])
def test_the_batches_change_roundings_alone(batch, tiny_run, prepared, monkeypatch):
    network, images = initial_network(tiny_run), load_images(prepared, tiny_run, CPU)
    of_network = network, TRUNK_POINTS["ResNet9"], images
    before = point_statistics(*of_network)
    monkeypatch.setattr(measuring, "BATCH", batch)
    for name, found in point_statistics(*of_network).items():
        assert measure_point(found) == pytest.approx(measure_point(before[name]), rel=1e-4), name


def test_of_a_trained_pack_nothing_is_changed(tiny_run, prepared, tmp_path):
    """The head's input is what rule extract_statistics measures; the pack's files stay as they are."""
    paths = PackPaths.inside(tmp_path)
    train_pack([tiny_run], prepared=prepared, paths=paths, unfinished=tmp_path / "unfinished", device="cpu")
    before = {path: path.read_bytes() for path in paths}
    measure_depth(
        [tiny_run], prepared=prepared, weights=paths.weights, depth=tmp_path / "depth", device="cpu"
    )
    assert all(path.read_bytes() == content for path, content in before.items())
    last = read_depth(tmp_path / "depth").query("epoch == 5 and view == 'whole'").set_index("point")
    network = initial_network(tiny_run)
    network.load_state_dict(of_run(read_tensors(paths.weights), tiny_run["key"]))
    statistics, _ = statistics_of(network, load_images(prepared, tiny_run, CPU))
    head = last.loc["head input"]
    assert head["NC2"] == pytest.approx(nc2(statistics), rel=1e-5)
    assert head.within_over_between == pytest.approx(jacot_nc1(statistics), rel=1e-5)
    assert head.NCC_train >= 0.9 and head.within_over_between < last.within_over_between["block1"]


def test_tables_of_packs_are_collected_and_no_pack_is_an_empty_table(tiny_run, prepared, tmp_path):
    table = measured([tiny_run], prepared, tmp_path)
    collect_further("depth", [tmp_path / "depth.parquet"] * 2, tmp_path / "both")
    assert len(read_depth(tmp_path / "both")) == 2 * len(table)
    collect_further("depth", [], tmp_path / "none")
    assert read_depth(tmp_path / "none").empty and list(read_depth(tmp_path / "none")) == DEPTH_COLUMNS
