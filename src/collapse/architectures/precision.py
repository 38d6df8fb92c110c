"""In what arithmetic a network's body computes. Head, loss and updates are float32 whatever it is.

So the recursion that NC0 obeys under SGD and SGDW holds in each (paper, section 3.3).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

# tf32: a GPU rounds the inputs of convolutions to 10 bits of mantissa and adds up in float32. PyTorch does so
# unless told otherwise, so the paper's runs did. A CPU knows no TF32: there it is float32.
# bfloat16: the body in autocast, with 7 bits.
PRECISIONS = ("float32", "tf32", "bfloat16")


@contextmanager
def convolutions_in(precision: str) -> Iterator[None]:
    """How cuDNN computes, forward and backward: in TF32 or not, and the same bits every time.

    Raises ValueError for an unknown precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r}: one of {', '.join(PRECISIONS)}")
    flags = {"enabled": True, "benchmark": False, "deterministic": True}
    with torch.backends.cudnn.flags(**flags, allow_tf32=precision == "tf32"):
        yield


def body_autocast(precision: str, device_type: str) -> AbstractContextManager:
    """What a body is called in: autocast where it computes in bfloat16; parameters stay float32."""
    if precision == "bfloat16":
        return torch.autocast(device_type, torch.bfloat16)
    return nullcontext()
