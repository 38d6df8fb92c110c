"""What happens to images before and during training, on whole tensors."""

import torch
from torch import Tensor
from torch.nn import functional

from collapse.datasets.registry import get_dataset

CROP_PADDING = 4  # pixels on each side, as usual for CIFAR10


def preprocess(images_NCHW: Tensor, *, dataset: str, image_size: int) -> Tensor:
    """(resized / 255 - mean) / std: the network's input.

    images_NCHW: uint8, on the CPU. Resized to image_size x image_size, bilinear with antialiasing:
    pixel for pixel torchvision's Resize of a PIL image, for all images at once. Returns float32
    (N, C, image_size, image_size). Raises TypeError when the images are not uint8, ValueError when
    they have not the dataset's number of channels.
    """
    entry = get_dataset(dataset)
    if images_NCHW.dtype != torch.uint8:
        raise TypeError(f"preprocess takes uint8 images, got {images_NCHW.dtype}")
    if images_NCHW.shape[1] != entry.channels:
        raise ValueError(f"{dataset} has {entry.channels} channels, got {images_NCHW.shape[1]}")
    if images_NCHW.shape[-2:] != (image_size, image_size):
        # On uint8 this rounds as PIL does; on floats it would not.
        images_NCHW = functional.interpolate(
            images_NCHW, size=(image_size, image_size), mode="bilinear", antialias=True
        )
    return normalise(images_NCHW, dataset=dataset)


def normalise(images_NCHW: Tensor, *, dataset: str) -> Tensor:
    """(images / 255 - mean) / std as float32, on the device of the images."""
    entry, device = get_dataset(dataset), images_NCHW.device
    mean, std = torch.tensor(entry.mean, device=device), torch.tensor(entry.std, device=device)
    return images_NCHW.float().div_(255).sub_(mean[:, None, None]).div_(std[:, None, None])


def black_pixel(dataset: str) -> Tensor:
    """What `preprocess` makes of a black pixel: -mean / std, a channel each, float32 (C,)."""
    entry = get_dataset(dataset)
    return -torch.tensor(entry.mean) / torch.tensor(entry.std)


def subset(labels_N: Tensor, *, size: int, num_classes: int) -> Tensor:
    """Indices (int64, ascending) of the first size / K samples of each class, for smaller studies.

    size = N returns all indices, balanced or not. Raises ValueError when `size` is not a multiple
    of the number of classes or a class has too few samples.
    """
    if size == len(labels_N):
        return torch.arange(size, device=labels_N.device)
    per_class, rest = divmod(size, num_classes)
    if rest or per_class < 1:
        raise ValueError(f"train_size {size} is not a positive multiple of {num_classes} classes")
    counts_K = labels_N.bincount(minlength=num_classes)
    fewest = int(counts_K.min())
    if fewest < per_class:
        raise ValueError(f"train_size {size} needs {per_class} samples a class, one has {fewest}")
    by_class_N = labels_N.argsort(stable=True)
    starts_K = counts_K.cumsum(0) - counts_K
    place_N = torch.arange(len(labels_N), device=labels_N.device) - starts_K[labels_N[by_class_N]]
    return by_class_N[place_N < per_class].sort().values


def augment(images_NCHW: Tensor, *, padding_C: Tensor, generator: torch.Generator) -> Tensor:
    """augmentation "crop_flip": a random crop after padding by 4, and a flip with probability 1/2.

    Crop and flip are drawn for each sample, from `generator` alone, on the generator's device (so a
    CPU generator gives the same crops whatever device the images are on). padding_C: the padding's
    value a channel, `black_pixel(dataset)` for preprocessed images. Returns a new tensor of the
    same shape and type.
    """
    N, C, H, W = images_NCHW.shape
    device = images_NCHW.device

    def draw(high: int) -> Tensor:
        drawn = torch.randint(high, (N, 1), generator=generator, device=generator.device)
        return drawn.to(device, non_blocking=True)

    top_N1, left_N1 = draw(2 * CROP_PADDING + 1), draw(2 * CROP_PADDING + 1)
    flip_N1 = draw(2).bool()

    padded = images_NCHW.new_empty(N, C, H + 2 * CROP_PADDING, W + 2 * CROP_PADDING)
    padded[:] = padding_C.to(padded)[:, None, None]
    padded[:, :, CROP_PADDING : CROP_PADDING + H, CROP_PADDING : CROP_PADDING + W] = images_NCHW

    rows_NH = top_N1 + torch.arange(H, device=device)
    columns_W = torch.arange(W, device=device)
    columns_NW = left_N1 + torch.where(flip_N1, columns_W.flip(0), columns_W)
    samples_N11 = torch.arange(N, device=device)[:, None, None]
    cropped_NHWC = padded[samples_N11, :, rows_NH[:, :, None], columns_NW[:, None, :]]
    return cropped_NHWC.permute(0, 3, 1, 2).contiguous()
