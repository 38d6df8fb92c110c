"""Features, labels and weights from a file: NumPy's npz, safetensors, or PyTorch's pt. Never a program."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from collapse.metrics.checked_input import Array
from collapse.metrics.class_statistics import ClassStatistics, class_statistics

REQUIRED = ("features", "labels", "weight")
OPTIONAL = ("bias", "test_features", "test_labels")
MOST_NAMED = 6  # unknown arrays in a message


def statistics_of_file(path: Path, *, extended: bool) -> ClassStatistics:
    """Class statistics of the arrays in a file.

    Raises ValueError, in one line that names the array and the remedy, for a file that cannot be
    read, arrays that are missing or unknown, and whatever class_statistics refuses.
    """
    arrays = read_arrays(path)
    return class_statistics(
        features_ND=arrays["features"],
        labels_N=arrays["labels"],
        weight_KD=arrays["weight"],
        bias_K=arrays.get("bias"),
        test_features=arrays.get("test_features"),
        test_labels=arrays.get("test_labels"),
        extended=extended,
    )


def read_arrays(path: Path) -> Mapping[str, Array]:
    """The file's arrays by name. Raises ValueError."""
    if not path.is_file():
        raise ValueError("not a file" if path.exists() else "no such file")
    reader = READERS.get(path.suffix.lower(), read_npz)
    return reader(path)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """What numpy.savez wrote, never unpickled."""
    if not zipfile.is_zipfile(path):
        raise ValueError(
            "not a readable npz file; write one with numpy.savez, or name it .safetensors or .pt"
        )
    with path.open("rb") as handle:
        try:
            file = np.load(handle, allow_pickle=False)
        except Exception as error:  # any kind: see npz_array
            raise ValueError(unreadable(error, "numpy.savez")) from None
        require_names(set(file.files))
        return {name: npz_array(file, name) for name in file.files}


def npz_array(file: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """One of its arrays."""
    try:
        array = file[name]
    except Exception as error:  # a damaged file raises what NumPy, zlib or a tokenizer please
        if "allow_pickle" in str(error):
            raise ValueError(f"{name}: holds pickled objects; save plain numbers") from None
        raise ValueError(f"{name}: {unreadable(error, 'numpy.savez')}") from None
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{name}: not an array; write the file with numpy.savez")
    return array


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """What safetensors.torch.save_file wrote, or its likes."""
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise ValueError(unreadable(error, "safetensors.torch.save_file")) from None
    require_names(tensors.keys())
    return tensors


def read_pt(path: Path) -> dict[str, torch.Tensor]:
    """A dict of tensors that torch.save wrote. weights_only: what is no plain data is refused, not run."""
    try:
        with warnings.catch_warnings(action="ignore"):
            tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # a damaged file raises what it pleases
        if "Unsupported global" in str(error):
            raise ValueError("holds objects that are no tensors; torch.save a dict of tensors") from None
        if "weights_only" in str(error):  # words that advise to run what is in the file
            error = ValueError("not what torch.save writes")
        raise ValueError(unreadable(error, "torch.save")) from None
    if not isinstance(tensors, dict):
        kind = type(tensors).__name__
        raise ValueError(f"holds a {kind}; torch.save a dict of tensors: {', '.join(REQUIRED)}")
    require_names({str(name) for name in tensors})
    for name, value in tensors.items():
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"{name}: a {type(value).__name__}, not a tensor; save torch.as_tensor of it")
    return tensors


def require_names(names: set[str]) -> None:
    """That what is needed is there, and nothing else is. Raises ValueError."""
    if missing := [name for name in REQUIRED if name not in names]:
        raise ValueError(f"missing arrays: {', '.join(missing)}; add them to the file")
    if unknown := sorted(set(names) - {*REQUIRED, *OPTIONAL}):
        more = f" and {len(unknown) - MOST_NAMED} more" if len(unknown) > MOST_NAMED else ""
        known = ", ".join(REQUIRED + OPTIONAL)
        raise ValueError(
            f"unknown arrays: {', '.join(unknown[:MOST_NAMED])}{more}; the known names are {known}"
        )


def unreadable(error: Exception, writer: str) -> str:
    """Why, and what writes it anew."""
    reason = " ".join((str(error) or type(error).__name__).split())
    return f"unreadable ({reason}); write the file again with {writer}"


READERS = {".safetensors": read_safetensors, ".pt": read_pt, ".pth": read_pt}
