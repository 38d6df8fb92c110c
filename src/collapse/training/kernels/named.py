"""Kernels by their names, `plain` and `fused`."""

from __future__ import annotations

from collapse.training.steps import PLAIN, Kernels


def kernels_named(name: str) -> Kernels:
    """plain: PyTorch's own. fused: those of this package, of which `trust` says where they may be used."""
    if name == "plain":
        return PLAIN
    from collapse.training.kernels.body import fused_body, written_gradients  # these import Triton
    from collapse.training.kernels.rules import fused_rule

    return Kernels(rule=fused_rule, gradients=written_gradients, body=fused_body)
