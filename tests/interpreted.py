"""Triton's kernels without a GPU: in its interpreter, in which NumPy does what a program would do.

To be imported before anything that imports triton: whether kernels are compiled or interpreted is settled
when they are defined. On a machine with a GPU they are compiled, and the tests run there.
"""

import importlib.util
import os

import numpy as np
import pytest
import torch

HAS_TRITON = importlib.util.find_spec("triton") is not None
INTERPRETED = HAS_TRITON and not torch.cuda.is_available()
VARIABLE = "TRITON_INTERPRET"

if INTERPRETED:
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = "1"
    import triton.experimental.gluon  # the first launch would import it
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    import collapse.training.kernels.body
    import collapse.training.kernels.rules  # noqa: F401

    cast = InterpreterBuilder.cast_impl

    def rounding_cast(builder, source, kind):
        """Round to bfloat16 as a GPU does; the interpreter cuts digits off."""
        if (source.dtype.scalar, kind.scalar) != (triton.language.float32, triton.language.bfloat16):
            return cast(builder, source, kind)
        values = torch.from_numpy(np.ascontiguousarray(source.data)).bfloat16()
        return TensorHandle(values.view(torch.uint16).numpy(), kind.scalar)

    InterpreterBuilder.cast_impl = rounding_cast
    if before is None:
        del os.environ[VARIABLE]  # not for the processes that tests start


def use_few_programs(monkeypatch):
    """In the interpreter a program takes milliseconds whatever its size: kernels get few, of many rows."""
    for name in ("batch_norm", "first_layer"):
        module = f"collapse.training.kernels.{name}"
        monkeypatch.setattr(f"{module}.rows_at_once", lambda pool: 256 if pool else 1024)
    monkeypatch.setattr("collapse.training.kernels.rules.BLOCK", 2**16)


DEVICES = [
    pytest.param("cpu", marks=pytest.mark.skipif(
        not INTERPRETED, reason="kernels are compiled here" if HAS_TRITON else "no triton here")),
    pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(
        not (HAS_TRITON and torch.cuda.is_available()), reason="needs a GPU and triton")]),
]  # fmt: skip
