"""What every dataset is: sizes, normalisation and checksums. Nothing heavy is imported.

Snakemake reads this module whenever it parses the workflow, so neither torch nor NumPy is here.
"""

import dataclasses
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from collapse.files.errors import InputError


class DatasetError(InputError):
    """Data that are missing, truncated or altered; the message says in one line what to do."""


@dataclass(frozen=True)
class DataFile:
    """A file that is read, and where torchvision has one its gzipped download `name + ".gz"`."""

    name: str
    md5: str
    gz_md5: str | None = None


@dataclass(frozen=True)
class Dataset:
    """One entry of the registry.

    source: who reads it: "idx" (MNIST's format) and "cifar" are files, found or downloaded;
        "image_folder" are files that stay where they are; "sklearn", "patterns" and "indices" need none.
    mean, std: a channel each, of the training pixels in [0, 1]: the normalisation.
    folder: where torchvision has the files under its root; plain_folder: where the archives may
        also lie as downloaded by hand.
    arrays_sha256: what `array_digest` must give, for the datasets without files.
    classes_sha256: of an image folder: SHA-256 of its sorted class folders' names, a line each;
        how_to_get: where a user has its files from.
    random_labels: a seed by which the labels of the training images are permuted; each class keeps its size.
    """

    name: str
    label: str
    reference: str
    source: Literal["idx", "cifar", "sklearn", "patterns", "indices", "image_folder"]
    channels: int
    num_classes: int
    image_size: int
    train_size: int
    test_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    folder: str = ""
    plain_folder: str = ""
    archives: tuple[str, ...] = ()
    files: tuple[DataFile, ...] = ()
    arrays_sha256: str = ""
    classes_sha256: str = ""
    how_to_get: str = ""
    random_labels: int | None = None

    @property
    def stays_on_disk(self) -> bool:
        """Whether only an index of it is prepared, and its images are read as they are needed."""
        return self.source == "image_folder"

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what is in the dataset, part of every run's key.

        For an image folder of its classes and the numbers of its images, which say which one it is.
        """
        if self.stays_on_disk:
            text = f"{self.train_size} {self.test_size} {self.classes_sha256}"
            return hashlib.sha256(text.encode()).hexdigest()
        if self.random_labels is not None:
            text = f"{dataclasses.replace(self, random_labels=None).digest} permuted by {self.random_labels}"
            return hashlib.sha256(text.encode()).hexdigest()
        if not self.files:
            return self.arrays_sha256
        lines = "\n".join(f"{file.name} {file.md5}" for file in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def layout(self) -> str:
        """Where the files are looked for under the data root, for messages."""
        if self.stays_on_disk:
            return (
                f"{self.folder}/train/<class>/*.JPEG, {self.train_size:,} images, and "
                f"{self.folder}/val/<class>/*.JPEG, {self.test_size:,}, in {self.num_classes:,} folders each"
            )
        names = f"{{{','.join(file.name for file in self.files)}}}"
        if self.source == "idx":
            return f"{self.folder}/{names}[.gz] or {self.plain_folder}/{names}.gz"
        archives = f"{{{','.join(self.archives)}}}"
        return f"{self.folder}/{names} or [{self.plain_folder}/]{archives}"


def data_root(configured: str | os.PathLike) -> Path:
    """Where the user keeps datasets: COLLAPSE_DATA when set, else `configured` (params.yaml).

    Raises DatasetError where COLLAPSE_DATA names no folder: all would be downloaded beside what is there.
    """
    named = os.environ.get("COLLAPSE_DATA")
    if named and not Path(named).expanduser().is_dir():
        raise DatasetError(f"COLLAPSE_DATA names {named}, which is no folder; correct it or unset it")
    return Path(named or configured).expanduser()


def get_dataset(name: str) -> Dataset:
    """The entry of that name; ValueError with the known names when there is none."""
    if name not in DATASETS:
        raise ValueError(f"unknown dataset {name!r}; known are {', '.join(DATASETS)}")
    return DATASETS[name]


# Checksums of the .gz files and of CIFAR10's batches are torchvision's own. Those of the unpacked
# idx files, which torchvision does not check, were taken from .gz files that have torchvision's.
DATASETS: dict[str, Dataset] = {
    "MNIST": Dataset(
        name="MNIST",
        label="MNIST",
        reference="LeCun, Bottou, Bengio and Haffner 1998, Proc. IEEE 86(11)",
        source="idx",
        channels=1,
        num_classes=10,
        image_size=28,
        train_size=60_000,
        test_size=10_000,
        mean=(0.1307,),
        std=(0.3081,),
        folder="MNIST/raw",
        plain_folder="mnist",
        files=(
            DataFile(
                name="train-images-idx3-ubyte",
                md5="6bbc9ace898e44ae57da46a324031adb",
                gz_md5="f68b3c2dcbeaaa9fbdd348bbdeb94873",
            ),
            DataFile(
                name="train-labels-idx1-ubyte",
                md5="a25bea736e30d166cdddb491f175f624",
                gz_md5="d53e105ee54ea40749a09fcbcd1e9432",
            ),
            DataFile(
                name="t10k-images-idx3-ubyte",
                md5="2646ac647ad5339dbf082846283269ea",
                gz_md5="9fb629c4189551a2d022fa330f9573f3",
            ),
            DataFile(
                name="t10k-labels-idx1-ubyte",
                md5="27ae3e4e09519cfbb04c329615203637",
                gz_md5="ec29112dd5afa0611ce80d1b7f02629c",
            ),
        ),
    ),
    "FashionMNIST": Dataset(
        name="FashionMNIST",
        label="FashionMNIST",
        reference="Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747",
        source="idx",
        channels=1,
        num_classes=10,
        image_size=28,
        train_size=60_000,
        test_size=10_000,
        mean=(0.2860,),
        std=(0.3530,),
        folder="FashionMNIST/raw",
        plain_folder="fashion_mnist",
        files=(
            DataFile(
                name="train-images-idx3-ubyte",
                md5="f4a8712d7a061bf5bd6d2ca38dc4d50a",
                gz_md5="8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            ),
            DataFile(
                name="train-labels-idx1-ubyte",
                md5="9018921c3c673c538a1fc5bad174d6f9",
                gz_md5="25c81989df183df01b3e8a0aad5dffbe",
            ),
            DataFile(
                name="t10k-images-idx3-ubyte",
                md5="8181f5470baa50b63fa0f6fddb340f0a",
                gz_md5="bef4ecab320f06d8554ea6380940ec79",
            ),
            DataFile(
                name="t10k-labels-idx1-ubyte",
                md5="15d484375f8d13e6eb1aabb0c3f46965",
                gz_md5="bb300cfdad3c16e7a12a480ee83cd310",
            ),
        ),
    ),
    "CIFAR10": Dataset(
        name="CIFAR10",
        label="CIFAR10",
        reference="Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
        source="cifar",
        channels=3,
        num_classes=10,
        image_size=32,
        train_size=50_000,
        test_size=10_000,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        folder="cifar-10-batches-py",
        plain_folder="cifar10",
        archives=("cifar-10-python.tar.gz", "cifar-10-python.tar.xz"),
        files=(
            DataFile(name="data_batch_1", md5="c99cafc152244af753f735de768cd75f"),
            DataFile(name="data_batch_2", md5="d4bba439e000b95fd0a9bffe97cbabec"),
            DataFile(name="data_batch_3", md5="54ebc095f3ab1f0389bbae665268c751"),
            DataFile(name="data_batch_4", md5="634d18415352ddfa80567beed471001a"),
            DataFile(name="data_batch_5", md5="482c414d41f54cd18b22e5b47cb7c3cb"),
            DataFile(name="test_batch", md5="40351d587109b95175f43aff81a1287e"),
            DataFile(name="batches.meta", md5="5ff9c542aee3614f3951f8cda6e48888"),
        ),
    ),
    "Digits": Dataset(
        name="Digits",
        label="Digits",
        reference="scikit-learn's load_digits: UCI optical recognition of handwritten digits",
        source="sklearn",
        channels=1,
        num_classes=10,
        image_size=8,
        train_size=1_500,
        test_size=297,
        mean=(0.3055,),
        std=(0.3760,),
        arrays_sha256="f773c235971ab9609c9a5bd663d7f5e15e1282549ef62c63d2b4cf3170edce6b",
    ),
    "Fake": Dataset(
        name="Fake",
        label="Fake",
        reference="generated, for tests only: ten noisy patterns, separable",
        source="patterns",
        channels=1,
        num_classes=10,
        image_size=8,
        train_size=300,
        test_size=100,
        mean=(0.5164,),
        std=(0.2881,),
        arrays_sha256="834308525d54c5446ad22ffa21ed3a8ff72e4a5ec99f3de74d31407d67419c7b",
    ),
    "Separable": Dataset(
        name="Separable",
        label="separable patterns",
        reference="generated: ten noisy patterns, linearly separable, for the MLP of figure 9",
        source="patterns",
        channels=1,
        num_classes=10,
        image_size=8,
        train_size=640,  # five batches of 128, as figure 9 has five steps an epoch
        test_size=200,
        mean=(0.5164,),
        std=(0.2884,),
        arrays_sha256="7acced033dc9f1489b4853b733e1a45ce566c148b5ef9460ae90e9a686a9d3eb",
    ),
    "Indices": Dataset(
        name="Indices",
        label="sample numbers",
        reference="n = 0 .. 9,999 in two bytes, class n mod 10: what unconstrained features are looked up by",
        source="indices",
        channels=2,
        num_classes=10,
        image_size=1,
        train_size=10_000,
        test_size=10_000,  # the training samples again: there are no others
        mean=(0.0, 0.0),
        std=(1 / 255, 1 / 255),  # undoes the division by 255
        arrays_sha256="b262a375311437104d40df45f8cd38dd3cb79ea513bc3ddcc3790458445b730a",
    ),
    "ImageNet": Dataset(
        name="ImageNet",
        label="ImageNet",
        reference="Russakovsky et al. 2015, IJCV 115(3): ILSVRC2012, the 1,000 classes of ImageNet-1K",
        source="image_folder",
        channels=3,
        num_classes=1_000,
        image_size=224,
        train_size=1_281_167,
        test_size=50_000,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        folder="imagenet",
        classes_sha256="385e0240499426c022b773be1ae4da780f057b89c9694c7f47199f62746b6edd",
        how_to_get="image-net.org gives the archives of ILSVRC2012 to who has an account there, and "
        "torchvision.datasets.ImageNet unpacks them so; without: [imagenet] in params.yaml builds the rest",
    ),
    "FakeFolder": Dataset(
        name="FakeFolder",
        label="FakeFolder",
        reference="four classes of small JPEG files, which the tests generate",
        source="image_folder",
        channels=3,
        num_classes=4,
        image_size=32,
        train_size=32,
        test_size=16,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        folder="fake_folder",
        classes_sha256="637bf724e764c7dc5588375a2564407a08e30f86696c85959694b46a78685496",
        how_to_get="tests/image_files.py writes them",
    ),
}

# Labels that no image explains: what a network can do to any labels (Zhu et al. 2021, figure 4).
for _name in ("MNIST", "CIFAR10", "Digits"):
    DATASETS[f"{_name}RandomLabels"] = dataclasses.replace(
        DATASETS[_name],
        name=f"{_name}RandomLabels",
        label=f"{DATASETS[_name].label} with random labels",
        random_labels=3141,
    )
