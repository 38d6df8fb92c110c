"""Lion and MARS against the package pytorch-optimizer, where it does what the papers say.

Not compared: its MARS with coupled decay, which adds the decay behind the moments, and its Shampoo, whose
factors are sums without grafting.
"""

import pytest
import torch
from pytorch_optimizer import MARS, Lion

from collapse.optimizers import OPTIMIZERS
from collapse.optimizers.layout import Piece

PIECE = Piece(0, 24, (4, 6))
DECAY, RATES = 0.5, [0.02] * 10 + [0.002] * 10


def random(seed):
    return torch.randn((4, 6), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ours(name, **hyperparameters):
    """The parameters after twenty steps by the rule of the registry."""
    entry = OPTIMIZERS[name]
    given = {"momentum": 0.9, "weight_decay": DECAY, "coupled_fraction": None, "beta2": 0.99, "epsilon": 1e-8}
    fixed = entry.hyperparameters(**given | hyperparameters)
    fixed |= {"layout": (PIECE,)} if "layout" in entry.takes else {}
    values, state = random(0).flatten(), {}
    for seed, rate in enumerate(RATES, start=1):
        values, state = entry.rule(values, random(seed).flatten(), state, learning_rate=rate, **fixed)
    return PIECE.tensor(values)


def theirs(optimizer, **settings):
    """The same by an optimizer of the package, with a new gradient tensor for every step."""
    parameter = torch.nn.Parameter(random(0))
    its = optimizer([parameter], lr=RATES[0], weight_decay=DECAY, foreach=False, **settings)
    for seed, rate in enumerate(RATES, start=1):
        its.param_groups[0]["lr"] = rate
        parameter.grad = random(seed)
        its.step()
    return parameter.detach()


@pytest.mark.parametrize(("name", "decoupled"), [("Lion", False), ("LionW", True)])
def test_lion(name, decoupled):
    expected = theirs(Lion, betas=(0.9, 0.99), weight_decouple=decoupled)
    torch.testing.assert_close(ours(name), expected, rtol=1e-14, atol=1e-15)


def test_mars():
    """Without epsilon; 1e-15, which the package always adds inside the root, is what remains."""
    expected = theirs(MARS, betas=(0.95, 0.99), gamma=0.025, eps=0.0)
    found = ours("MARSW", momentum=0.95, epsilon=0.0)
    torch.testing.assert_close(found, expected, rtol=2e-11, atol=1e-14)
