"""One digest of several tensors: what tells an altered file from the one that was written."""

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np
from torch import Tensor


def tensor_digest(tensors: Mapping[str, Tensor], names: Iterable[str], *, about: str = "") -> str:
    """SHA-256 (hex) of a text and of the tensors' names, types, shapes and bytes, in the order of `names`.

    The tensors are on the CPU.
    """
    digest = hashlib.sha256(about.encode())
    for name in names:
        array = np.ascontiguousarray(tensors[name].numpy())
        little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name} {array.dtype.name} {array.shape}\n".encode())
        digest.update(little_endian.data if array.size else b"")
    return digest.hexdigest()
