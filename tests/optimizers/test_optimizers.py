"""Every optimizer against a NumPy reference, torch.optim, and the limits that theory fixes."""

import copy
import itertools

import numpy as np
import pytest
import torch

from collapse.optimizers import OPTIMIZERS, Optimizer, WeightDecayKind, coupled_share

SETTING = dict(learning_rate=0.01, momentum=0.9, weight_decay=0.05, beta2=0.999, epsilon=1e-8)
RATES = [0.01] * 10 + [0.001] * 10  # a schedule's step lies inside the trajectory
PAIRS = [("SGD", "SGDW"), ("Adam", "AdamW"), ("Signum", "SignumW")]


def gradient(weights):
    """A fixed, non-linear gradient field, the same for NumPy arrays and tensors."""
    return weights**3 - 2 * weights + 0.3


def start():
    return np.random.default_rng(0).normal(size=(4, 3))


def trajectory(name, *, rates=RATES, coupled_fraction=0.5, **changes):
    """Twenty float64 steps of the project's own rule."""
    setting = SETTING | changes
    optimizer = OPTIMIZERS[name]
    factor = setting.pop("learning_rate") / SETTING["learning_rate"]
    fixed = optimizer.hyperparameters(**setting, coupled_fraction=coupled_fraction)
    weights, state, path = torch.from_numpy(start()), {}, []
    for rate in rates:
        weights, state = optimizer.rule(
            weights, gradient(weights), state, learning_rate=factor * rate, **fixed
        )
        path.append(weights.numpy())
    return np.array(path)


def reference_sgd(w, memory, rate, coupled, decoupled, b, **_):
    memory["v"] = b * memory.get("v", 0) + gradient(w) + coupled * w
    return w * (1 - rate * decoupled) - rate * memory["v"]


def reference_signum(w, memory, rate, coupled, decoupled, b, **_):
    memory["m"] = b * memory.get("m", 0) + (1 - b) * (gradient(w) + coupled * w)
    return w * (1 - rate * decoupled) - rate * np.sign(memory["m"])


def reference_adam(w, memory, rate, coupled, decoupled, b, beta2, epsilon):
    g = gradient(w) + coupled * w
    t = memory["t"] = memory.get("t", 0) + 1
    memory["m"] = b * memory.get("m", 0) + (1 - b) * g
    memory["v"] = beta2 * memory.get("v", 0) + (1 - beta2) * g * g
    m_hat, v_hat = memory["m"] / (1 - b**t), memory["v"] / (1 - beta2**t)
    return w * (1 - rate * decoupled) - rate * m_hat / (np.sqrt(v_hat) + epsilon)


REFERENCES = {
    "SGD": (reference_sgd, 1.0),
    "SGDW": (reference_sgd, 0.0),
    "Adam": (reference_adam, 1.0),
    "AdamW": (reference_adam, 0.0),
    "Signum": (reference_signum, 1.0),
    "SignumW": (reference_signum, 0.0),
    "AdamInterpolated": (reference_adam, 0.5),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.98])
def test_equals_numpy_reference(name, momentum):
    reference, coupled = REFERENCES[name]
    decay = SETTING["weight_decay"]
    w, memory, path = start(), {}, []
    for rate in RATES:
        w = reference(
            w, memory, rate, coupled * decay, (1 - coupled) * decay, momentum,
            beta2=SETTING["beta2"], epsilon=SETTING["epsilon"],
        )  # fmt: skip
        path.append(w)
    np.testing.assert_allclose(trajectory(name, momentum=momentum), path, rtol=1e-12, atol=1e-14)


def torch_optimizer(name, parameter):
    lr, b, decay = SETTING["learning_rate"], SETTING["momentum"], SETTING["weight_decay"]
    adam = dict(lr=lr, betas=(b, SETTING["beta2"]), eps=SETTING["epsilon"], weight_decay=decay)
    match name:
        case "SGD":
            return torch.optim.SGD([parameter], lr=lr, momentum=b, weight_decay=decay)
        case "Adam":
            return torch.optim.Adam([parameter], **adam)
        case "AdamW":
            return torch.optim.AdamW([parameter], **adam)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_equals_torch_optim(name):
    parameter = torch.nn.Parameter(torch.from_numpy(start()))
    optimizer, path = torch_optimizer(name, parameter), []
    for rate in RATES:
        optimizer.param_groups[0]["lr"] = rate
        parameter.grad = gradient(parameter.detach())
        optimizer.step()
        path.append(parameter.detach().numpy().copy())
    np.testing.assert_allclose(trajectory(name), path, rtol=1e-12, atol=1e-14)


CHANGES = {"learning_rate": 0.02, "momentum": 0.5, "weight_decay": 0.5}
ADAM_CHANGES = CHANGES | {"beta2": 0.9, "epsilon": 1e-2}


