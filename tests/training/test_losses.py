"""Squared loss: its scale, its gradient, and what there is no closed form of under it."""

import numpy as np
import pytest
import torch

from collapse.architectures.initialisation import initial_network
from collapse.study.known_nc0 import nc0_ratio_by_epoch
from collapse.training.images import load_images
from collapse.training.losses import squared_error
from collapse.training.packs import TRAINING
from collapse.training.run import train_run


def test_squared_loss_is_half_for_outputs_of_zero():
    """1/(2N) sum ||z - e_y||^2: not PyTorch's MSELoss, which divides by K as well."""
    logits, labels = torch.randn(6, 4, dtype=torch.float64, requires_grad=True), torch.arange(6) % 4
    assert squared_error(torch.zeros(6, 4), labels) == 0.5
    loss = squared_error(logits, labels)
    targets = np.eye(4)[labels.numpy()]
    assert loss.item() == pytest.approx(((logits.detach().numpy() - targets) ** 2).sum() / 12, rel=1e-14)
    loss.backward()
    np.testing.assert_allclose(logits.grad.numpy(), (logits.detach().numpy() - targets) / 6, rtol=1e-13)


@pytest.mark.parametrize("change", [{"loss": "squared"}, {"head": "fixed_etf"}])
def test_nc0_has_no_closed_form_under_squared_loss_or_a_fixed_head(tiny_run, change):
    assert nc0_ratio_by_epoch(tiny_run) is not None
    assert nc0_ratio_by_epoch(tiny_run | change) is None


def test_a_run_under_squared_loss_shows_that_loss(tiny_run, prepared):
    run = tiny_run | {"loss": "squared"}
    images = load_images(prepared, run, torch.device("cpu"))
    names = {*TRAINING, "loss"} - {"epochs", "learning_rate", "measure_every"}
    settings = {name: run[name] for name in names}
    network = initial_network(run)
    outcome = train_run(
        network, images, epochs=1, learning_rate=0.01, measure_every=1, padding=None,
        progress=lambda epoch, loss: None, **settings,
    )  # fmt: skip
    with torch.no_grad():
        expected = squared_error(network.eval()(images.train_images), images.train_labels).item()
    assert outcome.history[-1]["train_loss"] == pytest.approx(expected, rel=1e-5)
    assert outcome.history[1]["running_loss"] < 5 and outcome.status == "done"
