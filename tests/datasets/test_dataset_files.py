"""The files of datasets: found in either layout, damaged ones refused; small stand-ins with checksums."""

import dataclasses
import errno
import gzip
import hashlib
import io
import os
import pickle
import shutil
import sys
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch

from collapse.datasets import DATASETS, DataFile, DatasetError
from collapse.datasets.formats import read_cifar_batch, read_idx
from collapse.datasets.loading import array_digest, load_arrays
from collapse.datasets.torchvision_import import torchvision

WITH_FILES = ["MNIST", "FashionMNIST", "CIFAR10"]


def md5(data):
    return hashlib.md5(data).hexdigest()


def idx_bytes(array):
    dims = b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + dims + array.astype(np.uint8).tobytes()


@pytest.fixture
def small_fashion(monkeypatch):
    """name -> bytes of the four unpacked files and of the four .gz of a small FashionMNIST."""
    generator = np.random.RandomState(0)
    unpacked = {}
    for stem, size in (("train", 20), ("t10k", 10)):
        images = generator.randint(0, 256, size=(size, 28, 28))
        unpacked[f"{stem}-images-idx3-ubyte"] = idx_bytes(images)
        unpacked[f"{stem}-labels-idx1-ubyte"] = idx_bytes(np.arange(size) % 10)
    packed = {f"{name}.gz": gzip.compress(data, mtime=0) for name, data in unpacked.items()}
    files = tuple(
        DataFile(name=name, md5=md5(data), gz_md5=md5(packed[f"{name}.gz"]))
        for name, data in unpacked.items()
    )
    entry = dataclasses.replace(DATASETS["FashionMNIST"], train_size=20, test_size=10, files=files)
    monkeypatch.setitem(DATASETS, "FashionMNIST", entry)
    return {**unpacked, **packed}


@pytest.fixture
def small_cifar(monkeypatch):
    """name -> bytes of the files of a small CIFAR10; torchvision's class knows them as well."""
    generator = np.random.RandomState(0)
    names = [file.name for file in DATASETS["CIFAR10"].files]
    contents = {"batches.meta": pickle.dumps({"label_names": [str(k) for k in range(10)]})}
    for name in names[:-1]:
        images = generator.randint(0, 256, size=(10, 3072)).astype(np.uint8)
        contents[name] = pickle.dumps({"data": images, "labels": list(range(10))})
    files = tuple(DataFile(name=name, md5=md5(contents[name])) for name in names)
    entry = dataclasses.replace(DATASETS["CIFAR10"], train_size=50, test_size=10, files=files)
    monkeypatch.setitem(DATASETS, "CIFAR10", entry)
    cifar = torchvision.datasets.CIFAR10
    pairs = [[file.name, file.md5] for file in files]
    monkeypatch.setattr(cifar, "train_list", pairs[:5])
    monkeypatch.setattr(cifar, "test_list", pairs[5:6])
    monkeypatch.setattr(cifar, "meta", {**cifar.meta, "md5": pairs[6][1]})
    return contents


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


def write(folder, contents, *, suffix=""):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        if name.endswith(".gz") == (suffix == ".gz"):
            (folder / name).write_bytes(data)
    return folder


def tar_bytes(contents, compression):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=f"w:{compression}") as archive:
        for name, data in contents.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def error_of(name, *, root, cache):
    with pytest.raises(DatasetError) as caught:
        load_arrays(name, root=root, cache=cache)
    message = str(caught.value)
    assert "\n" not in message
    return message


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("folder", "suffix"),
    [("FashionMNIST/raw", ""), ("FashionMNIST/raw", ".gz"), ("fashion_mnist", ".gz")],
)
def test_idx_is_found_in_either_layout(folder, suffix, small_fashion, tmp_path):
    root, cache = tmp_path / "root", tmp_path / "cache"
    write(root / folder, small_fashion, suffix=suffix)
    before = tree(root)
    arrays = load_arrays("FashionMNIST", root=root, cache=cache)
    assert idx_bytes(arrays["train_images"][:, 0].numpy()) == (small_fashion["train-images-idx3-ubyte"])
    assert idx_bytes(arrays["test_labels"].numpy()) == small_fashion["t10k-labels-idx1-ubyte"]
    assert tree(root) == before  # root may be read-only
    if suffix == ".gz":
        names = sorted(file.name for file in DATASETS["FashionMNIST"].files)
        assert sorted(os.listdir(cache / "FashionMNIST" / "raw")) == names
        assert os.listdir(cache) == ["FashionMNIST"]  # no leftovers
        again = load_arrays("FashionMNIST", root=tmp_path / "none", cache=cache)
        assert array_digest(again) == array_digest(arrays)
    else:
        assert not cache.exists()


