"""The data are the real ones or an error; the images reach the network as torchvision's would."""

import dataclasses
import gzip
import hashlib
import io
import os
import pickle
import re
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from collapse.datasets import DATASETS, DataFile, DatasetError, data_root, get_dataset
from collapse.datasets.formats import read_cifar_batch, read_idx
from collapse.datasets.loading import array_digest, check_arrays, load_arrays
from collapse.datasets.prepared import load_prepared, save_prepared
from collapse.datasets.preprocessing import CROP_PADDING, augment, black_pixel, preprocess, subset
from collapse.datasets.torchvision_import import import_torchvision, torchvision

torch.set_num_threads(1)

NEEDS_DATA = pytest.mark.skipif(
    "COLLAPSE_DATA" not in os.environ, reason="COLLAPSE_DATA names no folder with the real data"
)
WITHOUT_FILES = [name for name, dataset in DATASETS.items() if dataset.arrays_sha256]
WITH_FILES = [name for name, dataset in DATASETS.items() if dataset.files]


def md5(data):
    return hashlib.md5(data).hexdigest()


# ---- registry


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
        if d.files
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


def test_environment_overrides_data_root(monkeypatch):
    monkeypatch.delenv("COLLAPSE_DATA", raising=False)
    assert data_root("data") == Path("data")
    monkeypatch.setenv("COLLAPSE_DATA", "")
    assert data_root("data") == Path("data")
    monkeypatch.setenv("COLLAPSE_DATA", "/elsewhere")
    assert data_root("data") == Path("/elsewhere")


def test_torchvision_import_is_harmless_when_repeated():
    assert import_torchvision() is torchvision
    assert torchvision.models.resnet50 and torchvision.transforms.Resize


# ---- the data themselves


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


# ---- files: small stand-ins with their own checksums in the registry


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


def test_download_is_verified(small_fashion, tmp_path, monkeypatch):
    """torchvision checks the .gz it fetched; what it leaves behind is checked once more."""

    def download(into, *, download):
        write(Path(into) / "FashionMNIST" / "raw", contents)

    contents = dict(small_fashion)
    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", download)
    arrays = load_arrays("FashionMNIST", root=tmp_path / "none", cache=tmp_path / "good")
    assert arrays["train_images"].shape == (20, 1, 28, 28)
    contents["t10k-images-idx3-ubyte"] = contents["t10k-images-idx3-ubyte"][:-1]
    message = error_of("FashionMNIST", root=tmp_path / "none", cache=tmp_path / "bad")
    assert "t10k-images-idx3-ubyte of FashionMNIST is truncated or altered" in message


# ---- prepared files


@pytest.fixture
def prepared(tmp_path):
    path = tmp_path / "Fake.safetensors"
    save_prepared(load_arrays("Fake", root=tmp_path, cache=tmp_path), path, "Fake")
    return path


def test_prepared_round_trip(prepared, tmp_path):
    arrays = load_arrays("Fake", root=tmp_path, cache=tmp_path)
    again = load_prepared(prepared, "Fake")
    assert set(again) == set(arrays)
    assert all(torch.equal(arrays[name], again[name]) for name in arrays)
    assert os.listdir(tmp_path) == ["Fake.safetensors"]


def check_refused(path, dataset, *words):
    with pytest.raises(DatasetError) as caught:
        load_prepared(path, dataset)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message
    assert "delete it and run again" in message
    assert all(word in message for word in words)


@pytest.mark.parametrize("kept", [0, 4, 100, 1000, -1])
def test_truncated_prepared_file_is_refused(kept, prepared):
    prepared.write_bytes(prepared.read_bytes()[:kept])
    check_refused(prepared, "Fake", "truncated")


def test_missing_prepared_file_is_refused(tmp_path):
    check_refused(tmp_path / "none.safetensors", "Fake", "missing")


