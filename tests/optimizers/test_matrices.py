"""What directions for matrices do to a network: its layout, its kernels, its vectors, low rank, memory."""

import numpy as np
import pytest
import torch
from torch import nn

from collapse.architectures import ARCHITECTURES
from collapse.optimizers import OPTIMIZERS
from collapse.optimizers.directions import adam
from collapse.optimizers.layout import Piece
from collapse.optimizers.mars import variance_reduced
from collapse.optimizers.orthogonal import newton_schulz, orthogonalised
from collapse.optimizers.preconditioned import shampoo, soap
from collapse.training.steps import FlatParameters, update_rule

SETTINGS = dict(momentum=0.9, weight_decay=0.1, coupled_fraction=0.5, beta2=0.99, epsilon=1e-8)
BETAS = dict(momentum=0.9, beta2=0.99, epsilon=1e-8)
OF_MATRICES = [name for name, entry in OPTIMIZERS.items() if "layout" in entry.takes]
SHAPE = dict(image_size=8, num_classes=10, train_size=100, width=0.125)


def network_of(architecture="ResNet9"):
    torch.manual_seed(0)
    channels = 2 if architecture == "UFM" else 3
    return ARCHITECTURES[architecture](channels=channels, **SHAPE).double()


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def steps(name, flat, gradients, *, rate=0.01, **changes):
    """The parameters after a step a gradient, of copies: the vector of gradients is one buffer."""
    rule, buffer = update_rule(name, flat, **SETTINGS | changes), torch.zeros_like(flat.values)
    values, state = flat.values.clone(), {}
    for gradient in gradients:
        buffer.copy_(gradient)
        values, state = rule(values, buffer, state, learning_rate=rate)
        buffer.zero_()
    return values


