"""The table of layers beside those of any network: what agrees, and what a run that fell to zero says."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from collapse.architectures.initialisation import initial_network
from collapse.measuring.extraction import extract_statistics
from collapse.measuring.layers import measure_layers, rows_of
from collapse.measuring.measurement import measure_pack
from collapse.measuring.results import read_further
from collapse.metrics.class_statistics import from_arrays
from collapse.metrics.conventions import measure_all
from collapse.metrics.layers import PLACE
from collapse.training.images import load_images
from collapse.training.layer_statistics import layer_statistics
from collapse.training.pack_files import PackPaths, of_run, read_tensors
from collapse.training.packs import train_pack

FORM = {"architecture": "MLPTail", "relu_layers": 2, "linear_layers": 3, "loss": "squared", "width": 0.125}
TRAINING = {"learning_rate": 0.02, "weight_decay": 0.004, "epochs": 2, "measure_every": 1}


@pytest.fixture
def run(tiny_run):
    return tiny_run | FORM | TRAINING


@pytest.fixture
def trained(run, prepared, tmp_path):
    paths = PackPaths.inside(tmp_path)
    train_pack([run], prepared=prepared, paths=paths, unfinished=tmp_path / "unfinished", device="cpu")
    return paths


def test_last_features_are_as_class_statistics_say(trained, run, prepared, tmp_path):
    """The forward pass in float32 and that in float64 agree but for rounding; and the table reads them."""
    measure_layers([run], trajectory=trained.trajectory, table=tmp_path / "layers")
    table = read_further("layers", tmp_path / "layers")
    found = table[(table.epoch == 2) & (table.layer == 4)].iloc[0]
    arrays = of_run(of_run(read_tensors(trained.trajectory), run["key"]), "2")
    plain = {name: its.numpy() for name, its in arrays.items() if not name.startswith(PLACE)}
    known = measure_all(from_arrays(plain), convention="jacot")
    for metric in ("NC1", "NC2", "NC3"):
        assert found[metric] == pytest.approx(known[metric], rel=1e-4), metric
    means_KD = from_arrays(plain).means_KD
    np.testing.assert_allclose(np.reshape(found.means_gram, (10, 10)), means_KD @ means_KD.T, rtol=1e-4)
    assert found.means_rank == 10


def test_the_last_layer_is_measured_as_of_any_network(trained, run, prepared, tmp_path):
    statistics = tmp_path / "statistics"
    extract_statistics([run], prepared=prepared, weights=trained.weights, statistics=statistics, device="cpu")
    measure_pack(
        statistics=statistics, trajectory=trained.trajectory, metrics=tmp_path / "m",
        history_metrics=tmp_path / "h", convention="reported",
    )  # fmt: skip
    final, way = pd.read_parquet(tmp_path / "m").iloc[0], pd.read_parquet(tmp_path / "h")
    assert way.epoch.tolist() == [0, 1, 2] and pytest.approx(way.NC3.iloc[-1], rel=1e-6) == final.NC3


def test_a_run_that_fell_to_zero_has_no_numbers_that_look_like_collapse(run, prepared):
    network, images = initial_network(run), load_images(prepared, run, torch.device("cpu"))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    found = layer_statistics(network, images)
    assert found.error**2 / (2 * len(images.train_labels)) == pytest.approx(0.5)
    table = pd.DataFrame(rows_of(found))
    assert table[["NC1", "NC2", "negativity", "balancedness", "condition_last"]].isna().all(axis=None)
    assert (table.means_rank == 0).all() and (table.bound_NC1 == math.inf).all()


def test_a_network_without_dense_layers_is_refused(tiny_run, prepared):
    images = load_images(prepared, tiny_run, torch.device("cpu"))
    with pytest.raises(ValueError, match="no dense tail"):
        layer_statistics(initial_network(tiny_run), images)
