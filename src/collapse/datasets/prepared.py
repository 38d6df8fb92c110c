"""One safetensors file a dataset, so that the jobs of a study neither unpack nor download again.

The same dataset gives the same bytes: what the file says of itself is one entry of its metadata, since
safetensors writes several in an order of chance.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from collapse.datasets.loading import ARRAY_NAMES, array_digest, check_arrays
from collapse.datasets.registry import DatasetError, get_dataset
from collapse.files.atomic import write_atomically
from collapse.files.errors import cannot_write

ABOUT = "prepared"  # the entry of the metadata: JSON of dataset, digest and arrays_sha256


def save_prepared(arrays: Mapping[str, Tensor], path: str | os.PathLike, dataset: str) -> None:
    """Writes what `load_arrays` returned for `dataset`, with its digest and that of the bytes.

    The file appears whole or not at all. Raises DatasetError when the arrays do not fit the entry, or the
    file cannot be written.
    """
    entry = get_dataset(dataset)
    check_arrays(arrays, entry)
    about = {"dataset": dataset, "digest": entry.digest, "arrays_sha256": array_digest(arrays)}
    metadata = {ABOUT: json.dumps(about, sort_keys=True)}
    tensors = {name: arrays[name].contiguous() for name in ARRAY_NAMES}
    try:
        write_atomically(Path(path), lambda file: save_file(tensors, file, metadata=metadata))
    except (OSError, SafetensorError) as error:
        raise DatasetError(cannot_write(path, error)) from None


def load_prepared(path: str | os.PathLike, dataset: str) -> dict[str, Tensor]:
    """The arrays that `save_prepared` wrote, as `load_arrays` returns them.

    Raises DatasetError when the file is missing, truncated, altered, or of another dataset.
    """
    entry = get_dataset(dataset)
    path = Path(path)
    try:
        with safe_open(str(path), framework="pt") as stored:
            about = json.loads((stored.metadata() or {}).get(ABOUT, "null"))
            arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise _unusable(path, f"cannot be read ({reason}), it is missing or truncated") from error
    if about is None:
        raise _unusable(path, "is of another version, or no prepared dataset")
    for key, expected in (("dataset", dataset), ("digest", entry.digest)):
        if about.get(key) != expected:
            raise _unusable(path, f"has {key} {about.get(key)}, expected {expected}")
    try:
        check_arrays(arrays, entry)
    except DatasetError as error:
        raise _unusable(path, f"is altered ({error})") from error
    found = array_digest(arrays)
    if about.get("arrays_sha256") != found:
        expected = about.get("arrays_sha256")
        raise _unusable(path, f"is altered: SHA-256 expected {expected}, found {found}")
    return arrays


def _unusable(path: Path, what: str) -> DatasetError:
    return DatasetError(f"{path} {what}; delete it and run again to prepare it anew")
