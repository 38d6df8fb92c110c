"""Looking at a model changes nothing: its state, the training around it, what `import collapse` costs."""

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import data, loader, mlp
from torch import nn

import collapse
from collapse.own_models import progress


def state(model):
    return (
        {name: tensor.clone() for name, tensor in model.state_dict().items()},
        [module.training for module in model.modules()],
        [parameter.requires_grad for parameter in model.parameters()],
        [len(module._forward_pre_hooks) for module in model.modules()],
    )


def assert_unchanged(model, before):
    now = state(model)
    assert now[1:] == before[1:]
    for name, tensor in before[0].items():
        torch.testing.assert_close(now[0][name], tensor, rtol=0, atol=0)


@pytest.fixture
def model():
    """In training mode, but for a frozen part."""
    made = mlp().train()
    made[1].eval()
    made[0].weight.requires_grad_(False)
    return made


def test_mode_gradients_weights_and_hooks_are_as_before(model):
    before = state(model)
    collapse.measure(model, loader(*data()), loader(*data()), device="cpu")
    assert_unchanged(model, before)
    assert torch.is_grad_enabled()


def test_also_after_an_error_in_the_model_or_the_loader(model):
    before = state(model)
    inputs, labels = data()

    def failing(*_):
        raise RuntimeError("out of order")

    handle = model[2].register_forward_hook(failing)
    with pytest.raises(RuntimeError, match="out of order"):
        collapse.measure(model, loader(inputs, labels))
    handle.remove()
    assert_unchanged(model, before)

    def batches():
        yield inputs, labels
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        collapse.measure(model, batches())
    with pytest.raises(ValueError, match="labels from 0 to 4"):
        collapse.measure(nn.Sequential(model, nn.Linear(5, 3)), loader(inputs, labels))
    assert_unchanged(model, before)
    assert torch.is_grad_enabled()


def test_a_model_on_several_devices_is_left_there():
    model = nn.Sequential(nn.Linear(12, 16), nn.Linear(16, 5, device="meta"))
    with pytest.raises(ValueError, match=r"on several devices, .*: leave device out"):
        collapse.measure(model, loader(*data()), device="cpu")


def trained(*, watched):
    """A short training with dropout, shuffling and a loader's own generator; the weights at the end."""
    train, model = data(), mlp()
    torch.manual_seed(5)
    batches = loader(*train, shuffle=True)
    own = loader(*train, shuffle=True, generator=torch.Generator().manual_seed(3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    history = collapse.CollapseHistory(model, batches, own) if watched else lambda epoch: None
    history(0)
    for epoch in range(1, 4):
        for inputs, labels in [*batches, *own]:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
        history(epoch)
    return model.state_dict(), (torch.rand(3).tolist(), random.random(), np.random.rand())


def test_a_training_that_is_watched_is_the_same_training():
    random.seed(1), np.random.seed(1)
    alone, drawn = trained(watched=False)
    random.seed(1), np.random.seed(1)
    watched, drawn_watched = trained(watched=True)
    assert drawn == drawn_watched
    for name, tensor in alone.items():
        torch.testing.assert_close(watched[name], tensor, rtol=0, atol=0)


def test_import_collapse_waits_for_nothing():
    code = (
        "import json, sys, collapse; assert 'measure' in dir(collapse);"
        "print(json.dumps([name in sys.modules for name in ('torch', 'numpy', 'pandas')]))"
    )
    light = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(light.stdout) == [False, False, False]
    typed = Path(collapse.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    assert set(re.findall(r" as (\w+)", typed)) == set(collapse.__all__)  # what editors see
    with pytest.raises(AttributeError, match="no attribute 'measures'"):
        collapse.measures  # noqa: B018
    from collapse import CollapseHistory, CollapseMetrics, Measurement, measure  # noqa: F401


class Terminal:
    def __init__(self):
        self.written = ""

    def write(self, text):
        self.written += text

    def flush(self):
        pass

    def isatty(self):
        return True


def test_long_passes_say_how_far_they_are_where_somebody_looks(monkeypatch, capsys):
    clock = iter(range(0, 10_000, 1))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    model, batches = mlp(), loader(*data(), batch_size=10)
    collapse.measure(model, batches)
    assert capsys.readouterr() == ("", "")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    collapse.measure(model, batches, batches)
    said = terminal.written.split("\r")
    assert "collapse: training set, pass 1 of 2: 10 of 30 batches, " in terminal.written
    assert "pass 2 of 2: 29 of 30 batches" in terminal.written and "test set" in terminal.written
    assert said[-1] == "" and said[-2].strip() == ""


def test_short_passes_say_nothing(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    collapse.measure(mlp(), loader(*data()))
    assert terminal.written == ""


def test_a_pass_of_unknown_length():
    assert progress.said("test set", 3, None, 2.0) == "collapse: test set: 3 batches, 2 s"