def test_the_layout_is_the_weights_of_layers_in_the_order_of_the_vector():
    network = network_of()
    flat = FlatParameters(network)
    weights = [m.weight for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert [piece.stop - piece.start for piece in flat.layout] == [weight.numel() for weight in weights]
    assert [piece.is_head for piece in flat.layout] == [False] * 8 + [True]
    for piece, weight in zip(flat.layout, weights, strict=True):
        rows = weight.permute(0, 2, 3, 1) if weight.ndim == 4 else weight
        assert torch.equal(piece.matrix(flat.values), rows.flatten(1))
        assert piece.tensor(flat.values).data_ptr() == weight.data_ptr(), "a view"
    assert flat.layout[1].shape == (16, 9, 8) and flat.layout[-1].shape == (10, 64)


@pytest.mark.parametrize(
    ("architecture", "number", "shapes"),
    [
        ("MLP", 3, [(16, 192), (16, 16), (10, 16)]),
        ("UFM", 1, [(10, 64)]),  # features are no layer's weight
        ("ResNet50", 54, [(8, 49, 3), (8, 8), (8, 9, 8), (32, 8)]),
        ("ViT", 38, [(64, 16, 3), (64, 64), (64, 64), (64, 64), (64, 64), (256, 64)]),
    ],
)
def test_layouts_of_the_other_architectures(architecture, number, shapes):
    """A 1 x 1 kernel has two sides, and an attention's input projection is three matrices."""
    flat = FlatParameters(network_of(architecture))
    assert len(flat.layout) == number and [piece.shape for piece in flat.layout[: len(shapes)]] == shapes
    assert sum(piece.is_head for piece in flat.layout) == 1 and flat.layout[-1].is_head


def test_without_sides_of_one_entry():
    flat = FlatParameters(ARCHITECTURES["ResNet9"](channels=1, **SHAPE))
    assert flat.layout[0].shape == (8, 9)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_without_a_gradient_every_parameter_decays_alike_and_is_finite(name):
    flat = FlatParameters(network_of())
    values = steps(name, flat, [torch.zeros_like(flat.values)], weight_decay=0.5)
    kind = str(OPTIMIZERS[name].weight_decay_kind)
    if kind in ("decoupled", "cautious"):
        torch.testing.assert_close(values, (1 - 0.01 * 0.5) * flat.values, rtol=1e-14, atol=0)
    else:
        assert values.isfinite().all() and not torch.equal(values, flat.values)


@pytest.mark.parametrize("name", OF_MATRICES)
def test_gradients_of_rank_one_are_no_obstacle(name):
    flat = FlatParameters(network_of())
    gradient = torch.zeros_like(flat.values)
    for piece in flat.layout:
        rows, columns = piece.matrix(gradient).shape
        piece.matrix(gradient).copy_(random(rows, 1) * random(1, columns, seed=1))
    values = steps(name, flat, [gradient] * 12)
    assert values.isfinite().all() and not torch.equal(values, flat.values)


@pytest.mark.parametrize("name", [name for name in OF_MATRICES if not OPTIMIZERS[name].graphed])
def test_a_run_that_diverges_leaves_nan_and_raises_nothing(name):
    flat = FlatParameters(network_of())
    assert not steps(name, flat, [torch.full_like(flat.values, torch.nan)]).isfinite().any()


@pytest.mark.parametrize("name", OF_MATRICES)
def test_vectors_and_what_a_direction_leaves_out_get_adams(name):
    flat = FlatParameters(network_of())
    gradients = [random(len(flat.values), seed=seed) for seed in range(3)]
    adams = "Adam" if str(OPTIMIZERS[name].weight_decay_kind) == "coupled" else "AdamW"
    changes = {"weight_decay": 0.0}
    found, expected = (steps(one, flat, gradients, **changes) for one in (name, adams))
    as_adam = torch.ones(len(flat.values), dtype=torch.bool)
    for piece in flat.layout:
        own = (
            not piece.is_head
            if "Hidden" in name
            else piece.is_head
            if "AdamS" in name or "AdamC" in name
            else True
        )
        as_adam[piece.start : piece.stop] = not own
    torch.testing.assert_close(found[as_adam], expected[as_adam], rtol=1e-12, atol=1e-14)
    assert ((found - expected).abs()[~as_adam] > 1e-9).double().mean() > 0.9


@pytest.mark.parametrize("name", OF_MATRICES)
def test_the_order_of_a_matrixs_columns_does_not_matter(name):
    """A kernel's pixels and channels permuted: the permuted step."""
    order = torch.randperm(6, generator=torch.Generator().manual_seed(3))
    ends = []
    for permuted in (False, True):
        columns = order if permuted else torch.arange(6)
        rule = OPTIMIZERS[name].rule
        fixed = OPTIMIZERS[name].hyperparameters(**SETTINGS) | {"layout": (Piece(0, 36, (6, 6), True),)}
        values, state = random(6, 6)[:, columns].flatten(), {}
        for seed in range(1, 13):
            gradients = random(6, 6, seed=seed)[:, columns].flatten()
            values, state = rule(values, gradients, state, learning_rate=0.01, **fixed)
        ends.append(values.view(6, 6)[:, columns.argsort()])
    torch.testing.assert_close(*ends, rtol=1e-8, atol=1e-10)


def test_newton_schulz_of_a_matrix_and_of_its_transpose():
    for shape in ((4, 9), (9, 4), (5, 5)):
        matrix = random(*shape)
        torch.testing.assert_close(newton_schulz(matrix), newton_schulz(matrix.mT).mT)
        values = torch.linalg.svdvals(newton_schulz(matrix))
        assert values.min() > 0.68 and values.max() < 1.21
    assert 0.2 * 0.68 < orthogonalised(random(64, 576)).square().mean().sqrt() < 0.2 * 1.21
    assert newton_schulz(torch.zeros(3, 4)).abs().max() == 0


@pytest.mark.parametrize("shape", [(4, 9), (9, 4)])
@pytest.mark.parametrize(("adjust", "factor"), [("match_rms_adamw", 1.0), ("original", None)])
def test_muon_is_torchs_with_our_iteration_in_its_place(shape, adjust, factor, monkeypatch):
    """Decoupled decay by the unadjusted learning rate; the two adjustments of the direction by its shape."""
    muon = pytest.importorskip("torch.optim._muon")
    monkeypatch.setattr(muon, "_zeropower_via_newtonschulz", lambda x, *_: newton_schulz(x))
    factor = factor or max(1.0, shape[0] / shape[1]) ** 0.5 / (0.2 * max(shape) ** 0.5)
    parameter = nn.Parameter(random(*shape))
    its = torch.optim.Muon([parameter], lr=0.02, weight_decay=0.5, momentum=0.9, adjust_lr_fn=adjust)
    piece = Piece(0, parameter.numel(), shape)
    values, state = random(*shape).flatten(), {}
    for seed in range(1, 21):
        parameter.grad = random(*shape, seed=seed)
        its.step()
        D, state = OPTIMIZERS["MuonW"].direction(parameter.grad.flatten(), state, layout=(piece,), **BETAS)
        values = (1 - 0.02 * 0.5) * values - 0.02 * factor * D
    torch.testing.assert_close(piece.tensor(values), parameter.detach(), rtol=1e-12, atol=1e-13)


def test_lion_with_equal_betas_is_signum():
    gradients = [random(12, seed=seed) for seed in range(30)]
    states, signum, lion = ({}, {}), OPTIMIZERS["Signum"].direction, OPTIMIZERS["Lion"].direction
    for gradient in gradients:
        one, first = signum(gradient, states[0], momentum=0.9)
        other, second = lion(gradient, states[1], momentum=0.9, beta2=0.9)
        assert torch.equal(one, other)
        states = first, second


def test_shampoo_of_one_gradient_is_its_polar_factor(monkeypatch):
    """U V^T at delta -> 0, as long as Adam's direction."""
    monkeypatch.setattr("collapse.optimizers.preconditioned.DELTA", 0.0)
    gradient, piece = random(4, 6), Piece(0, 24, (4, 6))
    D, _ = shampoo(gradient.flatten(), {}, layout=(piece,), **BETAS)
    U, _, Vt = torch.linalg.svd(gradient, full_matrices=False)
    A, _ = adam(gradient, {}, **BETAS)
    torch.testing.assert_close(D.view(4, 6), U @ Vt * A.norm() / (U @ Vt).norm(), rtol=1e-7, atol=1e-9)


def test_shampoo_of_a_kernel_has_a_factor_for_each_of_its_three_sides():
    """(L + delta I)^(-1/6) on output, pixel and input side, against sums over indices."""
    gradient, piece = random(3, 4, 5), Piece(0, 60, (3, 4, 5))
    D, state = shampoo(gradient.flatten(), {}, layout=(piece,), **BETAS)
    P = gradient.numpy()
    for side, sums in enumerate(("ahi,bhi->ab", "oai,obi->ab", "oha,ohb->ab")):
        factor = 0.01 * np.einsum(sums, gradient.numpy(), gradient.numpy())
        np.testing.assert_allclose(state[f"factor_0_{side}"], factor, rtol=1e-12)
        values, vectors = np.linalg.eigh(factor)
        root = vectors @ np.diag((values + 1e-6 * values.max()) ** (-1 / 6)) @ vectors.T
        P = np.moveaxis(np.tensordot(root, P, axes=(1, side)), 0, side)
    D = D.view(3, 4, 5).numpy()
    np.testing.assert_allclose(D / np.linalg.norm(D), P / np.linalg.norm(P), rtol=1e-8, atol=1e-10)


def test_soaps_direction_does_not_hang_on_the_order_and_the_signs_of_its_basis():
    """The second moment goes with its columns."""
    piece, states = Piece(0, 24, (4, 6)), [{}]
    for seed in range(3):
        _, states[0] = soap(random(24, seed=seed), states[0], layout=(piece,), **BETAS)
    order, signs = torch.tensor([2, 0, 3, 1]), torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64)
    other = dict(states[0])
    other["basis_0_0"] = (other["basis_0_0"] * signs)[:, order]
    other["second"] = other["second"].view(4, 6)[order].flatten()
    one, two = (soap(random(24, seed=9), state, layout=(piece,), **BETAS)[0] for state in (states[0], other))
    torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-12)


