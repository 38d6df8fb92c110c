"""The registry is the paper's, and the data are the real ones or an error."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from collapse.datasets import DATASETS, DatasetError, data_root, get_dataset
from collapse.datasets.loading import array_digest, check_arrays, load_arrays
from collapse.datasets.torchvision_import import import_torchvision, torchvision

NEEDS_DATA = pytest.mark.skipif(
    "COLLAPSE_DATA" not in os.environ, reason="COLLAPSE_DATA names no folder with the real data"
)
WITHOUT_FILES = [name for name, its in DATASETS.items() if its.arrays_sha256 and its.random_labels is None]
WITH_FILES = ["MNIST", "FashionMNIST", "CIFAR10"]  # the paper's


def test_registry_imports_nothing_heavy():
    check = (
        "import sys, collapse.datasets; "
        "print([m for m in ('torch', 'torchvision', 'numpy', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_registry_is_the_paper():
    rows = {
        name: (d.channels, d.num_classes, d.image_size, d.train_size, d.test_size, d.mean, d.std)
        for name, d in DATASETS.items()
        if name in WITH_FILES
    }
    assert rows == {
        "MNIST": (1, 10, 28, 60_000, 10_000, (0.1307,), (0.3081,)),
        "FashionMNIST": (1, 10, 28, 60_000, 10_000, (0.2860,), (0.3530,)),
        "CIFAR10": (3, 10, 32, 50_000, 10_000, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    }


@pytest.mark.parametrize("name", DATASETS)
def test_entries_are_consistent(name):
    dataset = DATASETS[name]
    assert dataset.name == name and get_dataset(name) is dataset
    assert len(dataset.mean) == len(dataset.std) == dataset.channels
    assert re.fullmatch("[0-9a-f]{64}", dataset.digest)


def test_digests_differ_and_follow_the_checksums():
    assert len({dataset.digest for dataset in DATASETS.values()}) == len(DATASETS)
    dataset = DATASETS["MNIST"]
    changed = dataclasses.replace(dataset.files[0], md5="0" * 32)
    other = dataclasses.replace(dataset, files=(changed, *dataset.files[1:]))
    assert other.digest != dataset.digest


def test_unknown_dataset_is_named():
    with pytest.raises(ValueError, match=r"'EMNIST'.*MNIST, FashionMNIST, CIFAR10, Digits, Fake"):
        get_dataset("EMNIST")


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST"])
def test_checksums_are_torchvisions_idx(name):
    ours = {(f"{file.name}.gz", file.gz_md5) for file in DATASETS[name].files}
    assert ours == set(getattr(torchvision.datasets, name).resources)


def test_checksums_are_torchvisions_cifar():
    cifar = torchvision.datasets.CIFAR10
    theirs = [*cifar.train_list, *cifar.test_list, [cifar.meta["filename"], cifar.meta["md5"]]]
    assert [[file.name, file.md5] for file in DATASETS["CIFAR10"].files] == theirs
    assert DATASETS["CIFAR10"].folder == cifar.base_folder
    assert cifar.filename in DATASETS["CIFAR10"].archives


def test_environment_overrides_data_root(monkeypatch, tmp_path):
    monkeypatch.delenv("COLLAPSE_DATA", raising=False)
    assert data_root("data") == Path("data")
    monkeypatch.setenv("COLLAPSE_DATA", "")
    assert data_root("data") == Path("data")
    monkeypatch.setenv("COLLAPSE_DATA", str(tmp_path))
    assert data_root("data") == tmp_path
    monkeypatch.setenv("COLLAPSE_DATA", str(tmp_path / "typo"))
    with pytest.raises(DatasetError, match="typo, which is no folder; correct it or unset it"):
        data_root("data")


def test_torchvision_import_is_harmless_when_repeated():
    assert import_torchvision() is torchvision
    assert torchvision.models.resnet50 and torchvision.transforms.Resize


def check_mean_and_std(arrays, dataset):
    pixels = arrays["train_images"].numpy()
    for channel in range(dataset.channels):
        # Exact totals: 256 possible values.
        counts = np.bincount(pixels[:, channel].ravel(), minlength=256)
        values = np.arange(256) / 255
        mean = (counts * values).sum() / counts.sum()
        std = np.sqrt((counts * (values - mean) ** 2).sum() / counts.sum())
        assert round(mean, 4) == dataset.mean[channel]
        assert round(std, 4) == dataset.std[channel]


@NEEDS_DATA
@pytest.mark.parametrize("name", WITH_FILES)
def test_real_data(name, tmp_path):
    """CIFAR10 unpacks for about ten seconds where it lies as an archive."""
    arrays = load_arrays(name, root=data_root("unused"), cache=tmp_path)
    check_mean_and_std(arrays, DATASETS[name])
    if name != "MNIST":
        assert len(set(arrays["train_labels"].bincount().tolist())) == 1
        assert arrays["test_labels"].bincount().tolist() == [1000] * 10


@pytest.mark.parametrize("name", WITHOUT_FILES)
def test_data_without_files(name, tmp_path):
    arrays = load_arrays(name, root=tmp_path / "none", cache=tmp_path / "none")
    if name != "Indices":  # numbers of samples, which are looked up as they are
        check_mean_and_std(arrays, DATASETS[name])
    assert array_digest(arrays) == DATASETS[name].digest
    assert not (tmp_path / "none").exists()


def test_digits_split(tmp_path):
    from sklearn.datasets import load_digits

    arrays = load_arrays("Digits", root=tmp_path, cache=tmp_path)
    assert arrays["train_labels"].bincount().tolist() == [150] * 10
    images = torch.cat([arrays["train_images"], arrays["test_images"]])
    theirs = np.rint(load_digits().images * (255 / 16)).astype(np.uint8)
    assert images.max() == 255
    # every digit is in exactly one of the two parts
    ours = sorted(image.tobytes() for image in images.numpy())
    assert ours == sorted(image.tobytes() for image in theirs[:, None])
    # and the test digits of a class come from all along the file
    labels = torch.from_numpy(load_digits().target)
    rank = {image.tobytes(): i for i, image in enumerate(theirs)}
    for k in range(10):
        members = (labels == k).nonzero().flatten().numpy()
        of_class = arrays["test_images"][arrays["test_labels"] == k].numpy()
        places = np.searchsorted(members, [rank[image.tobytes()] for image in of_class])
        gaps = np.diff(np.concatenate([[-1], np.sort(places)]))
        assert gaps.max() - gaps.min() <= 1


def test_fake_is_separable(tmp_path):
    arrays = load_arrays("Fake", root=tmp_path, cache=tmp_path)
    train, test = (arrays[f"{part}_images"].flatten(1).double() for part in ("train", "test"))
    means = torch.stack([train[arrays["train_labels"] == k].mean(0) for k in range(10)])
    assert torch.equal(torch.cdist(test, means).argmin(1), arrays["test_labels"])
    assert torch.equal(torch.cdist(train, means).argmin(1), arrays["train_labels"])


def test_changed_digits_are_refused(tmp_path, monkeypatch):
    entry = dataclasses.replace(DATASETS["Digits"], arrays_sha256="0" * 64)
    monkeypatch.setitem(DATASETS, "Digits", entry)
    with pytest.raises(DatasetError, match=f"Digits.*expected {'0' * 64}, found f773c235") as caught:
        load_arrays("Digits", root=tmp_path, cache=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_size": 299}, "train images"),
        ({"test_size": 99}, "test images"),
        ({"channels": 3}, "train images"),
        ({"num_classes": 11}, "train labels are not 0..10"),
    ],
)
def test_arrays_must_fit_the_registry(change, message, tmp_path):
    arrays = load_arrays("Fake", root=tmp_path, cache=tmp_path)
    with pytest.raises(DatasetError, match=message):
        check_arrays(arrays, dataclasses.replace(DATASETS["Fake"], **change))


def test_random_labels_are_those_of_the_dataset_in_another_order(tmp_path):
    """Each class keeps its size, nine of ten images change theirs, and what is tested on stays."""
    plain, shuffled = (
        load_arrays(name, root="absent", cache=tmp_path) for name in ("Digits", "DigitsRandomLabels")
    )
    for name in ("train_images", "test_images", "test_labels"):
        assert torch.equal(plain[name], shuffled[name])
    labels, others = plain["train_labels"], shuffled["train_labels"]
    assert torch.equal(labels.bincount(), others.bincount())
    assert 0.85 < (labels != others).double().mean() < 0.95
    digests = {DATASETS[name].digest for name in ("Digits", "DigitsRandomLabels", "MNISTRandomLabels")}
    assert len(digests) == 3, "part of every run's key"
