"""Every optimizer against a NumPy reference, torch.optim, and the limits that theory fixes."""

import copy
import itertools

import numpy as np
import pytest
import scipy.linalg
import torch

from collapse.optimizers import OPTIMIZERS, Optimizer, WeightDecayKind, coupled_share
from collapse.optimizers.layout import Piece

SETTING = dict(learning_rate=0.01, momentum=0.9, weight_decay=0.05, beta2=0.999, epsilon=1e-8)
RATES = [0.01] * 10 + [0.001] * 10  # a schedule's step lies inside the trajectory
PAIRS = [(name, f"{name}W") for name in OPTIMIZERS if f"{name}W" in OPTIMIZERS]
HEAD = Piece(0, 12, (4, 3), is_head=True)


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
    fixed |= {"layout": (HEAD,)} if "layout" in optimizer.takes else {}
    weights, state, path = torch.from_numpy(start()).flatten(), {}, []
    for rate in rates:
        weights, state = optimizer.rule(
            weights, gradient(weights), state, learning_rate=factor * rate, **fixed
        )
        path.append(HEAD.tensor(weights).numpy())
    return np.array(path)


def moments(g, memory, b, beta2, epsilon):
    """Adam's two moments without their bias."""
    t = memory["t"] = memory.get("t", 0) + 1
    memory["m"] = b * memory.get("m", 0) + (1 - b) * g
    memory["v"] = beta2 * memory.get("v", 0) + (1 - beta2) * g * g
    return memory["m"] / (1 - b**t), memory["v"] / (1 - beta2**t)


def sgd(g, memory, b, **_):
    memory["v"] = b * memory.get("v", 0) + g
    return memory["v"]


def signum(g, memory, b, **_):
    memory["m"] = b * memory.get("m", 0) + (1 - b) * g
    return np.sign(memory["m"])


def lion(g, memory, b, beta2, **_):
    m = memory.get("m", np.zeros_like(g))
    memory["m"] = beta2 * m + (1 - beta2) * g
    return np.sign(b * m + (1 - b) * g)


def adam(g, memory, **betas):
    m_hat, v_hat = moments(g, memory, **betas)
    return m_hat / (np.sqrt(v_hat) + betas["epsilon"])


def adafactor(g, memory, **betas):
    m_hat, v_hat = moments(g, memory, **betas)
    v_hat = np.outer(v_hat.mean(1), v_hat.mean(0)) / v_hat.mean()
    return m_hat / (np.sqrt(v_hat) + betas["epsilon"])


def adam_shared(g, memory, **betas):
    m_hat, v_hat = moments(g, memory, **betas)
    return m_hat / (np.sqrt(np.tile(v_hat.mean(0), (len(g), 1))) + betas["epsilon"])


def adam_centred(g, memory, **betas):
    D = adam(g, memory, **betas)
    return D - D.mean(0)


def orthogonalised(B):
    """Through the singular values: the polynomial p(s) = a s + b s^3 + c s^5, five times on each."""
    U, s, Vt = np.linalg.svd(B / (np.linalg.norm(B) + 1e-7), full_matrices=False)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return 0.2 * np.sqrt(max(B.shape)) * U @ np.diag(s) @ Vt


def muon(g, memory, b, **_):
    memory["m"] = b * memory.get("m", 0) + (1 - b) * g
    return orthogonalised(b * memory["m"] + (1 - b) * g)


def reduced(g, memory, b):
    c = g + 0.025 * b / (1 - b) * (g - memory.get("previous", np.zeros_like(g)))
    memory["previous"] = g.copy()
    return c / max(1, np.linalg.norm(c))


def mars(g, memory, b, **betas):
    return adam(reduced(g, memory, b), memory, b=b, **betas)


def mars_muon(g, memory, b, **_):
    memory["m"] = b * memory.get("m", 0) + (1 - b) * reduced(g, memory, b)
    return orthogonalised(memory["m"])


def factors(g, memory, beta2):
    memory["L"] = beta2 * memory.get("L", 0) + (1 - beta2) * g @ g.T
    memory["R"] = beta2 * memory.get("R", 0) + (1 - beta2) * g.T @ g
    return memory["L"], memory["R"]


def shampoo(g, memory, b, beta2, epsilon):
    A = adam(g, memory, b=b, beta2=beta2, epsilon=epsilon)
    L, R = factors(g, memory, beta2)
    if memory["t"] % 10 == 1:
        memory["roots"] = [
            np.linalg.inv(scipy.linalg.sqrtm(scipy.linalg.sqrtm(F)))
            for F in (X + 1e-6 * np.linalg.norm(X, 2) * np.eye(len(X)) for X in (L, R))
        ]
    left, right = memory["roots"]
    P = left @ memory["m"] @ right
    return P * np.linalg.norm(A) / np.linalg.norm(P)


def soap(g, memory, b, beta2, epsilon):
    t = memory["t"] = memory.get("t", 0) + 1
    L, R = factors(g, memory, beta2)
    if t % 10 == 1:
        memory["Q"] = [np.linalg.svd(F)[0] for F in (L, R)]  # of a symmetric matrix: its eigenvectors
    QL, QR = memory["Q"]
    memory["m"] = b * memory.get("m", 0) + (1 - b) * g
    memory["v"] = beta2 * memory.get("v", 0) + (1 - beta2) * (QL.T @ g @ QR) ** 2
    root = np.sqrt(memory["v"] / (1 - beta2**t))
    u = QL.T @ memory["m"] @ QR / (1 - b**t) / (root + epsilon + 1e-4 * np.sqrt(np.mean(root**2)))
    return QL @ u @ QR.T


