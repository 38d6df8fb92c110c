"""Statistics of dense layers: those of the whole features at once, kept beside class statistics."""

import numpy as np
import pandas as pd
import pytest
import torch

from collapse.architectures.initialisation import initial_network
from collapse.measuring.layers import measure_layers
from collapse.measuring.results import FURTHER, read_further
from collapse.metrics import layers
from collapse.training.images import load_images
from collapse.training.layer_statistics import layer_statistics
from collapse.training.pack_files import PackPaths, read_pack
from collapse.training.packs import train_pack

FORM = {"architecture": "MLPTail", "width": 0.03125, "loss": "squared", "relu_layers": 2, "linear_layers": 3}


@pytest.fixture
def run(tiny_run):
    return tiny_run | FORM | {"optimizer": "SGD", "learning_rate": 0.01, "momentum": 0.0}


@pytest.mark.parametrize("architecture", ["MLPTail", "ResNet20"])
def test_sums_over_batches_are_the_statistics_of_all_samples(run, prepared, monkeypatch, architecture):
    monkeypatch.setattr("collapse.training.layer_statistics.BATCH", 70)
    run = run | {"architecture": architecture, "width": 0.25}
    images, network = load_images(prepared, run, torch.device("cpu")), initial_network(run)
    found = layer_statistics(network, images)
    tail, labels = network.tail, images.train_labels.numpy()
    with torch.no_grad():
        h = (
            images.train_images.flatten(1)
            if architecture == "MLPTail"
            else network.body[:-1](images.train_images)
        )
    h = h.double().numpy()
    weights = [layer.weight.detach().double().numpy() for layer in (*tail.layers, network.head)]
    Y, inputs = np.eye(len(weights[-1]))[labels], []
    for number, weight in enumerate(weights):
        inputs.append(h)
        z = h @ weight.T
        h = np.maximum(z, 0) if number < 2 else z
        means = np.stack([h[labels == k].mean(0) for k in range(len(Y.T))])
        within = np.array([((h - means[k]) ** 2).sum(1)[labels == k].mean() for k in range(len(Y.T))])
        np.testing.assert_allclose(found.means[number], means, atol=1e-12)
        np.testing.assert_allclose(found.within_trace_LK[number], within, rtol=1e-9)
        for norm, its in (
            (found.output_norm_L, z),
            (found.feature_norm_L, h),
            (found.negative_norm_L, np.minimum(z, 0)),
        ):
            assert norm[number] == pytest.approx(np.linalg.norm(its, 2), rel=1e-10)
    assert found.error == pytest.approx(np.linalg.norm(h - Y), rel=1e-12)
    assert found.error_norm == pytest.approx(np.linalg.norm(h - Y, 2), rel=1e-12)
    inverse = np.linalg.pinv(weights[-1])
    assert found.inverse_distance == pytest.approx(np.linalg.norm(inputs[-1] - Y @ inverse.T), rel=1e-10)
    outside = (np.eye(len(weights[-2])) - inverse @ weights[-1]) @ weights[-2] @ weights[-2].T
    assert found.beside_head == pytest.approx(np.trace(outside), rel=1e-9)
    D = weights[3].T @ weights[3] - weights[2] @ weights[2].T
    assert found.imbalance_norm_L[2] == pytest.approx(np.linalg.norm(D, 2), rel=1e-10)
    assert np.isnan(found.imbalance_norm_L[-1]) and np.isnan(found.cosine_L[0])
    rows = (weights[4] @ weights[3])[labels]
    cosines = (inputs[3] * rows).sum(1) / np.linalg.norm(inputs[3], axis=1) / np.linalg.norm(rows, axis=1)
    assert found.cosine_L[2] == pytest.approx(cosines.mean(), rel=1e-10)


def test_a_network_with_a_tail_leaves_them_at_every_measured_epoch(run, tiny_run, prepared, tmp_path):
    """The table of layers is made of the trajectory alone; other runs have none of it."""
    other = tiny_run | {"key": "000000000002"}
    paths = PackPaths.inside(tmp_path)
    train_pack([run, other], prepared=prepared, paths=paths, unfinished=tmp_path / "u", device="cpu")
    trajectory = read_pack(paths).trajectory
    assert not any(layers.PLACE in name for name in trajectory if name.startswith(other["key"]))
    measure_layers([run], trajectory=paths.trajectory, table=tmp_path / "layers")
    table = read_further("layers", tmp_path / "layers")
    assert list(table) == FURTHER["layers"] and set(table.key) == {run["key"]}
    assert sorted(table.epoch.unique()) == [0, 1, 2, 4, 5] and table.groupby("epoch").size().eq(5).all()
    assert table.kind.tolist()[:5] == ["relu"] * 2 + ["linear"] * 3
    last = table[table.layer == 5]
    assert last.balancedness.isna().all() and (table.NC1[table.layer == 4] <= last.bound_NC1.to_numpy()).all()
    measure_layers([], trajectory=paths.trajectory, table=tmp_path / "none")
    assert pd.read_parquet(tmp_path / "none").empty
