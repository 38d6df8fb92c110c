"""One safetensors file a dataset, so that the jobs of a study neither unpack nor download again."""

import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from collapse.datasets.loading import ARRAY_NAMES, array_digest, check_arrays
from collapse.datasets.registry import DatasetError, get_dataset


def save_prepared(arrays: Mapping[str, Tensor], path: str | os.PathLike, dataset: str) -> None:
    """Writes what `load_arrays` returned for `dataset`, with its digest and that of the bytes.

    The file appears whole or not at all. Raises DatasetError when the arrays do not fit the entry.
    """
    entry = get_dataset(dataset)
    check_arrays(arrays, entry)
    path = Path(path)
    metadata = {"dataset": dataset, "digest": entry.digest, "arrays_sha256": array_digest(arrays)}
    unfinished = path.with_name(f"{path.name}.unfinished")
    tensors = {name: arrays[name].contiguous() for name in ARRAY_NAMES}
    save_file(tensors, str(unfinished), metadata=metadata)
    unfinished.replace(path)


def load_prepared(path: str | os.PathLike, dataset: str) -> dict[str, Tensor]:
    """The arrays that `save_prepared` wrote, as `load_arrays` returns them.

    Raises DatasetError when the file is missing, truncated, altered, or of another dataset.
    """
    entry = get_dataset(dataset)
    path = Path(path)
    try:
        with safe_open(str(path), framework="pt") as stored:
            metadata = stored.metadata() or {}
            arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())
        raise _unusable(path, f"cannot be read ({reason}), it is missing or truncated") from error
    for key, expected in (("dataset", dataset), ("digest", entry.digest)):
        if metadata.get(key) != expected:
            raise _unusable(path, f"has {key} {metadata.get(key)}, expected {expected}")
    try:
        check_arrays(arrays, entry)
    except DatasetError as error:
        raise _unusable(path, f"is altered ({error})") from error
    found = array_digest(arrays)
    if metadata.get("arrays_sha256") != found:
        expected = metadata.get("arrays_sha256")
        raise _unusable(path, f"is altered: SHA-256 expected {expected}, found {found}")
    return arrays


def _unusable(path: Path, what: str) -> DatasetError:
    return DatasetError(f"{path} {what}; delete it and run again to prepare it anew")