def test_leftover_of_old_torchvision_is_not_read(small_fashion, tmp_path):
    """torchvision's own class would return processed/training.pt unchecked."""
    write(tmp_path / "FashionMNIST" / "raw", small_fashion)
    processed = tmp_path / "FashionMNIST" / "processed"
    processed.mkdir()
    for name in ("training.pt", "test.pt"):
        torch.save((torch.zeros(20, 28, 28, dtype=torch.uint8), torch.zeros(20)), processed / name)
    arrays = load_arrays("FashionMNIST", root=tmp_path, cache=tmp_path)
    assert arrays["train_images"].any()


DAMAGE = {
    "truncated": lambda data: data[:-7],
    "altered": lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],
    "empty": lambda data: b"",
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_damaged_idx_is_refused(damage, suffix, small_fashion, tmp_path):
    folder = write(tmp_path / "FashionMNIST" / "raw", small_fashion, suffix=suffix)
    path = folder / f"train-images-idx3-ubyte{suffix}"
    good = path.read_bytes()
    path.write_bytes(DAMAGE[damage](good))
    message = error_of("FashionMNIST", root=tmp_path, cache=tmp_path / "cache")
    assert message.startswith(f"{path} is truncated or altered: ")
    assert f"expected {md5(good)}, found {md5(path.read_bytes())}" in message
    assert "delete it and run again" in message and "COLLAPSE_DATA" in message
    assert not (tmp_path / "cache" / "FashionMNIST").exists()


def test_damaged_cache_is_refused(small_fashion, tmp_path):
    write(tmp_path / "fashion_mnist", small_fashion, suffix=".gz")
    cache = tmp_path / "cache"
    load_arrays("FashionMNIST", root=tmp_path, cache=cache)
    path = cache / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte"
    path.write_bytes(DAMAGE["altered"](path.read_bytes() + bytes(40)))
    assert str(path) in error_of("FashionMNIST", root=tmp_path, cache=cache)
    path.unlink()  # the remedy
    load_arrays("FashionMNIST", root=tmp_path, cache=cache)


@pytest.mark.parametrize(
    "place",
    ["cifar-10-python.tar.gz", "cifar10/cifar-10-python.tar.gz", "cifar10/cifar-10-python.tar.xz"],
)
def test_cifar_archive_is_found(place, small_cifar, tmp_path):
    root, cache = tmp_path / "root", tmp_path / "cache"
    (root / place).parent.mkdir(parents=True)
    (root / place).write_bytes(tar_bytes(small_cifar, place[-2:]))
    arrays = load_arrays("CIFAR10", root=root, cache=cache)
    batches = [pickle.loads(small_cifar[f"data_batch_{i}"])["data"] for i in range(1, 6)]
    assert (arrays["train_images"].numpy().reshape(50, 3072) == np.concatenate(batches)).all()
    assert sorted(os.listdir(cache / "cifar-10-batches-py")) == sorted(small_cifar)
    unpacked = load_arrays("CIFAR10", root=cache, cache=tmp_path / "none")
    assert array_digest(unpacked) == array_digest(arrays)


