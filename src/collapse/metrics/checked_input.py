"""What may come in as features, labels and weights: as tensors, or a ValueError that names the array."""

from __future__ import annotations

import numpy as np
import torch

Array = np.ndarray | torch.Tensor

# Types that float64 holds without loss: they are converted chunk by chunk.
LOSSLESS = frozenset(
    {
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
        *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32),
    }
)
ROWS_AT_ONCE = 1024  # that are looked at, so that no mask of N x p is made
MOST_NAMED = 10  # classes in a message


def plain_tensor(name: str, array: Array) -> torch.Tensor:
    """The array as a tensor of the same values, whatever its byte order, strides and flags."""
    if isinstance(array, torch.Tensor):
        return array.detach()
    try:
        native = array.dtype.newbyteorder("=")
        return torch.from_numpy(np.require(array, dtype=native, requirements=["C", "W"]))
    except TypeError:
        raise ValueError(f"{name}: dtype {array.dtype} does not hold plain numbers") from None


def real_tensor(name: str, array: Array, *, shape: tuple[str | int, ...]) -> torch.Tensor:
    """The array as a tensor of a LOSSLESS type and the given shape, where a letter is any length above 0."""
    tensor = plain_tensor(name, array)
    if tensor.dtype not in LOSSLESS:
        raise ValueError(f"{name}: dtype is {array.dtype}; convert it to float32 or float64")
    if tensor.ndim != len(shape) or not all(
        have == want or (isinstance(want, str) and have > 0)
        for have, want in zip(tensor.shape, shape, strict=True)
    ):
        wanted = " x ".join(map(str, shape))
        raise ValueError(f"{name}: shape is {tuple(tensor.shape)}; expected {wanted}")
    return tensor


def label_tensor(name: str, array: Array, *, num_samples: int, num_classes: int) -> torch.Tensor:
    """The array as int64 labels, one a sample, each from 0 to K - 1."""
    tensor = plain_tensor(name, array)
    if is_one_hot(tensor):
        raise ValueError(
            f"{name}: one-hot, of shape {tuple(tensor.shape)}; give the class of each sample, "
            f"{name}.argmax(1)"
        )
    if tensor.is_floating_point() or tensor.is_complex():
        raise ValueError(f"{name}: dtype is {array.dtype}; convert it to integers")
    if tensor.shape != (num_samples,):
        raise ValueError(f"{name}: shape is {tuple(tensor.shape)}; expected ({num_samples},)")
    labels = tensor.long()
    if labels.min() < 0 or labels.max() >= num_classes:
        allowed = f"0 to {num_classes - 1}, as weight has {num_classes} rows"
        raise ValueError(f"{name}: from {labels.min()} to {labels.max()}; allowed is {allowed}")
    return labels


def is_one_hot(labels: torch.Tensor) -> bool:
    """Whether every row of a matrix of two columns or more has a single 1 and else zeros."""
    if labels.ndim != 2 or labels.shape[1] < 2 or labels.is_complex():
        return False
    ones = labels == 1
    return bool((ones.sum(1) == 1).all() and ((labels == 0) | ones).all())


def bias_tensor(bias_K: Array | None, weight_KD: torch.Tensor) -> torch.Tensor:
    """The bias in float64; zero for a layer without one."""
    if bias_K is None:
        return weight_KD.new_zeros(len(weight_KD), dtype=torch.float64)
    return finite(real_tensor("bias", bias_K, shape=(len(weight_KD),)), "bias").double()


def finite(tensor: torch.Tensor, name: str) -> torch.Tensor:
    """The tensor. Raises ValueError at the first value that is not a finite number."""
    for number, part in enumerate(tensor.split(ROWS_AT_ONCE)):
        if not torch.isfinite(part).all():
            row, *rest = (~torch.isfinite(part)).nonzero()[0].tolist()
            first = (number * ROWS_AT_ONCE + row, *rest)
            raise ValueError(f"{name}: not finite (NaN or infinity), first at index {first}")
    return tensor


def require_counts(counts_K: torch.Tensor) -> torch.Tensor:
    """The samples of each class: two or more, of two classes or more. Raises ValueError."""
    num_classes = len(counts_K)
    if num_classes < 2:
        raise ValueError("weight: has one row; the metrics need two classes or more")
    for adjective, few in (("missing", counts_K == 0), ("single-sample", counts_K == 1)):
        if few.any():
            known = few.nonzero().flatten().tolist()
            classes = ", ".join(map(str, known[:MOST_NAMED]))
            classes += f" and {len(known) - MOST_NAMED} more" if len(known) > MOST_NAMED else ""
            needed = f"each of the {num_classes} classes needs two samples or more"
            raise ValueError(f"labels: {adjective} classes: {classes}; {needed}")
    return counts_K
