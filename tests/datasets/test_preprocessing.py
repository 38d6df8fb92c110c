"""The images reach the network as torchvision's would."""

import pytest
import torch
from PIL import Image

from collapse.datasets import DATASETS
from collapse.datasets.loading import load_arrays
from collapse.datasets.preprocessing import CROP_PADDING, augment, black_pixel, preprocess, subset
from collapse.datasets.torchvision_import import torchvision


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