@pytest.mark.parametrize(
    ("name", "hyperparameter"),
    [
        (name, hyperparameter)
        for name, optimizer in OPTIMIZERS.items()
        for hyperparameter in ADAM_CHANGES
        if hyperparameter in {*CHANGES, *optimizer.takes}
    ],
)
def test_every_hyperparameter_changes_the_trajectory(name, hyperparameter):
    rates = [0.01] * 60  # until signs differ as well
    changed = trajectory(name, rates=rates, **{hyperparameter: ADAM_CHANGES[hyperparameter]})
    assert np.abs(changed - trajectory(name, rates=rates)).max() > 1e-6


@pytest.mark.parametrize(("coupled", "decoupled"), PAIRS)
def test_pairs_agree_without_weight_decay_and_differ_with_it(coupled, decoupled):
    zero = [trajectory(name, weight_decay=0.0) for name in (coupled, decoupled)]
    np.testing.assert_array_equal(*zero)
    assert np.abs(trajectory(coupled)[-1] - trajectory(decoupled)[-1]).max() > 1e-4


def test_sgd_and_sgdw_agree_without_momentum():
    np.testing.assert_allclose(trajectory("SGD", momentum=0.0), trajectory("SGDW", momentum=0.0), rtol=1e-13)


@pytest.mark.parametrize(("coupled", "decoupled"), PAIRS[1:])
def test_adaptive_pairs_differ_even_without_momentum(coupled, decoupled):
    paths = [trajectory(name, momentum=0.0) for name in (coupled, decoupled)]
    assert np.abs(paths[0][-1] - paths[1][-1]).max() > 1e-4


def test_interpolation_ends_at_adam_and_adamw():
    for fraction, end in [(1.0, "Adam"), (0.0, "AdamW")]:
        path = trajectory("AdamInterpolated", coupled_fraction=fraction)
        np.testing.assert_array_equal(path, trajectory(end))
    paths = [trajectory("AdamInterpolated", coupled_fraction=f)[-1] for f in (0.0, 0.3, 0.7, 1.0)]
    for one, other in itertools.pairwise(paths):
        assert np.abs(one - other).max() > 1e-6


@pytest.mark.parametrize("fraction", [None, -0.1, 1.1])
def test_interpolation_refuses_a_bad_fraction(fraction):
    with pytest.raises(ValueError, match="coupled_fraction"):
        coupled_share(WeightDecayKind.INTERPOLATED, fraction)


def test_signum_without_momentum_is_the_sign_of_the_gradient():
    path = trajectory("Signum", momentum=0.0, weight_decay=0.0)
    np.testing.assert_allclose(path[0], start() - 0.01 * np.sign(gradient(start())), rtol=1e-14)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rules_leave_their_arguments_alone(name):
    optimizer = OPTIMIZERS[name]
    fixed = optimizer.hyperparameters(
        momentum=0.9, weight_decay=0.1, coupled_fraction=0.5, beta2=0.999, epsilon=1e-8
    )
    weights, gradients = torch.ones(3), torch.full((3,), 0.5)
    _, state = optimizer.rule(weights, gradients, {}, learning_rate=0.1, **fixed)
    before = copy.deepcopy(state)
    optimizer.rule(weights, gradients, state, learning_rate=0.1, **fixed)
    assert torch.equal(weights, torch.ones(3)) and torch.equal(gradients, torch.full((3,), 0.5))
    assert all(torch.equal(torch.as_tensor(state[name]), torch.as_tensor(before[name])) for name in state)


def rule_with(**arguments):
    """A rule that takes these by keyword."""
    text = ", ".join(["parameters", "gradients", "state", "*", "learning_rate", *arguments])
    made = {}
    exec(f"def rule({text}): return parameters, state", made)
    return made["rule"]


def test_a_rule_gets_what_it_takes_and_nothing_else():
    """Lion has a beta2 and no epsilon."""
    rule = rule_with(momentum=0, coupled_decay=0, decoupled_decay=0, beta2=0)
    lion = Optimizer("Lion", rule, WeightDecayKind.DECOUPLED, "#000000", "here")
    given = dict(momentum=0.9, weight_decay=0.1, coupled_fraction=None, beta2=0.99, epsilon=1e-8)
    assert lion.hyperparameters(**given) == {
        "momentum": 0.9, "coupled_decay": 0.0, "decoupled_decay": 0.1, "beta2": 0.99,
    }  # fmt: skip
    assert [name for name, one in OPTIMIZERS.items() if "epsilon" in one.takes] == [
        "Adam", "AdamW", "AdamInterpolated"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["momentum", "coupled_decay", "decoupled_decay", "rho"], "takes rho; known are beta2"),
        (["momentum", "decoupled_decay"], "does not take coupled_decay, which every run has"),
    ],
)
def test_a_rule_that_no_setting_can_serve_is_refused(arguments, words):
    rule = rule_with(**dict.fromkeys(arguments))
    with pytest.raises(ValueError, match=f"Lion: its rule {words}"):
        Optimizer("Lion", rule, WeightDecayKind.DECOUPLED, "#000000", "here")
