"""Images that stay in their files: a verified index, torchvision's pixels, and runs that train on them."""

import dataclasses
import hashlib
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from image_files import write_fake_folder
from PIL import Image
from safetensors.torch import load_file
from tiny_study import TINY, snakemake, write_parameters

from collapse.datasets import DATASETS, DatasetError
from collapse.datasets.image_folder import ATTEMPTS, FolderImages, random_box
from collapse.datasets.loading import load_arrays
from collapse.datasets.prepared import load_prepared, save_prepared
from collapse.datasets.preprocessing import normalise
from collapse.datasets.torchvision_import import torchvision
from collapse.measuring.extraction import extract_statistics
from collapse.paper.targets import lacking_of
from collapse.study.parameters import ParameterError, remaining_studies
from collapse.study.runs import run_table
from collapse.training.images import load_images
from collapse.training.pack_files import PackPaths, of_run, read_pack, read_tensors
from collapse.training.packs import train_pack
from collapse.training.run import augmented_batches

ENTRY = DATASETS["FakeFolder"]
IMAGENET = DATASETS["ImageNet"]
CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """A data root with the files of FakeFolder; not to be changed."""
    root = tmp_path_factory.mktemp("data")
    write_fake_folder(root)
    return root


@pytest.fixture
def own_root(root, tmp_path):
    """A copy of the data root that a test may spoil."""
    return Path(shutil.copytree(root, tmp_path / "own"))


@pytest.fixture(scope="session")
def index(root, tmp_path_factory):
    """The index as rule prepare_dataset leaves it."""
    path = tmp_path_factory.mktemp("prepared") / "FakeFolder.safetensors"
    save_prepared(load_arrays("FakeFolder", root=root, cache="absent"), path, "FakeFolder")
    return path


@pytest.fixture
def run(tiny_run):
    """Two epochs of two steps of a narrow ResNet50."""
    changes = {
        "architecture": "ResNet50", "dataset": "FakeFolder", "image_size": 32, "train_size": 32,
        "epochs": 2, "batch_size": 16, "measure_every": 1,
    }  # fmt: skip
    return tiny_run | changes


# ---- the index


