"""The images that the runs of a pack see, on the device that trains them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from collapse.datasets import DATASETS
from collapse.datasets.prepared import load_prepared
from collapse.datasets.preprocessing import preprocess, subset
from collapse.errors import InputError


class Images(NamedTuple):
    """Preprocessed images (N, C, H, W) and labels (N), on the device that trains."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


class DeviceError(InputError):
    """The device that is asked for is not here."""


def choose_device(wanted: str) -> torch.device:
    """`auto` is the GPU where there is one. Raises DeviceError when cuda is asked for and absent."""
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise DeviceError(
            "device: cuda is asked for, but torch sees no GPU here; "
            "set device to auto or cpu (params.yaml, or --config device=cpu)"
        )
    return torch.device("cuda" if available and wanted != "cpu" else "cpu")


def load_images(prepared: Path, run: Mapping[str, Any], device: torch.device) -> Images:
    """Read a prepared dataset and preprocess it as `run` (a row of the run table) wants it.

    Raises DatasetError when the file is truncated or altered, InputError when train_size cannot be had.
    """
    arrays = load_prepared(prepared, run["dataset"])
    num_classes = DATASETS[run["dataset"]].num_classes
    try:
        chosen = subset(arrays["train_labels"], size=run["train_size"], num_classes=num_classes)
    except ValueError as error:
        raise InputError(f"{run['dataset']}: {error}; choose another train_size") from None
    shape = {"dataset": run["dataset"], "image_size": run["image_size"]}
    return Images(
        preprocess(arrays["train_images"][chosen], **shape).to(device),
        arrays["train_labels"][chosen].to(device),
        preprocess(arrays["test_images"], **shape).to(device),
        arrays["test_labels"].to(device),
    )