def test_bases_and_roots_are_renewed_every_tenth_step_and_those_of_large_sides_every_hundredth():
    for shape, every in (((4, 6), 10), ((4, 130), 100)):
        piece, state, seen = Piece(0, shape[0] * shape[1], shape), {}, []
        for step in range(1, 13):
            before = state.get("root_0_0")
            _, state = shampoo(random(*shape, seed=step).flatten(), state, layout=(piece,), **BETAS)
            seen += [] if before is state["root_0_0"] else [step]
        assert seen == [step for step in (1, 11) if (step - 1) % every == 0]


def test_mars_sees_how_gradients_change_in_matrices_alone(monkeypatch):
    """A buffer zeroed in place does not hide it; a large correction is clipped piece by piece."""
    flat = FlatParameters(network_of())
    gradients = [random(len(flat.values), seed=seed) for seed in range(4)]
    with_gamma = steps("MARSW", flat, gradients)
    monkeypatch.setattr("collapse.optimizers.mars.GAMMA", 0.0)
    without = steps("MARSW", flat, gradients)
    piece = flat.layout[2]
    assert (piece.tensor(with_gamma) - piece.tensor(without)).abs().max() > 1e-4
    reduced, kept = variance_reduced(gradients[0], {}, momentum=0.9, layout=flat.layout)
    assert all(piece.matrix(reduced).norm() == pytest.approx(1.0) for piece in flat.layout)
    assert torch.equal(kept["previous"], gradients[0])


@pytest.mark.parametrize("name", [n for n in OPTIMIZERS if str(OPTIMIZERS[n].weight_decay_kind) == "coupled"])
def test_more_coupled_decay_leaves_smaller_weights(name):
    flat = FlatParameters(network_of())
    gradients = [random(len(flat.values), seed=seed) for seed in range(20)]
    norms = [steps(name, flat, gradients, weight_decay=decay).norm() for decay in (0.0, 1.0, 10.0)]
    assert norms[0] > norms[1] > norms[2]