@pytest.mark.parametrize("damage", ["truncated", "empty", "half"])
@pytest.mark.parametrize("compression", ["gz", "xz"])
def test_damaged_cifar_archive_is_refused(damage, compression, small_cifar, tmp_path):
    archive = tmp_path / f"cifar-10-python.tar.{compression}"
    good = tar_bytes(small_cifar, compression)
    # enough to lose the end of the last member, not only the tar's padding
    damages = {**DAMAGE, "truncated": lambda d: d[:-1000], "half": lambda d: d[: len(d) // 2]}
    archive.write_bytes(damages[damage](good))
    message = error_of("CIFAR10", root=tmp_path, cache=tmp_path / "cache")
    assert message.startswith(str(archive)) and "truncated or altered" in message
    assert md5(archive.read_bytes()) in message or "it has no" in message
    assert DATASETS["CIFAR10"].files[-2].md5 in message
    assert "delete it and run again" in message
    assert os.listdir(tmp_path / "cache") == []


@pytest.mark.parametrize("compression", ["gz", "xz"])
@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_one_wrong_bit_in_a_cifar_archive_is_found(place, compression, small_cifar, tmp_path):
    archive = tmp_path / f"cifar-10-python.tar.{compression}"
    data = bytearray(tar_bytes(small_cifar, compression))
    data[int(place * len(data))] ^= 16
    archive.write_bytes(bytes(data))
    message = error_of("CIFAR10", root=tmp_path, cache=tmp_path / "cache")
    assert message.startswith(str(archive)) and "truncated or altered" in message
    assert os.listdir(tmp_path / "cache") == []


def test_altered_member_of_cifar_archive_is_refused(small_cifar, tmp_path):
    archive = tmp_path / "cifar-10-python.tar.xz"
    bad = DAMAGE["altered"](small_cifar["data_batch_3"])
    archive.write_bytes(tar_bytes({**small_cifar, "data_batch_3": bad}, "xz"))
    message = error_of("CIFAR10", root=tmp_path, cache=tmp_path / "cache")
    assert message.startswith(f"{archive} (member data_batch_3)")
    assert f"expected {md5(small_cifar['data_batch_3'])}, found {md5(bad)}" in message


def test_archive_without_a_member_is_refused(small_cifar, tmp_path):
    del small_cifar["test_batch"]
    archive = tmp_path / "cifar-10-python.tar.gz"
    archive.write_bytes(tar_bytes(small_cifar, "gz"))
    message = error_of("CIFAR10", root=tmp_path, cache=tmp_path / "cache")
    assert message.startswith(str(archive)) and "it has no test_batch" in message


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("keys", [("data", "labels", "names"), ("labels", "names", "data")])
def test_a_batch_of_cifar_is_read_without_running_it(protocol, keys, tmp_path):
    images = np.random.RandomState(0).randint(0, 256, size=(300, 3072)).astype(np.uint8)
    batch = {
        "data": images,
        "labels": [n % 10 for n in range(300)],
        "names": [f"{n}.png" for n in range(300)],
    }
    (tmp_path / "batch").write_bytes(pickle.dumps({key: batch[key] for key in keys}, protocol=protocol))
    found, labels = read_cifar_batch(tmp_path / "batch")
    assert np.array_equal(found.flatten(1).numpy(), images) and found.shape == (300, 3, 32, 32)
    assert labels.tolist() == batch["labels"]


def test_our_readers_are_torchvisions(small_fashion, small_cifar, tmp_path):
    files = write(tmp_path / "FashionMNIST/raw", small_fashion)
    images, labels = (f"train-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1"))
    theirs = torchvision.datasets.mnist
    assert torch.equal(read_idx(files / images), theirs.read_image_file(str(files / images)))
    assert torch.equal(read_idx(files / labels).long(), theirs.read_label_file(str(files / labels)))
    write(tmp_path / "cifar-10-batches-py", small_cifar)
    arrays = load_arrays("CIFAR10", root=tmp_path, cache=tmp_path)
    for part in ("train", "test"):
        theirs = torchvision.datasets.CIFAR10(str(tmp_path), train=part == "train")
        assert np.array_equal(arrays[f"{part}_images"].permute(0, 2, 3, 1).numpy(), theirs.data)
        assert arrays[f"{part}_labels"].tolist() == theirs.targets


def test_what_is_not_installed_is_named(tmp_path, monkeypatch):
    for name in ("sklearn", "sklearn.datasets"):  # another test may have imported it
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DatasetError, match=r"Digits cannot be read without sklearn.*bring results/"):
        load_arrays("Digits", root=tmp_path, cache=tmp_path)
    monkeypatch.setitem(sys.modules, "collapse.datasets.torchvision_import", None)
    with pytest.raises(DatasetError, match=r"cannot be downloaded .*ModuleNotFoundError"):
        load_arrays("CIFAR10", root=tmp_path, cache=tmp_path)


def test_damaged_cifar_file_is_refused(small_cifar, tmp_path):
    folder = write(tmp_path / "cifar-10-batches-py", small_cifar)
    path = folder / "test_batch"
    path.write_bytes(DAMAGE["truncated"](path.read_bytes()))
    message = error_of("CIFAR10", root=tmp_path, cache=tmp_path / "cache")
    assert message.startswith(f"{path} is truncated or altered: ")


@pytest.mark.parametrize("name", WITH_FILES)
def test_unreachable_download_says_what_is_expected(name, tmp_path):
    message = error_of(name, root=tmp_path / "none", cache=tmp_path / "cache")
    assert message.startswith(f"{name} is not complete under {tmp_path / 'none'}")
    assert "no route to host" in message
    assert "COLLAPSE_DATA" in message and DATASETS[name].layout in message
    assert os.listdir(tmp_path / "cache") == []


@pytest.fixture
def server(small_fashion, monkeypatch):
    """torchvision fetches these, by the name of the .gz: what is served, and what was asked for."""
    served, asked = dict(small_fashion), []

    def fetch(url, download_root, filename, md5):
        asked.append(filename)
        (Path(download_root) / filename.removesuffix(".gz")).write_bytes(served[filename.removesuffix(".gz")])

    monkeypatch.setattr(torchvision.datasets.mnist, "download_and_extract_archive", fetch)
    return served, asked


