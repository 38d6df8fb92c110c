"""What loaders give: inputs as a model takes them, and the class of each sample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from collapse.metrics.checked_input import is_one_hot, plain_tensor
from collapse.own_models.errors import ModelError

LABELS = ("labels", "label", "targets", "target", "y")  # of a batch that is a mapping


class Batch(NamedTuple):
    """Arguments of a model, and labels as they came."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    labels: Any


def split_batch(batch: Any, *, name: str) -> Batch:
    """(inputs, labels), inputs one or several and also a mapping; or one mapping with its labels in it.

    name: of the loader, for the message. Raises ModelError.
    """
    if isinstance(batch, Mapping):
        known = [key for key in LABELS if key in batch]
        rest = {key: value for key, value in batch.items() if key not in known}
        if len(known) != 1 or not rest:
            raise ModelError(
                f"{name}: a batch has the keys {list(batch)}; one of {', '.join(LABELS)} is needed"
            )
        args = tuple(rest.values()) if len(rest) == 1 else ()
        return Batch(args, {} if args else rest, batch[known[0]])
    if not isinstance(batch, (tuple, list)) or len(batch) < 2:
        kind = type(batch).__name__
        raise ModelError(f"{name}: a batch is a {kind}; (inputs, labels) or a mapping with labels is needed")
    *inputs, labels = batch
    if len(inputs) == 1 and isinstance(inputs[0], Mapping):
        return Batch((), dict(inputs[0]), labels)
    if len(inputs) == 1 and isinstance(inputs[0], (tuple, list)):
        return Batch(tuple(inputs[0]), {}, labels)
    return Batch(tuple(inputs), {}, labels)


def moved(value: Any, device: torch.device, dtype: torch.dtype | None) -> Any:
    """Tensors and arrays, in whatever they stand, on the device; floating ones in `dtype` if it is given."""
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if isinstance(value, Tensor):
        return value.to(device, dtype if value.is_floating_point() else None, non_blocking=True)
    if isinstance(value, Mapping):
        return {key: moved(each, device, dtype) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [moved(each, device, dtype) for each in value]
    return value


def class_labels(labels: Any, *, num_samples: int, num_classes: int, name: str) -> Tensor:
    """The class of each sample as int64; one-hot rows are turned into it. Raises ModelError.

    name: of the loader or argument, for the message.
    """
    array = labels if isinstance(labels, (Tensor, np.ndarray)) else np.asarray(labels)
    try:
        tensor = plain_tensor(f"{name}: labels", array)
    except ValueError as error:
        raise ModelError(str(error)) from None
    if is_one_hot(tensor) and tensor.shape[1] == num_classes:
        tensor = tensor.int().argmax(1)
    if tensor.is_floating_point() or tensor.is_complex():
        soft = "soft labels are no classes; " if tensor.ndim == 2 else ""
        raise ModelError(f"{name}: labels are {tensor.dtype}; {soft}integers from 0 to K - 1 are needed")
    if tensor.shape != (num_samples,):
        raise ModelError(f"{name}: labels are of shape {tuple(tensor.shape)}; expected ({num_samples},)")
    tensor = tensor.long()
    if num_samples and not 0 <= tensor.min() <= tensor.max() < num_classes:
        raise ModelError(
            f"{name}: labels from {tensor.min()} to {tensor.max()}; the last layer's {num_classes} rows "
            f"allow 0 to {num_classes - 1}"
        )
    return tensor


def is_repeatable(loader: Iterable) -> bool:
    """Whether a loader can be gone through twice: neither an iterator nor of a stream of data."""
    stream = isinstance(getattr(loader, "dataset", loader), IterableDataset)
    return not stream and not isinstance(loader, Iterator)


def num_batches(loader: Iterable) -> int | None:
    """How many, where the loader knows."""
    try:
        return len(loader)
    except TypeError:
        return None
