"""A fixed head, and networks that end in as few channels as there are classes (Zhu et al. 2021)."""

import numpy as np
import pytest
import torch

from collapse.architectures import ARCHITECTURES
from collapse.architectures.heads import FixedHead, simplex_etf
from collapse.architectures.initialisation import initial_network
from collapse.study.settings import HAVE, NUM_FEATURES, UNSAID, features_of
from collapse.training.steps import FlatParameters, accumulated_gradients, update_rule

CIFAR = {"channels": 3, "image_size": 32, "num_classes": 10, "train_size": 50_000}
DIGITS = {"channels": 1, "image_size": 8, "num_classes": 10, "train_size": 1_500}
# Architecture, its form, and how many parameters train: learned head, fixed, learned with d = K, fixed.
COUNTS = [
    ("ResNet18", CIFAR | {"width": 1}, (11_181_642, 11_176_522, 8_867_542, 8_867_442)),
    ("ResNet18", CIFAR | {"width": 1, "stem": "cifar"}, (11_173_962, 11_168_842, 8_859_862, 8_859_762)),
    ("ResNet50", CIFAR | {"width": 1}, (23_528_522, 23_508_042, 22_481_110, 22_481_010)),
    ("ResNet9", DIGITS | {"width": 0.125}, (104_090, 103_450, 72_944, 72_844)),
]


@pytest.mark.parametrize("name, form, counts", COUNTS, ids=lambda its: its if isinstance(its, str) else "")
def test_a_fixed_head_with_d_equal_to_K_saves_a_fifth_of_resnet18(name, form, counts):
    """What saves the memory is the last block that ends in K channels; the head alone is next to nothing."""
    found = []
    with torch.device("meta"):
        for narrow in (False, True):
            network = ARCHITECTURES[name](**form, **({"feature_dimension": 10} if narrow else {}))
            for head in (network.head, FixedHead(10, network.head.in_features)):
                network.head = head
                found.append(sum(parameter.numel() for parameter in network.parameters()))
    assert tuple(found) == counts
    if name == "ResNet18" and "stem" not in form:
        assert 1 - counts[3] / counts[0] == pytest.approx(0.20696, abs=5e-6), "over 20%"


def test_the_rows_of_a_fixed_head_are_a_simplex_frame():
    frame = simplex_etf(4, 6).double().numpy()
    np.testing.assert_allclose(frame @ frame.T, 4 / 3 * (np.eye(4) - 1 / 4), atol=1e-6)
    assert not frame[:, 4:].any()
    with pytest.raises(ValueError, match="4 classes needs as many features, not 3"):
        simplex_etf(4, 3)


@pytest.mark.parametrize("dimension", ["p", "K"])
def test_weight_decay_leaves_a_fixed_head_as_it_is(tiny_run, dimension):
    """AdamW at a decay of 1 for a hundred steps: bit for bit; the bias is trained, and decays."""
    run = tiny_run | {"head": "fixed_etf", "feature_dimension": dimension}
    network = initial_network(run).train()
    before, body = network.head.weight.clone(), initial_network(tiny_run).body.state_dict()
    if dimension == "p":
        assert all(torch.equal(its, body[name]) for name, its in network.body.state_dict().items())
    flat = FlatParameters(network)
    fixed = {"momentum": 0.9, "weight_decay": 1.0, "coupled_fraction": None, "beta2": 0.999, "epsilon": 1e-8}
    rule, state = update_rule("AdamW", flat, **fixed), {}
    images, labels = torch.randn(20, 1, 8, 8), torch.arange(20) % 4
    for _ in range(100):
        accumulated_gradients(network, flat, images, labels)
        values, state = rule(flat.values, flat.gradients, state, learning_rate=0.01)
        flat.values.copy_(values)
    assert torch.equal(network.head.weight, before) and network.head.bias.any()
    assert network.state_dict()["head.weight"] is not None, "part of the checkpoint"


def test_a_decay_on_features_has_a_gradient_and_spares_the_body(tiny_run):
    """lambda_H N / (2 B) sum ||h||^2 of features as they are: normalised ones have a constant norm."""
    run = tiny_run | {"feature_decay": 0.1}
    network = initial_network(run).double().train()
    flat = FlatParameters(network)
    images, labels = torch.randn(20, 1, 8, 8).double(), torch.arange(20) % 4
    with_decay, without = [], []
    for found, penalty in ((without, 0.0), (with_decay, 0.1 * 300 / 2)):
        loss = accumulated_gradients(network, flat, images, labels, feature_penalty=penalty)
        found += [loss, flat.gradients.clone()]
    assert torch.equal(with_decay[0], without[0]), "the loss that is shown is without it"
    flat.gradients.zero_()
    (0.1 * 300 / (2 * 20) * network.features(images).square().sum()).backward()
    torch.testing.assert_close(with_decay[1] - without[1], flat.gradients, rtol=1e-10, atol=1e-12)
    assert flat.gradients.abs().max() > 0.1
    head = sum(parameter.numel() for parameter in network.head.parameters())
    assert flat.decayed.sum() == head and flat.decayed[-head:].all()


@pytest.mark.parametrize("width", [1, 0.125])
@pytest.mark.parametrize("name", NUM_FEATURES)
def test_the_features_that_are_known_in_advance_are_those_of_the_network(name, width, tiny_run):
    """So a fixed head that is too large is refused before any work starts."""
    layers = {"relu_layers": 2, "linear_layers": 1} if name in HAVE["relu_layers"] else {}
    run = tiny_run | UNSAID | layers | {"architecture": name, "width": width, "image_size": 32}
    with torch.device("meta"):
        assert initial_network(run).head.in_features == features_of(run)