def test_download_is_verified(server, tmp_path):
    """torchvision checks the .gz it fetched; what it leaves behind is checked once more."""
    served, asked = server
    arrays = load_arrays("FashionMNIST", root=tmp_path / "none", cache=tmp_path / "good")
    assert arrays["train_images"].shape == (20, 1, 28, 28) and len(asked) == 4
    served["t10k-images-idx3-ubyte"] = served["t10k-images-idx3-ubyte"][:-1]
    message = error_of("FashionMNIST", root=tmp_path / "none", cache=tmp_path / "bad")
    assert "t10k-images-idx3-ubyte of FashionMNIST is truncated or altered" in message


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_of_a_dataset_that_lacks_one_file_that_one_is_fetched(suffix, server, small_fashion, tmp_path):
    root, cache = tmp_path / "root", tmp_path / "cache"
    folder = write(root / "FashionMNIST/raw", small_fashion, suffix=suffix)
    lost = "t10k-labels-idx1-ubyte"
    (folder / f"{lost}{suffix}").unlink()
    before = tree(root)
    arrays = load_arrays("FashionMNIST", root=root, cache=cache)
    assert idx_bytes(arrays["test_labels"].numpy()) == small_fashion[lost]
    assert server[1] == [f"{lost}.gz"] and tree(root) == before
    if not suffix:
        assert os.listdir(cache / "FashionMNIST/raw") == [lost]


def test_a_file_may_be_unpacked_and_another_packed(small_fashion, tmp_path):
    folder = write(tmp_path / "root/FashionMNIST/raw", small_fashion)
    (folder / "train-labels-idx1-ubyte").unlink()
    name = "train-labels-idx1-ubyte.gz"
    (folder / name).write_bytes(small_fashion[name])
    load_arrays("FashionMNIST", root=tmp_path / "root", cache=tmp_path / "cache")
    assert os.listdir(tmp_path / "cache/FashionMNIST/raw") == ["train-labels-idx1-ubyte"]


@pytest.mark.parametrize(
    ("name", "place", "lost"),
    [("FashionMNIST", "FashionMNIST/raw", "train-labels-idx1-ubyte"),
     ("CIFAR10", "cifar-10-batches-py", "data_batch_3")],
)  # fmt: skip
def test_the_one_missing_file_is_named(name, place, lost, request, tmp_path):
    contents = request.getfixturevalue("small_fashion" if name == "FashionMNIST" else "small_cifar")
    (write(tmp_path / "root" / place, contents) / lost).unlink()
    message = error_of(name, root=tmp_path / "root", cache=tmp_path / "cache")
    assert message.startswith(f"{name} is not complete under {tmp_path / 'root'}, which lacks {lost}, and ")
    assert "no route to host" in message


def test_a_dataset_of_ones_own_cannot_be_downloaded(small_fashion, monkeypatch, tmp_path):
    own = dataclasses.replace(
        DATASETS["FashionMNIST"], name="Stripes", folder="stripes", plain_folder="stripes"
    )
    monkeypatch.setitem(DATASETS, "Stripes", own)
    message = error_of("Stripes", root=tmp_path / "root", cache=tmp_path / "cache")
    assert message.startswith(
        f"Stripes is not complete under {tmp_path / 'root'}, which has none of its files"
    )
    assert "torchvision knows no dataset of that name" in message and own.layout in message


def test_archives_without_a_checksum_of_their_own(small_fashion, monkeypatch, tmp_path):
    """What they hold has one."""
    entry = DATASETS["FashionMNIST"]
    files = tuple(dataclasses.replace(file, gz_md5=None) for file in entry.files)
    monkeypatch.setitem(DATASETS, "FashionMNIST", dataclasses.replace(entry, files=files))
    folder = write(tmp_path / "fashion_mnist", small_fashion, suffix=".gz")
    load_arrays("FashionMNIST", root=tmp_path, cache=tmp_path / "cache")
    path = folder / "train-images-idx3-ubyte.gz"
    for damaged in (path.read_bytes()[:-20], b"no archive", b""):
        path.write_bytes(damaged)
        message = error_of("FashionMNIST", root=tmp_path, cache=tmp_path / "other")
        assert message.startswith(f"{path} is truncated or altered")


@pytest.mark.parametrize("name", WITH_FILES[1:])
def test_a_full_disk_is_no_damaged_archive(name, small_fashion, small_cifar, monkeypatch, tmp_path):
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    write(tmp_path / "fashion_mnist", small_fashion, suffix=".gz")
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(tar_bytes(small_cifar, "gz"))
    monkeypatch.setattr(shutil, "copyfileobj", full)
    message = error_of(name, root=tmp_path, cache=tmp_path / "cache")
    assert message.startswith(f"{tmp_path / 'cache'} cannot be written (No space left on device); make room")
    assert os.listdir(tmp_path / "cache") == []