def test_imagenet_is_ilsvrc2012():
    assert (IMAGENET.num_classes, IMAGENET.train_size, IMAGENET.test_size) == (1_000, 1_281_167, 50_000)
    assert (IMAGENET.mean, IMAGENET.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert ENTRY.classes_sha256 == hashlib.sha256(b"class_0\nclass_1\nclass_2\nclass_3").hexdigest()


@pytest.mark.parametrize("change", [{"train_size": 31}, {"test_size": 15}, {"classes_sha256": "0" * 64}])
def test_digest_needs_no_files_and_follows_what_is_expected(change):
    assert re.fullmatch("[0-9a-f]{64}", IMAGENET.digest)
    assert dataclasses.replace(ENTRY, **change).digest != ENTRY.digest


def test_index_is_torchvisions_list_of_files(root, index):
    arrays = load_prepared(index, "FakeFolder")
    for part, folder in (("train", "train"), ("test", "val")):
        theirs = torchvision.datasets.ImageFolder(str(root / "fake_folder" / folder))
        rows = [bytes(row).rstrip(b"\0").decode() for row in arrays[f"{part}_images"].tolist()]
        sizes, paths = zip(*(row.split(" ", 1) for row in rows), strict=True)
        files = [root / "fake_folder" / path for path in paths]
        assert [
            (str(file), k) for file, k in zip(files, arrays[f"{part}_labels"], strict=True)
        ] == theirs.samples
        assert [int(size) for size in sizes] == [file.stat().st_size for file in files]
    assert not any(str(root).encode() in bytes(row) for row in arrays["train_images"].tolist())


def remove(name):
    return lambda folder: (folder / name).unlink()


def another_class(folder):
    for part in ("train", "val"):
        (folder / part / "class_3").rename(folder / part / "klass_3")


DAMAGES = {
    "no data root": (lambda folder: shutil.rmtree(folder.parent), ["not complete", "fake_folder/train"]),
    "no validation images": (lambda folder: shutil.rmtree(folder / "val"), ["fake_folder/val"]),
    "a class is missing": (
        lambda folder: shutil.rmtree(folder / "train/class_2"),
        ["train has 3 class folders, class_0 to class_3", "not the 4 of FakeFolder"],
    ),
    "an empty class": (
        lambda folder: [path.unlink() for path in (folder / "val/class_1").iterdir()], ["class_1"],
    ),
    "other classes": (another_class, ["train has 4 class folders, class_0 to klass_3, which are not the 4"]),
    "an image is missing": (
        remove("train/class_0/image_3.JPEG"), ["train has 31 images, FakeFolder has 32 there"],
    ),
    "an image too many": (
        lambda folder: shutil.copy(folder / "val/class_0/image_0.JPEG", folder / "val/class_0/copy.JPEG"),
        ["val has 17 images, FakeFolder has 16 there"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_incomplete_folder_is_refused_with_the_layout(damage, own_root):
    spoil, words = DAMAGES[damage]
    spoil(own_root / "fake_folder")
    with pytest.raises(DatasetError) as caught:
        load_arrays("FakeFolder", root=own_root, cache="absent")
    message = str(caught.value)
    assert "\n" not in message and "COLLAPSE_DATA" in message and ENTRY.layout in message
    assert all(word in message for word in words)


def test_a_missing_imagenet_says_how_it_should_lie_and_where_it_is_had(tmp_path):
    with pytest.raises(DatasetError) as caught:
        load_arrays("ImageNet", root=tmp_path, cache=tmp_path)
    message = str(caught.value)
    for words in (
        "imagenet/train/<class>/*.JPEG, 1,281,167 images", "imagenet/val/<class>/*.JPEG, 50,000",
        "1,000 folders", "image-net.org", "torchvision.datasets.ImageNet", "without: [imagenet]",
    ):  # fmt: skip
        assert words in message
    assert "\n" not in message


def test_prepared_index_must_be_of_all_images(root, tmp_path):
    arrays = load_arrays("FakeFolder", root=root, cache="absent")
    arrays["train_images"] = arrays["train_images"][:-1]
    with pytest.raises(DatasetError, match="train images"):
        save_prepared(arrays, tmp_path / "FakeFolder.safetensors", "FakeFolder")


# ---- the images


def folder_images(root, index, run, **changes):
    return dataclasses.replace(load_images(index, run, CPU, root=root).train_images, **changes)


@pytest.mark.parametrize("image_size", [28, 32, 56])
def test_pixels_are_torchvisions(image_size, root, index, run):
    transforms = torchvision.transforms
    usual = transforms.Compose(
        [
            transforms.Resize(round(image_size * 256 / 224)),
            transforms.CenterCrop(image_size),
            transforms.ToTensor(),
            transforms.Normalize(ENTRY.mean, ENTRY.std),
        ]
    )
    images = load_images(index, run | {"image_size": image_size}, CPU, root=root)
    for part, folder in (("train", "train"), ("test", "val")):
        theirs = torchvision.datasets.ImageFolder(str(root / "fake_folder" / folder), usual)
        ours = getattr(images, f"{part}_images")
        assert len(ours) == len(theirs)
        assert torch.equal(torch.cat(list(ours.split(5))), torch.stack([image for image, _ in theirs]))
        assert getattr(images, f"{part}_labels").tolist() == theirs.targets


def test_train_size_takes_the_first_of_each_class(root, index, run):
    whole, part = (load_images(index, run | {"train_size": n}, CPU, root=root) for n in (32, 8))
    assert part.train_labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    first = torch.tensor([0, 1, 8, 9, 16, 17, 24, 25])
    assert torch.equal(part.train_images.index_NL, whole.train_images.index_NL[first])


def every_batch(images, *, seed):
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed)
    batches = augmented_batches(images, order.split(7), padding=None, generator=generator)
    indices, pixels = zip(*batches, strict=True)
    assert torch.equal(torch.cat(indices), order)
    return torch.cat(pixels)


@pytest.mark.parametrize("augmentation", ["none", "imagenet"])
def test_the_number_of_threads_changes_nothing(augmentation, root, index, run):
    one, two, five = (
        every_batch(folder_images(root, index, run, augmentation=augmentation, num_threads=n), seed=1)
        for n in (1, 2, 5)
    )
    assert torch.equal(one, two) and torch.equal(one, five)


def test_random_crops_are_of_the_generator_alone_and_evaluation_has_none(root, index, run):
    images = folder_images(root, index, run, augmentation="imagenet")
    plain = folder_images(root, index, run)
    torch.manual_seed(0)
    first = every_batch(images, seed=1)
    torch.manual_seed(1)
    assert torch.equal(every_batch(images, seed=1), first)
    assert not torch.equal(every_batch(plain, seed=1), first)
    assert torch.equal(torch.cat(list(images.split(9))), torch.cat(list(plain.split(32))))


def test_a_crop_is_torchvisions_resized_crop_and_flip(root, index, run):
    images = folder_images(root, index, run, augmentation="imagenet")
    generator = torch.Generator().manual_seed(3)
    (_, found), = images.batches([torch.arange(32)], generator=torch.Generator().manual_seed(3))  # fmt: skip
    crops = torch.rand(32, ATTEMPTS, 4, generator=generator).tolist()
    flips = (torch.rand(32, generator=generator) < 0.5).tolist()
    assert 5 < sum(flips) < 27
    functional = torchvision.transforms.functional
    files = torchvision.datasets.ImageFolder(str(root / "fake_folder/train")).samples
    for n, (path, _) in enumerate(files):
        image = Image.open(path)
        box = random_box(crops[n], width=image.width, height=image.height)
        expected = functional.pil_to_tensor(functional.resized_crop(image, *box, [32, 32]))
        expected = expected.flip(2) if flips[n] else expected
        assert torch.equal(found[n], normalise(expected[None], dataset="FakeFolder")[0])


@pytest.mark.parametrize(("width", "height"), [(500, 375), (60, 500), (500, 60), (1, 1)])
def test_boxes_are_distributed_as_torchvisions(width, height):
    """Means and deviations of top, left, height, width over 4,000 draws of both; the fallback exactly."""
    torch.manual_seed(0)
    crop = torchvision.transforms.RandomResizedCrop
    image = Image.new("RGB", (width, height))
    theirs = torch.tensor(
        [crop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(4_000)], dtype=torch.float64
    )
    draws = torch.rand(4_000, ATTEMPTS, 4).tolist()
    boxes = [random_box(crops, width=width, height=height) for crops in draws]
    ours = torch.tensor(boxes, dtype=torch.float64)
    top, left, h, w = ours.unbind(1)
    assert (top >= 0).all() and (left >= 0).all() and (top + h <= height).all() and (left + w <= width).all()
    tolerance = 0.03 * max(width, height)
    assert (ours.mean(0) - theirs.mean(0)).abs().max() < tolerance
    assert (ours.std(0) - theirs.std(0)).abs().max() < tolerance
    too_large = [9.0, 9.0]  # times the area: no attempt fits
    assert random_box([], width=width, height=height) == crop.get_params(image, too_large, [3 / 4, 4 / 3])


def truncate(path):
    path.write_bytes(path.read_bytes()[:-200])


def scribble(path):
    path.write_bytes(b"x" * path.stat().st_size)


def prepared_afterwards(own_root, folder):
    path = folder / "FakeFolder.safetensors"
    save_prepared(load_arrays("FakeFolder", root=own_root, cache="absent"), path, "FakeFolder")
    return path


UNREADABLE = {
    "truncated since": (truncate, False, "bytes, and had"),
    "truncated before": (truncate, True, "cannot be read"),
    "no image": (scribble, False, "cannot be read (UnidentifiedImageError"),
    "removed": (Path.unlink, False, "cannot be read (FileNotFoundError"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_an_unreadable_image_is_named(case, own_root, index, run, tmp_path):
    spoil, before, words = UNREADABLE[case]
    path = own_root / "fake_folder/train/class_2/image_5.JPEG"
    spoil(path)
    prepared = prepared_afterwards(own_root, tmp_path) if before else index
    images = load_images(prepared, run, CPU, root=own_root).train_images
    with pytest.raises(DatasetError) as caught:
        list(images.split(8))
    message = str(caught.value)
    assert message.startswith(f"{path} ") and words in message and "\n" not in message


def test_no_reading_goes_on_after_an_error(own_root, index, run, monkeypatch):
    (own_root / "fake_folder/train/class_0/image_0.JPEG").unlink()
    read, begun = FolderImages.read, []
    monkeypatch.setattr(FolderImages, "read", lambda *args: begun.append(args[1]) or read(*args))
    images = load_images(index, run, CPU, root=own_root).train_images
    with pytest.raises(DatasetError):
        list(images.split(1))
    assert len(begun) <= 4


# ---- runs


@pytest.mark.parametrize("augmentation", ["none", "imagenet"])
def test_a_pack_from_training_to_its_statistics(augmentation, root, index, run, tmp_path):
    """At the end the statistics are those that training saw, and training repeats bit for bit."""
    runs = [
        run | {"key": f"{n:012d}", "optimizer": name, "learning_rate": 0.001, "augmentation": augmentation}
        for n, name in enumerate(["Adam", "AdamW"])
    ]
    packs = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        paths = PackPaths.inside(folder)
        where = {"prepared": index, "device": "cpu", "root": root}
        train_pack(runs, paths=paths, unfinished=folder / "unfinished", **where)
        extract_statistics(runs, weights=paths.weights, statistics=folder / "statistics", **where)
        packs.append(read_pack(paths))
    assert packs[0].outcomes.status.tolist() == ["done", "done"]
    assert all(torch.equal(packs[0].weights[name], packs[1].weights[name]) for name in packs[0].weights)
    found = of_run(read_tensors(tmp_path / "one/statistics"), runs[1]["key"])
    last = {name: packs[0].trajectory[f"{runs[1]['key']}/2/{name}"] for name in found}
    assert found["centred_means_KD"].shape == (4, 128)
    assert all(torch.equal(found[name], last[name]) for name in found)


def test_an_unreadable_image_ends_the_job(own_root, index, run, tmp_path):
    path = own_root / "fake_folder/val/class_3/image_1.JPEG"
    truncate(path)
    with pytest.raises(DatasetError, match=re.escape(str(path))):
        train_pack(
            [run], prepared=index, paths=PackPaths.inside(tmp_path / "pack"),
            unfinished=tmp_path / "unfinished", device="cpu", root=own_root,
        )  # fmt: skip


# ---- the study


def test_the_papers_24_runs(parameters):
    table = run_table(parameters, "paper").query("experiment == 'imagenet'")
    assert len(table) == table.key.nunique() == table.pack.nunique() == 24, "a day each: alone"
    assert set(table.architecture) == {"ResNet50"} and set(table.dataset) == {"ImageNet"}
    assert set(table.epochs) == {90} and set(table.learning_rate) == {0.0003}
    assert set(table.schedule) == {"thirds"} and set(table.image_size) == {224}
    assert sorted(set(table.momentum)) == [0, 0.5, 0.9]
    assert sorted(set(table.weight_decay)) == [0, 1e-5, 1e-4, 1e-3]


@pytest.mark.parametrize(
    ("dataset", "augmentation", "known"),
    [("ImageNet", "crop_flip", "none or imagenet"), ("CIFAR10", "imagenet", "none or crop_flip")],
)
def test_an_augmentation_of_another_kind_of_dataset_is_refused(parameters, dataset, augmentation, known):
    axes = parameters["studies"]["paper"]["experiments"]["imagenet"]["axes"]
    axes |= {"dataset": dataset, "augmentation": augmentation}
    with pytest.raises(ParameterError, match=f"augmentation {augmentation}: {dataset} can have {known}"):
        run_table(parameters, "paper")


def test_without_leaves_an_experiment_out(parameters):
    before = run_table(parameters, "paper")
    parameters |= {"without": ["imagenet"], "study": "paper"}
    parameters["studies"] = remaining_studies(parameters)
    after = run_table(parameters, "paper")
    expected = before[before.experiment != "imagenet"].reset_index(drop=True)
    pd.testing.assert_frame_equal(after, expected)
    lacking = lacking_of(parameters, "paper")
    assert set(lacking) == {"figure_30", "figure_31"}
    assert lacking["figure_31"].endswith("`without` leaves that experiment out")


@pytest.mark.parametrize(
    ("without", "message"),
    [
        (["imagnet"], "unknown experiment 'imagnet'; did you mean 'imagenet'"),
        (["grid", "momentum_heatmap", "table_2", "zero_weight_decay", "long_training", "interpolation",
          "momentum_dynamics", "momentum_control", "depth", "optimizers", "mlp", "ufm", "vit", "imagenet"],
         "no experiment of study demo is left"),
    ],
)  # fmt: skip
def test_what_cannot_be_left_out(parameters, without, message):
    with pytest.raises(ParameterError, match=message):
        remaining_studies(parameters | {"without": without})


@pytest.mark.workflow
@pytest.mark.xdist_group("workflow")
def test_the_paper_is_planned_without_imagenet_at_hand(tmp_path, monkeypatch):
    monkeypatch.setenv("COLLAPSE_DATA", str(tmp_path / "nothing"))
    write_parameters(tmp_path)
    counts = []
    for without in ([], ["without=[imagenet]"]):
        planned = snakemake(tmp_path, "--dry-run", "--config", "study=paper", *without)
        assert planned.returncode == 0, planned.stderr
        counts.append(dict(re.findall(r"^(\w+) +(\d+)$", planned.stdout, re.MULTILINE)))
    assert int(counts[0]["train"]) - int(counts[1]["train"]) == 24
    assert int(counts[0]["prepare_dataset"]) - int(counts[1]["prepare_dataset"]) == 1
    assert counts[0]["figure_31"] == "1" and "figure_31" not in counts[1]


def with_image_files(parameters):
    """Two packs: of four runs on Fake, and of four on FakeFolder."""
    tiny = yaml.safe_load(yaml.safe_dump(TINY))
    experiments = {"table_2": tiny["experiments"]["table_2"]}
    experiments["imagenet"] = {
        "valid_accuracy": 0,
        "axes": {"architecture": "ResNet50", "dataset": "FakeFolder", "image_size": 32, "epochs": 2},
        "rows": [{"optimizer": ["Adam", "AdamW"], "learning_rate": 0.001, "weight_decay": [0, 0.01]}],
    }
    tiny |= {"experiments": experiments, "pack_by": ["architecture", "dataset"]}
    tiny["stand_ins"] = {"FashionMNIST": "Fake", "ImageNet": "FakeFolder"}
    parameters["studies"]["tiny"] = tiny


@pytest.mark.workflow
@pytest.mark.xdist_group("workflow")
def test_missing_images_stop_their_runs_and_no_others(tmp_path, monkeypatch):
    """Without the files the job says so in a line, `without` builds the rest, with them all is built."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("COLLAPSE_DATA", str(tmp_path / "data"))
    write_parameters(tmp_path, with_image_files)
    missing = snakemake(tmp_path, "results/tiny/figures/figure_30.pdf")
    assert missing.returncode != 0
    assert "DatasetError: FakeFolder is not complete" in missing.stderr and ENTRY.layout in missing.stderr
    rest = snakemake(tmp_path, "results/tiny/runs.parquet", "--config", "without=[imagenet]")
    assert rest.returncode == 0, rest.stderr
    runs = pd.read_parquet(tmp_path / "results/tiny/runs.parquet")
    assert set(runs.experiment) == {"table_2"}
    write_fake_folder(tmp_path / "data")
    whole = snakemake(tmp_path, "figure_30")
    assert whole.returncode == 0, whole.stderr
    runs = pd.read_parquet(tmp_path / "results/tiny/runs.parquet")
    assert runs[runs.experiment == "imagenet"].status.tolist() == ["done"] * 4
    assert runs[runs.experiment == "imagenet"].valid.all() and runs.NC3.notna().all()
    stored = load_file(tmp_path / "results/tiny/datasets/FakeFolder.safetensors")
    assert stored["train_images"].ndim == 2, "an index, no pixels"
