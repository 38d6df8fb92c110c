"""The images that the runs of a pack see, on the device that trains them or read into it batch by batch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from collapse.datasets import DATASETS
from collapse.datasets.image_folder import FolderImages
from collapse.datasets.prepared import load_prepared
from collapse.datasets.preprocessing import preprocess, subset
from collapse.files.errors import InputError
from collapse.training.gpu_choice import use_free_gpu


class Images(NamedTuple):
    """Preprocessed images (N, C, H, W) and labels (N), on the device that trains."""

    train_images: Tensor | FolderImages
    train_labels: Tensor
    test_images: Tensor | FolderImages
    test_labels: Tensor


class DeviceError(InputError):
    """The device that is asked for is not here."""


def choose_device(wanted: str) -> torch.device:
    """`auto` is the GPU where there is one, of several one that no other job has taken.

    Raises DeviceError when cuda is asked for and absent.
    """
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise DeviceError(
            "device: cuda is asked for, but torch sees no GPU here; "
            "set device to auto or cpu (params.yaml, --config device=cpu, collapse train --device cpu)"
        )
    if not available or wanted == "cpu":
        return torch.device("cpu")
    return torch.device("cuda", use_free_gpu())


def load_images(
    prepared: Path, run: Mapping[str, Any], device: torch.device, *, root: Path | None = None
) -> Images:
    """Read a prepared dataset and preprocess it as `run` (a row of the run table) wants it.

    root: the user's data, for a dataset whose images stay there; the others do not need it.
    Raises DatasetError when the file is truncated or altered, InputError when train_size cannot be had.
    """
    arrays = load_prepared(prepared, run["dataset"])
    num_classes = DATASETS[run["dataset"]].num_classes
    try:
        chosen = subset(arrays["train_labels"], size=run["train_size"], num_classes=num_classes)
    except ValueError as error:
        raise InputError(f"{run['dataset']}: {error}; choose another train_size") from None
    return Images(
        wanted_images(arrays["train_images"][chosen], run, device, root=root),
        arrays["train_labels"][chosen].to(device),
        wanted_images(arrays["test_images"], run, device, root=root),
        arrays["test_labels"].to(device),
    )


def wanted_images(
    stored: Tensor, run: Mapping[str, Any], device: torch.device, *, root: Path | None
) -> Tensor | FolderImages:
    """The stored images, or those of a stored index, as `run` wants them."""
    entry, shape = DATASETS[run["dataset"]], {"dataset": run["dataset"], "image_size": run["image_size"]}
    if not entry.stays_on_disk:
        return preprocess(stored, **shape).to(device, memory_format=torch.channels_last)
    return FolderImages(
        stored,
        folder=Path(root) / entry.folder,
        augmentation=run["augmentation"],
        device=device,
        num_threads=torch.get_num_threads(),
        **shape,
    )
