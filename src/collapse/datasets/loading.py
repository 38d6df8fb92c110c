"""Reading a dataset into four tensors: `load_arrays`."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from collapse.datasets.files import verified_files
from collapse.datasets.formats import read_cifar_batch, read_idx
from collapse.datasets.image_folder import read_index
from collapse.datasets.registry import Dataset, DatasetError, get_dataset
from collapse.files.checksums import tensor_digest

ARRAY_NAMES = ("train_images", "train_labels", "test_images", "test_labels")


def load_arrays(name: str, *, root: str | os.PathLike, cache: str | os.PathLike) -> dict[str, Tensor]:
    """The dataset `name` of `DATASETS`, as it comes, every byte checked.

    root: the user's data, in torchvision's layout or as archives, may be read-only (`data_root`).
    cache: where archives are unpacked and downloads go. Datasets without files read neither.
    Returns train_images (N, C, H, W) and test_images, uint8; train_labels (N,) and test_labels,
    int64; of an image folder the index of `read_index`. Raises DatasetError when the data are missing,
    truncated or altered, ValueError when the name is unknown.
    """
    dataset = get_dataset(name)
    try:
        arrays = _read(dataset, root=Path(root), cache=Path(cache))
    except ModuleNotFoundError as error:
        raise DatasetError(
            f"{name} cannot be read without {error.name}, which is not installed; install it, or bring "
            f"results/<study>/datasets/{name}.safetensors from a machine that has it"
        ) from None
    if dataset.random_labels is not None:
        arrays["train_labels"] = permuted(arrays["train_labels"], seed=dataset.random_labels)
    check_arrays(arrays, dataset)
    return arrays


def permuted(labels: Tensor, *, seed: int) -> Tensor:
    """The labels in another order, so each class keeps its size."""
    return labels[torch.from_numpy(np.random.RandomState(seed).permutation(len(labels)))]


def _read(dataset: Dataset, *, root: Path, cache: Path) -> dict[str, Tensor]:
    if dataset.stays_on_disk:
        return read_index(dataset, root=root)
    if dataset.files:
        return _READERS[dataset.source](verified_files(dataset, root=root, cache=cache))
    arrays = _READERS[dataset.source](dataset)
    found = array_digest(arrays)
    if found != dataset.arrays_sha256:
        raise DatasetError(
            f"{dataset.name} as read here differs from the dataset of that name: SHA-256 of its arrays "
            f"expected {dataset.arrays_sha256}, found {found}; install the locked versions of "
            "scikit-learn and NumPy"
        )
    return arrays


def check_arrays(arrays: Mapping[str, Tensor], dataset: Dataset) -> None:
    """Raises DatasetError unless names, shapes, types and labels are what the registry says."""
    image_shape = (dataset.channels, dataset.image_size, dataset.image_size)
    if set(arrays) != set(ARRAY_NAMES):
        raise DatasetError(f"{dataset.name} has arrays {sorted(arrays)}, not {ARRAY_NAMES}")
    for part, size in (("train", dataset.train_size), ("test", dataset.test_size)):
        images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
        # A row of an index is as long as its longest path.
        shape = (size, images.shape[-1]) if dataset.stays_on_disk else (size, *image_shape)
        if images.shape != shape or images.dtype != torch.uint8:
            raise DatasetError(
                f"{dataset.name}: {part} images are {images.dtype} {tuple(images.shape)}, "
                f"expected torch.uint8 {shape}"
            )
        if labels.shape != (size,) or labels.dtype != torch.int64:
            raise DatasetError(
                f"{dataset.name}: {part} labels are {labels.dtype} {tuple(labels.shape)}, "
                f"expected torch.int64 {(size,)}"
            )
        if labels.unique().tolist() != list(range(dataset.num_classes)):
            raise DatasetError(f"{dataset.name}: {part} labels are not 0..{dataset.num_classes - 1}")


def array_digest(arrays: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) of the arrays' names, types, shapes and bytes, in `ARRAY_NAMES`' order."""
    return tensor_digest(arrays, ARRAY_NAMES)


def _read_idx(files: Mapping[str, Path]) -> dict[str, Tensor]:
    arrays = {}
    for part, stem in (("train", "train"), ("test", "t10k")):
        arrays[f"{part}_images"] = read_idx(files[f"{stem}-images-idx3-ubyte"]).unsqueeze(1)
        arrays[f"{part}_labels"] = read_idx(files[f"{stem}-labels-idx1-ubyte"]).long()
    return arrays


def _read_cifar(files: Mapping[str, Path]) -> dict[str, Tensor]:
    arrays = {}
    for part, names in (("train", [f"data_batch_{i}" for i in range(1, 6)]), ("test", ["test_batch"])):
        images, labels = zip(*(read_cifar_batch(files[name]) for name in names), strict=True)
        arrays[f"{part}_images"], arrays[f"{part}_labels"] = torch.cat(images), torch.cat(labels)
    return arrays


def _read_digits(dataset: Dataset) -> dict[str, Tensor]:
    """scikit-learn's 1,797 digits, values 0..16 scaled to round(255 v / 16).

    The split needs no random numbers: each class keeps train_size / K images for training, its
    others go to the test set, spread evenly over the class in the order of the file, which is by
    writer.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(np.rint(digits.images * 255 / 16).astype(np.uint8)).unsqueeze(1)
    labels = torch.from_numpy(digits.target.astype(np.int64))
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    for k in range(dataset.num_classes):
        members = (labels == k).nonzero().flatten()
        num_test = len(members) - dataset.train_size // dataset.num_classes
        # i is taken where i * num_test / n passes a whole number: num_test times, evenly.
        i = torch.arange(len(members))
        taken = (i + 1) * num_test // len(members) > i * num_test // len(members)
        is_test[members[taken]] = True
    return {
        "train_images": images[~is_test],
        "train_labels": labels[~is_test],
        "test_images": images[is_test],
        "test_labels": labels[is_test],
    }


def _generate_patterns(dataset: Dataset) -> dict[str, Tensor]:
    """Noise around one pattern of dark and light pixels a class: a threshold a pixel separates them."""
    # RandomState's stream is frozen across NumPy versions, default_rng's is not.
    generator = np.random.RandomState(3141)
    image_shape = (dataset.channels, dataset.image_size, dataset.image_size)
    patterns = generator.choice([64, 192], size=(dataset.num_classes, *image_shape))
    arrays = {}
    for part, size in (("train", dataset.train_size), ("test", dataset.test_size)):
        labels = np.arange(size) % dataset.num_classes
        noise = generator.randint(-63, 64, size=(size, *image_shape))
        images = (patterns[labels] + noise).astype(np.uint8)
        arrays[f"{part}_images"] = torch.from_numpy(images)
        arrays[f"{part}_labels"] = torch.from_numpy(labels.astype(np.int64))
    return arrays


def _generate_indices(dataset: Dataset) -> dict[str, Tensor]:
    """The number of each sample, its low byte in the first channel and its high byte in the second."""
    n = torch.arange(dataset.train_size)
    images = torch.stack([n % 256, n // 256], dim=1).to(torch.uint8)[:, :, None, None]
    labels = n % dataset.num_classes
    return {
        "train_images": images,
        "train_labels": labels,
        "test_images": images.clone(),
        "test_labels": labels.clone(),
    }


_READERS = {
    "idx": _read_idx,
    "cifar": _read_cifar,
    "sklearn": _read_digits,
    "patterns": _generate_patterns,
    "indices": _generate_indices,
}
