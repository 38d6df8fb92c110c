"""Steps as graphs, without a GPU: what is captured is done again instead, on the same memory.

Of the graph itself nothing is seen here; all around it is: buffers, state, learning rate, sizes of batches.
"""

from functools import partial

import pytest
import torch

from collapse.architectures import ARCHITECTURES
from collapse.architectures.initialisation import initial_network
from collapse.optimizers import OPTIMIZERS
from collapse.training import graphed_steps
from collapse.training import run as training
from collapse.training.graphed_steps import WARM_UP, CapturedStep, GraphedSteps, on_device
from collapse.training.images import load_images
from collapse.training.packs import TRAINING
from collapse.training.run import train_run
from collapse.training.steps import FlatParameters, step_of, training_step, update_rule


def again(work):
    """In the place of `cuda_graph`."""
    return work


@pytest.fixture
def graphs(monkeypatch):
    """Let train_run take its steps as graphs; returns them."""
    made = []

    def steps(network, flat, rule, gradients, *, graphed):
        assert graphed
        step = step_of(network, flat, rule, gradients)
        made.append(GraphedSteps(step, [flat.values, *network.buffers()], capture=again))
        return made[-1]

    monkeypatch.setattr(training, "step_of", steps)
    return made


def trained(run, prepared, **more):
    images = load_images(prepared, run, torch.device("cpu"))
    settings = {name: run[name] for name in TRAINING}
    return train_run(
        initial_network(run), images, padding=None, progress=lambda epoch, loss: None, **settings, **more
    )


@pytest.mark.parametrize("optimizer", [name for name, entry in OPTIMIZERS.items() if entry.graphed])
def test_a_run_of_graphs_is_the_same_run(optimizer, tiny_run, prepared, graphs, monkeypatch):
    """To the last bit: weights, history, class statistics; with a smaller last batch and three rates."""
    fraction = 0.5 if optimizer == "AdamInterpolated" else None
    run = tiny_run | {"optimizer": optimizer, "learning_rate": 0.003, "coupled_fraction": fraction}
    found = trained(run, prepared)
    assert sorted(graphs[0].captured) == [44, 64] and all(graphs[0].captured.values())
    monkeypatch.undo()
    plain = trained(run, prepared)
    assert found.history == plain.history
    for one, other in ((found.weights, plain.weights), (found.trajectory, plain.trajectory)):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_a_run_goes_on_from_a_state_of_graphs(optimizer, tiny_run, prepared, graphs, tmp_path):
    """Through the file, whose state holds Adam's number of steps as a tensor."""
    from collapse.training.run_state import read_state, write_state

    run, moments = tiny_run | {"optimizer": optimizer, "learning_rate": 0.003}, []
    whole = trained(run, prepared, between_epochs=lambda take: moments.append(take()))
    write_state(moments[2], tmp_path / "state", made_by={})
    begin, _ = read_state(tmp_path / "state")
    rest = trained(run, prepared, begin=begin)
    assert all(torch.equal(whole.weights[name], x) for name, x in rest.weights.items())


def steps_of(tiny_run, capture):
    """Graphed steps after their warm-up, with all that the next one takes."""
    network = initial_network(tiny_run)
    flat = FlatParameters(network)
    rule = update_rule(
        "SGD", flat, momentum=0.9, weight_decay=0.01, coupled_fraction=None, beta2=0.999, epsilon=1e-8
    )
    plain = partial(training_step, network=network, flat=flat, rule=rule)
    steps, state = GraphedSteps(plain, [flat.values, *network.buffers()], capture=capture), {}
    generator = torch.Generator().manual_seed(0)
    batch, labels = torch.randn(16, 1, 8, 8, generator=generator), torch.arange(16) % 10
    for _ in range(WARM_UP):
        state, _ = steps(state, batch, labels, 0.1)
    return steps, state, batch, labels


def test_a_graph_that_cannot_be_made_is_done_without(tiny_run, caplog):
    def refuse(work):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    steps, state, batch, labels = steps_of(tiny_run, refuse)
    reference, *rest = steps_of(tiny_run, again)
    for _ in range(2):
        state, loss = steps(state, batch, labels, 0.1)
        rest[0], expected = reference.step(rest[0], batch, labels, 0.1)
    assert steps.captured == {16: None} and loss == expected
    assert torch.equal(steps.moved[0], reference.moved[0])
    assert "no CUDA graph of a step (operation not permitted when stream is capturing)" in caplog.text


def test_a_graph_that_does_something_else_is_not_trusted(tiny_run, caplog):
    """One that forgets to look at its batch again, say, or writes elsewhere: here one that does nothing."""
    steps, state, batch, labels = steps_of(tiny_run, lambda work: lambda: None)
    before = steps.moved[0].clone()
    steps(state, batch, labels, 0.1)
    assert steps.captured == {16: None} and not torch.equal(before, steps.moved[0])
    assert "differs from its step by 1 of its length: training goes on without" in caplog.text


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("architecture", ["ResNet9", "VGG9"])
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_real_graphs_are_trusted_and_give_the_same_bits(architecture, precision, tiny_run, prepared):
    from collapse.architectures.precision import convolutions_in

    run = tiny_run | {"architecture": architecture, "image_size": 16, "precision": precision}
    device, images = torch.device("cuda"), load_images(prepared, run, torch.device("cuda"))
    settings = {name: run[name] for name in TRAINING} | {"padding": None, "progress": lambda *_: None}
    with convolutions_in(precision), pytest.MonkeyPatch.context() as patch:
        graphed = train_run(initial_network(run).to(device), images, **settings)
        patch.setattr(graphed_steps, "WARM_UP", 10**9)
        plain = train_run(initial_network(run).to(device), images, **settings)
    assert all(torch.equal(graphed.weights[name], x) for name, x in plain.weights.items())


@pytest.mark.parametrize("architecture", ["ResNet9", "VGG9", "ViT", "ResNet50"])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "SignumW"])
def test_a_step_waits_for_nothing(architecture, optimizer):
    """On a device without values, which could answer no question (`meta`): all is launched, nothing read."""
    with torch.device("meta"):
        network = ARCHITECTURES[architecture](
            channels=1, image_size=32, num_classes=10, train_size=1, width=0.125
        )
        batch, labels = torch.empty(16, 1, 32, 32), torch.empty(16, dtype=torch.long)
    flat = FlatParameters(network.train())
    rule = update_rule(
        optimizer, flat, momentum=0.9, weight_decay=0.01, coupled_fraction=None, beta2=0.999, epsilon=1e-8
    )
    step = partial(training_step, network=network, flat=flat, rule=rule)
    rate = on_device(0.1, batch.device)
    state = {name: on_device(x, rate.device) for name, x in step({}, batch, labels, rate)[0].items()}
    captured = CapturedStep(step, state, batch, labels, rate, capture=again)
    state, loss = captured(state, batch, labels)
    assert {x.device.type for x in (loss, *state.values())} == {"meta"}
