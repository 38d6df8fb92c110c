"""The networks beside ResNet9 and VGG9: unconstrained features, the MLP, the ViT."""

import pandas as pd
import pytest
import torch

from collapse.architectures import ARCHITECTURES
from collapse.architectures.ufm import Features
from collapse.datasets.loading import load_arrays
from collapse.datasets.prepared import save_prepared
from collapse.datasets.preprocessing import preprocess
from collapse.measuring.extraction import extract_statistics
from collapse.measuring.measurement import measure_pack
from collapse.optimizers import OPTIMIZERS
from collapse.study.known_nc0 import nc0_ratio_by_epoch
from collapse.study.runs import run_table
from collapse.training.pack_files import PackPaths, read_pack
from collapse.training.packs import train_pack
from collapse.training.steps import FlatParameters

SHAPE = {"channels": 1, "image_size": 16, "num_classes": 10, "train_size": 100, "width": 0.125}


def test_every_architecture_of_the_paper_is_used_somewhere(parameters):
    tables = [run_table(parameters, study) for study in parameters["studies"]]
    used = {name for table in tables for name in table.architecture}
    assert used >= {"ResNet9", "VGG9", "MLP", "UFM", "ViT", "ResNet50"}


@pytest.mark.parametrize("name", ["MLP", "ViT"])
def test_logits_are_the_head_of_the_features(name):
    network = ARCHITECTURES[name](**SHAPE).eval()
    images = torch.randn(3, 1, 16, 16)
    features = network.body(images)
    assert features.shape == (3, network.head.in_features)
    torch.testing.assert_close(network(images), network.head(features))


def test_sizes_at_width_1_are_the_papers():
    """UFM: d = 512, N = 10,000 and no bias; ViT: 512 features, 6 layers, 8 heads, MLP of four times that."""
    with torch.device("meta"):
        ufm = ARCHITECTURES["UFM"](channels=2, image_size=1, num_classes=10, train_size=10_000, width=1)
        vit = ARCHITECTURES["ViT"](channels=3, image_size=32, num_classes=10, train_size=9, width=1)
    assert [tuple(p.shape) for p in ufm.parameters()] == [(10_000, 512), (10, 512)]
    p, patches = 512, 64
    layer = (3 * p * p + 3 * p) + (p * p + p) + (4 * p * p + 4 * p) + (4 * p * p + p) + 4 * p
    tokens = (3 * 16 * p + p) + p + (1 + patches) * p
    assert sum(q.numel() for q in vit.parameters()) == 6 * layer + tokens + 10 * p + 10


def test_unconstrained_features_are_looked_up_by_sample_number():
    arrays = load_arrays("Indices", root="absent", cache="absent")
    images = preprocess(arrays["train_images"], dataset="Indices", image_size=1)
    body = Features(10_000, 4)
    chosen = torch.tensor([0, 255, 256, 9_999, 1])
    assert torch.equal(body(images[chosen]), body.features[chosen])
    assert torch.equal(body(images), body.features)
    assert torch.equal(arrays["train_labels"], torch.arange(10_000) % 10)


def test_the_vit_alone_exempts_biases_and_normalisations_from_decay():
    for name in ("ResNet9", "VGG9", "MLP", "UFM"):
        assert FlatParameters(ARCHITECTURES[name](**SHAPE)).decayed is None
    network = ARCHITECTURES["ViT"](**SHAPE)
    decayed = {name for name, parameter in network.named_parameters() if parameter.ndim > 1}
    assert {"head.weight", "body.1.class_token", "body.1.positions"} <= decayed
    exempt = {name for name, _ in network.named_parameters()} - decayed
    assert exempt and all(name.endswith("bias") or "norm" in name for name in exempt)


@pytest.mark.parametrize("optimizer", ["SGD", "SGDW", "Adam", "AdamW", "Signum", "SignumW"])
def test_exempt_parameters_see_no_decay_and_the_others_see_all_of_it(optimizer):
    """One step with decay equals one step without, but for what decays."""
    entry = OPTIMIZERS[optimizer]
    settings = {"momentum": 0.9, "coupled_fraction": None, "beta2": 0.999, "epsilon": 1e-8}
    torch.manual_seed(0)
    flat = FlatParameters(ARCHITECTURES["ViT"](**SHAPE))
    gradients = torch.randn_like(flat.values)
    stepped = {}
    for decay in (0.0, 0.5):
        fixed = entry.hyperparameters(weight_decay=decay, **settings)
        everywhere, _ = entry.rule(flat.values, gradients, {}, learning_rate=0.1, **fixed)
        fixed |= {key: flat.decay(fixed[key]) for key in ("coupled_decay", "decoupled_decay")}
        stepped[decay], _ = entry.rule(flat.values, gradients, {}, learning_rate=0.1, **fixed)
        is_decayed = flat.decayed.bool()
        torch.testing.assert_close(stepped[decay][is_decayed], everywhere[is_decayed])
    assert torch.equal(stepped[0.0][~is_decayed], stepped[0.5][~is_decayed])
    assert not torch.equal(stepped[0.0][is_decayed], stepped[0.5][is_decayed])


def test_vit_refuses_images_that_its_patches_do_not_fill():
    with pytest.raises(ValueError, match="multiple of its patch size 4"):
        ARCHITECTURES["ViT"](**SHAPE | {"image_size": 18})


@pytest.mark.parametrize(
    "settings",
    [
        {"architecture": "MLP", "dataset": "Separable", "train_size": 640, "image_size": 8},
        {"architecture": "UFM", "dataset": "Indices", "train_size": 10_000, "image_size": 1,
         "batch_size": 5_000},
        {"architecture": "ViT", "dataset": "Separable", "train_size": 640, "image_size": 8,
         "schedule": "cosine_warmup"},
    ],
    ids=lambda settings: settings["architecture"],
)  # fmt: skip
def test_from_training_to_metrics(settings, tiny_run, tmp_path):
    """As the jobs do it; the checkpoint's metrics are those of the last epoch, NC0 is the closed form's."""
    run = tiny_run | {"optimizer": "SGD", "epochs": 4, "measure_every": 2} | settings
    prepared, paths = tmp_path / "prepared", PackPaths.inside(tmp_path)
    save_prepared(load_arrays(run["dataset"], root="absent", cache=tmp_path), prepared, run["dataset"])
    train_pack([run], prepared=prepared, paths=paths, unfinished=tmp_path / "unfinished", device="cpu")
    assert read_pack(paths).outcomes.status.tolist() == ["done"]
    statistics = tmp_path / "statistics"
    extract_statistics([run], prepared=prepared, weights=paths.weights, statistics=statistics, device="cpu")
    measure_pack(
        statistics=statistics, trajectory=paths.trajectory, metrics=tmp_path / "m",
        history_metrics=tmp_path / "h", convention="reported",
    )  # fmt: skip
    final, way = pd.read_parquet(tmp_path / "m").iloc[0], pd.read_parquet(tmp_path / "h")
    assert way.epoch.tolist() == [0, 1, 2, 4]
    for metric in ("NC0", "NC1", "NC2", "NC3", "NC4"):
        assert final[metric] == pytest.approx(way[metric].iloc[-1], rel=1e-6), metric
    ratios = nc0_ratio_by_epoch(run)
    assert final.NC0 / way.NC0[0] == pytest.approx(ratios[-1], rel=1e-5)