def test_altered_prepared_file_is_refused(prepared):
    data = bytearray(prepared.read_bytes())
    data[len(data) // 2] ^= 1
    prepared.write_bytes(bytes(data))
    check_refused(prepared, "Fake", "altered", "SHA-256", DATASETS["Fake"].digest)


def test_prepared_file_of_another_dataset_is_refused(prepared):
    check_refused(prepared, "Digits", "dataset Fake, expected Digits")


def test_prepared_file_of_another_digest_is_refused(prepared, monkeypatch):
    monkeypatch.setitem(DATASETS, "Fake", dataclasses.replace(DATASETS["Fake"], arrays_sha256="1" * 64))
    check_refused(prepared, "Fake", f"expected {'1' * 64}")


def test_foreign_safetensors_is_refused(prepared):
    save_file(load_file(prepared), prepared)  # loses the metadata
    check_refused(
        prepared, "Fake", "is of another version, or no prepared dataset", "delete it and run again"
    )


def test_prepared_file_of_an_older_version_is_refused(prepared):
    save_file(load_file(prepared), prepared, metadata={"dataset": "Fake", "digest": DATASETS["Fake"].digest})
    check_refused(prepared, "Fake", "is of another version", "delete it and run again")


def test_the_same_dataset_gives_the_same_bytes_in_any_process(prepared, tmp_path):
    code = (
        "import sys; from collapse.datasets.loading import load_arrays;"
        "from collapse.datasets.prepared import save_prepared;"
        "save_prepared(load_arrays('Fake', root='.', cache='.'), sys.argv[1], 'Fake')"
    )
    for name in ("second", "third"):
        subprocess.run([sys.executable, "-c", code, tmp_path / name], check=True, cwd=tmp_path)
        assert (tmp_path / name).read_bytes() == prepared.read_bytes()


def test_prepared_arrays_must_fit(tmp_path):
    arrays = load_arrays("Fake", root=tmp_path, cache=tmp_path)
    arrays["train_images"] = arrays["train_images"][:-1]
    with pytest.raises(DatasetError, match="train images"):
        save_prepared(arrays, tmp_path / "Fake.safetensors", "Fake")
    assert os.listdir(tmp_path) == []


# ---- preprocessing


@pytest.mark.parametrize(
    ("dataset", "native", "image_size"),
    [
        ("MNIST", 28, 32),
        ("FashionMNIST", 28, 28),
        ("FashionMNIST", 28, 14),
        ("Digits", 8, 16),
        ("CIFAR10", 32, 32),
        ("CIFAR10", 32, 16),
        ("CIFAR10", 32, 40),
    ],
)
def test_preprocess_is_torchvisions(dataset, native, image_size):
    """Exactly what Resize, ToTensor, Normalize make of the PIL images, one by one."""
    entry = DATASETS[dataset]
    generator = torch.Generator().manual_seed(0)
    shape = (50, entry.channels, native, native)
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    transforms = torchvision.transforms
    usual = transforms.Compose(
        [
            transforms.Resize((image_size, image_size)),
            transforms.ToTensor(),
            transforms.Normalize(entry.mean, entry.std),
        ]
    )
    expected = torch.stack([usual(Image.fromarray(i.permute(1, 2, 0).squeeze(2).numpy())) for i in images])
    before = images.clone()
    found = preprocess(images, dataset=dataset, image_size=image_size)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
    assert torch.equal(images, before)


def test_preprocess_normalises(tmp_path):
    arrays = load_arrays("Digits", root=tmp_path, cache=tmp_path)
    images = preprocess(arrays["train_images"], dataset="Digits", image_size=8)
    assert images.mean().abs() < 1e-3 and (images.std() - 1).abs() < 1e-3
    black = preprocess(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), dataset="Digits", image_size=8)
    assert torch.equal(black[0, :, 0, 0], black_pixel("Digits"))


def test_preprocess_refuses_other_images():
    with pytest.raises(TypeError, match="uint8"):
        preprocess(torch.zeros(1, 1, 28, 28), dataset="MNIST", image_size=32)
    with pytest.raises(ValueError, match="CIFAR10 has 3 channels, got 1"):
        images = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
        preprocess(images, dataset="CIFAR10", image_size=32)


def test_subset_is_the_first_of_each_class():
    labels = torch.tensor([2, 0, 0, 1, 2, 0, 1, 1, 2, 0])
    chosen = subset(labels, size=6, num_classes=3)
    assert chosen.tolist() == [0, 1, 2, 3, 4, 6]
    assert labels[chosen].bincount().tolist() == [2, 2, 2]
    assert subset(labels, size=10, num_classes=3).tolist() == list(range(10))
    # a smaller subset is part of a larger one
    assert set(subset(labels, size=3, num_classes=3).tolist()) <= set(chosen.tolist())


@pytest.mark.parametrize(("size", "word"), [(7, "multiple"), (0, "multiple"), (12, "has 3")])
def test_impossible_subset_is_refused(size, word):
    with pytest.raises(ValueError, match=f"train_size {size}.*{word}"):
        subset(torch.tensor([2, 0, 0, 1, 2, 0, 1, 1, 2, 0]), size=size, num_classes=3)


def test_augment_is_crop_then_flip():
    images = torch.randn(200, 3, 8, 8)
    padding = torch.tensor([1.0, 2.0, 3.0])
    found = augment(images, padding_C=padding, generator=torch.Generator().manual_seed(1))
    drawn = torch.Generator().manual_seed(1)
    top, left = (torch.randint(9, (200, 1), generator=drawn)[:, 0] for _ in range(2))
    flip = torch.randint(2, (200, 1), generator=drawn)[:, 0]
    for n, (i, j, f) in enumerate(zip(top.tolist(), left.tolist(), flip.tolist(), strict=True)):
        padded = padding[:, None, None].repeat(1, 16, 16)
        padded[:, CROP_PADDING:-CROP_PADDING, CROP_PADDING:-CROP_PADDING] = images[n]
        expected = padded[:, i : i + 8, j : j + 8]
        assert torch.equal(found[n], expected.flip(2) if f else expected)
    assert len(top.unique()) == len(left.unique()) == 9 and 70 < flip.sum() < 130


def test_augment_depends_on_its_generator_alone():
    images = torch.randn(32, 1, 8, 8)
    before = images.clone()
    results = []
    for global_seed, seed in ((0, 5), (1, 5), (1, 6)):
        torch.manual_seed(global_seed)
        generator = torch.Generator().manual_seed(seed)
        results.append(augment(images, padding_C=black_pixel("MNIST"), generator=generator))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    assert torch.equal(images, before)
    assert results[0].is_contiguous() and results[0].dtype == images.dtype


def test_augment_commutes_with_normalisation():
    """Cropping the uint8 images with black padding and normalising after gives the same."""
    images = torch.randint(0, 256, (40, 3, 32, 32), dtype=torch.uint8)

    def shaken(images, padding):
        return augment(images, padding_C=padding, generator=torch.Generator().manual_seed(2))

    after = preprocess(shaken(images, torch.zeros(3)), dataset="CIFAR10", image_size=32)
    before = shaken(preprocess(images, dataset="CIFAR10", image_size=32), black_pixel("CIFAR10"))
    assert torch.equal(after, before)
