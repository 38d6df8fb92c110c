"""What a body computes in changes no law: NC0, the head, and what a run ends with, within its rounding."""

import numpy as np
import pytest
import torch

from collapse.architectures.initialisation import initial_network
from collapse.architectures.precision import PRECISIONS, convolutions_in
from collapse.metrics.class_statistics import from_arrays
from collapse.metrics.conventions import measure_all
from collapse.study.known_nc0 import nc0_ratio_by_epoch
from collapse.training.images import Images, load_images
from collapse.training.packs import TRAINING
from collapse.training.run import train_run

DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a GPU")])]  # fmt: skip
# Of the loss, after 20 steps: what the rounding of one operation, 2^-24, 2^-11 and 2^-8, may have grown to.
NEAR = {"float32": 1e-4, "tf32": 1e-2, "bfloat16": 1e-1}


def trained(run, prepared, *, device="cpu", dtype=torch.float32):
    images = load_images(prepared, run, torch.device(device))
    images = Images(*(t.to(dtype) if t.is_floating_point() else t for t in images))
    settings = {name: run[name] for name in TRAINING}
    with convolutions_in(run["precision"]):
        return train_run(
            initial_network(run).to(device, dtype), images, padding=None, progress=lambda *_: None, **settings
        )


def column(outcome, name):
    """From epoch 0 on, where it has one."""
    return np.array([row[name] for row in outcome.history if name in row])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("optimizer", ["SGD", "SGDW"])
def test_nc0_follows_its_closed_form_in_every_precision(optimizer, precision, device, tiny_run, prepared):
    """Head, loss and update are float32: to the same floor as with a float32 body (spec 3.1, 3.2)."""
    run = tiny_run | {"optimizer": optimizer, "precision": precision, "weight_decay": 0.5, "epochs": 9}
    measured = column(trained(run, prepared, device=device), "NC0")
    np.testing.assert_allclose(measured, measured[0] * nc0_ratio_by_epoch(run), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("architecture", ["ResNet9", "VGG9"])
def test_twenty_steps_are_near_float64(architecture, precision, device, tiny_run, prepared):
    run = tiny_run | {"architecture": architecture, "image_size": 16, "precision": precision, "epochs": 4}
    run |= {"learning_rate": 0.01}
    gold = column(trained(run | {"precision": "float32"}, prepared, dtype=torch.float64), "running_loss")
    found = column(trained(run, prepared, device=device), "running_loss")
    np.testing.assert_allclose(found, gold, rtol=NEAR[precision])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_a_short_training_ends_alike(precision, device, tiny_run, prepared):
    """Accuracy, NC1, NC2 and NC3 no further from float32's than five seeds are from each other."""
    run = tiny_run | {"epochs": 12, "batch_size": 32, "weight_decay": 0.01}

    def end(**changes):
        outcome = trained(run | changes, prepared, device=device)
        arrays = {
            name.partition("/")[2]: x.numpy()
            for name, x in outcome.trajectory.items()
            if name.startswith(f"{run['epochs']}/")
        }
        found = measure_all(from_arrays(arrays), convention="reported")
        return np.array([outcome.history[-1]["train_accuracy"], *(found[f"NC{k}"] for k in (1, 2, 3))])

    seeds = np.array([end(seed=seed) for seed in range(3141, 3146)])
    spread = seeds.max(0) - seeds.min(0)
    assert (np.abs(end(precision=precision) - seeds[0]) <= spread).all()


def test_tf32_on_a_cpu_is_float32(tiny_run, prepared):
    one, other = (trained(tiny_run | {"precision": name}, prepared) for name in ("float32", "tf32"))
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)


def test_bfloat16_is_of_the_body_alone(tiny_run):
    """Features come out of it as float32, rounded; the head's product and the parameters are float32."""
    network = initial_network(tiny_run | {"precision": "bfloat16"})
    images = torch.randn(32, 1, 8, 8)
    features = network.features(images)
    assert features.dtype == torch.float32
    assert torch.equal(features, features.bfloat16().float())
    logits = network(images)
    assert logits.dtype == torch.float32 and not torch.equal(logits, logits.bfloat16().float())
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


@pytest.mark.parametrize(("precision", "allowed"), [("float32", False), ("tf32", True), ("bfloat16", False)])
def test_cudnn_is_told_and_told_back(precision, allowed):
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark
    with convolutions_in(precision):
        assert (cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark) == (allowed, True, False)
    assert (cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark) == before


def test_an_unknown_precision_is_refused():
    with (
        pytest.raises(ValueError, match="precision 'float16': one of float32, tf32, bfloat16"),
        convolutions_in("float16"),
    ):
        pass