# Roots and eigenvectors of matrices by other algorithms, which the next steps add up.
TOLERANCES = {shampoo: (1e-9, 1e-11), soap: (1e-9, 1e-11)}
# The direction of the head, and what of the decay is in its gradient.
REFERENCES = {
    "SGD": (sgd, 1.0),
    "SGDW": (sgd, 0.0),
    "Adam": (adam, 1.0),
    "AdamW": (adam, 0.0),
    "Signum": (signum, 1.0),
    "SignumW": (signum, 0.0),
    "AdamInterpolated": (adam, 0.5),
    "Lion": (lion, 1.0),
    "LionW": (lion, 0.0),
    "Muon": (muon, 1.0),
    "MuonW": (muon, 0.0),
    "MuonHidden": (adam, 1.0),
    "MuonHiddenW": (adam, 0.0),
    "Shampoo": (shampoo, 1.0),
    "ShampooW": (shampoo, 0.0),
    "SOAP": (soap, 1.0),
    "SOAPW": (soap, 0.0),
    "MARS": (mars, 1.0),
    "MARSW": (mars, 0.0),
    "MARSMuon": (mars_muon, 1.0),
    "MARSMuonW": (mars_muon, 0.0),
    "Adafactor": (adafactor, 1.0),
    "AdafactorW": (adafactor, 0.0),
    "AdamShared": (adam_shared, 1.0),
    "AdamSharedW": (adam_shared, 0.0),
    "AdamCentredW": (adam_centred, 0.0),
    "SGDCautious": (sgd, 0.0),
    "AdamCautious": (adam, 0.0),
    "MuonCautious": (muon, 0.0),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.98])
def test_equals_numpy_reference(name, momentum):
    assert name in REFERENCES, f"no NumPy reference of {name}: docs/extending.md, An optimizer"
    direction, coupled = REFERENCES[name]
    decay, betas = SETTING["weight_decay"], {name: SETTING[name] for name in ("beta2", "epsilon")}
    w, memory, path = start(), {}, []
    for rate in RATES:
        D = direction(gradient(w) + coupled * decay * w, memory, b=momentum, **betas)
        shrinks = D * w >= 0 if name.endswith("Cautious") else 1
        w = w * (1 - rate * (1 - coupled) * decay * shrinks) - rate * D
        path.append(w)
    rtol, atol = TOLERANCES.get(direction, (1e-12, 1e-14))
    np.testing.assert_allclose(trajectory(name, momentum=momentum), path, rtol=rtol, atol=atol)


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
# Of Adam's direction, which vectors alone have.
MUONS = ("Muon", "MuonW", "MARSMuon", "MARSMuonW", "MuonCautious")
NO_PART = {name: {"beta2", "epsilon"} for name in MUONS}


@pytest.mark.parametrize(
    ("name", "hyperparameter"),
    [
        (name, hyperparameter)
        for name, optimizer in OPTIMIZERS.items()
        for hyperparameter in ADAM_CHANGES
        if hyperparameter in {*CHANGES, *optimizer.takes} - NO_PART.get(name, set())
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
    fixed |= {"layout": (HEAD,)} if "layout" in optimizer.takes else {}
    weights, gradients = torch.ones(12), torch.full((12,), 0.5)
    _, state = optimizer.rule(weights, gradients, {}, learning_rate=0.1, **fixed)
    before = copy.deepcopy(state)
    _, later = optimizer.rule(weights, gradients, state, learning_rate=0.1, **fixed)
    assert torch.equal(weights, torch.ones(12)) and torch.equal(gradients, torch.full((12,), 0.5))
    assert later.keys() == state.keys(), "all names are there after the first step"
    assert all(torch.equal(torch.as_tensor(state[name]), torch.as_tensor(before[name])) for name in state)


def direction_with(*arguments):
    """A direction that takes these by keyword."""
    made = {}
    exec(f"def direction(gradients, state, *, {', '.join(arguments)}): return gradients, state", made)
    return made["direction"]


def test_a_direction_gets_what_it_takes_and_nothing_else():
    """Lion has a beta2 and no epsilon."""
    given = dict(momentum=0.9, weight_decay=0.1, coupled_fraction=None, beta2=0.99, epsilon=1e-8)
    assert OPTIMIZERS["LionW"].hyperparameters(**given) == {
        "momentum": 0.9, "coupled_decay": 0.0, "decoupled_decay": 0.1, "beta2": 0.99,
    }  # fmt: skip
    assert {"SGD", "SGDW", "Signum", "SignumW", "Lion", "LionW", "SGDCautious"} <= {
        name for name, one in OPTIMIZERS.items() if "epsilon" not in one.takes
    }
    assert all("epsilon" in OPTIMIZERS[name].takes for name in ("Adam", "AdamW", "Shampoo", "SOAPW", "Muon"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["momentum", "gamma"], "takes gamma; known are beta2"),
        (["beta2"], "does not take momentum, which every run has"),
    ],
)
def test_a_direction_that_no_setting_can_serve_is_refused(arguments, words):
    with pytest.raises(ValueError, match=f"New: its direction {words}"):
        Optimizer("New", direction_with(*arguments), WeightDecayKind.DECOUPLED, "#000000", "here")
