"""One kernel an optimizer step: what the rule does, in place, nearly everywhere to the bit."""

import pytest
import torch
from interpreted import DEVICES, HAS_TRITON

from collapse.optimizers import OPTIMIZERS
from collapse.optimizers.layout import Piece
from collapse.training.kernels.named import kernels_named
from collapse.training.steps import FlatParameters, update_rule

SETTINGS = {"momentum": 0.9, "weight_decay": 0.013, "beta2": 0.999, "epsilon": 1e-8}


class Flat:
    """What a rule wants of FlatParameters."""

    decayed = None
    decay = FlatParameters.decay
    layout = (Piece(0, 1200, (30, 40)), Piece(1300, 2300, (10, 100), is_head=True))


def steps(rule, values, device):
    """Parameters and state after some steps, the last with gradients that are zero or not a number."""
    state, generator = {}, torch.Generator().manual_seed(1)
    values = values.clone()
    for number in range(4):
        gradients = torch.randn(values.shape, generator=generator).mul(10.0 ** -(number + 1)).to(device)
        if number == 3:
            gradients[:3], gradients[3] = 0.0, float("nan")
        rate = torch.tensor(0.013 / (number + 1), dtype=torch.float64, device=device)
        values, state = rule(values, gradients, state, learning_rate=rate)
    return values, state


def assert_same(one, other):
    torch.testing.assert_close(one, other, rtol=1.3e-7, atol=1e-8, equal_nan=True)
    assert (one.nan_to_num() == other.nan_to_num()).double().mean() > 0.999


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("optimizer", [name for name, one in OPTIMIZERS.items() if "layout" not in one.takes])
@pytest.mark.parametrize("changes", [{}, {"momentum": 0.0}, {"weight_decay": 0.0}], ids=str)
def test_the_numbers_are_the_rules(optimizer, changes, device):
    """More parameters than a program has; coupled, decoupled and split decay. One in a thousand may be a last
    digit away: compilers may fuse a multiplication with an addition."""
    settings = SETTINGS | changes | {"coupled_fraction": 0.3 if optimizer == "AdamInterpolated" else None}
    values = torch.randn(2500, generator=torch.Generator().manual_seed(0)).to(device)
    expected, its = steps(update_rule(optimizer, Flat(), **settings), values, device)
    found, state = steps(kernels_named("fused").rule(optimizer, Flat(), **settings), values, device)
    assert_same(found, expected)
    assert state.keys() == its.keys() and all(x[3].isnan() for name, x in state.items() if name != "step")
    for name in its:
        one, other = (torch.as_tensor(x, dtype=torch.float64).cpu() for x in (state[name], its[name]))
        assert_same(one, other)


@pytest.mark.parametrize("device", DEVICES)
def test_parameters_and_state_keep_their_place(device):
    values, state = torch.ones(7, device=device), {}
    rule = kernels_named("fused").rule("AdamW", Flat(), **SETTINGS, coupled_fraction=None)
    after, state = rule(values, torch.ones(7, device=device), state, learning_rate=0.1)
    first = state["first"]
    again, later = rule(after, torch.ones(7, device=device), state, learning_rate=0.1)
    assert again is after is values and later["first"] is first and later["step"] == 2


@pytest.mark.skipif(not HAS_TRITON, reason="no triton here")
def test_where_not_everything_decays_alike_the_rule_itself_is_used():
    flat = Flat()
    flat.decayed = torch.tensor([1.0, 0.0])
    rule = kernels_named("fused").rule("SGD", flat, **SETTINGS, coupled_fraction=None)
    assert rule.func is OPTIMIZERS["SGD"].rule.func
    values, _ = rule(torch.ones(2), torch.zeros(2), {}, learning_rate=1.0)
    torch.testing.assert_close(values, torch.tensor([1 - 0.013, 1.0]))
