"""Image folders, such as ImageNet: too large for memory, so their images are read as they are needed.

What is prepared is a verified index, one row of bytes an image: its size in bytes and its path.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from collapse.datasets.preprocessing import normalise
from collapse.datasets.registry import Dataset, DatasetError

if TYPE_CHECKING:
    from PIL import Image

FOLDERS = {"train": "train", "test": "val"}  # ImageNet's test images are not published with their labels
BATCHES_AHEAD = 2
# torchvision's RandomResizedCrop: share of the area, ratio of the sides, and attempts to fit them.
AREA, RATIO, ATTEMPTS = (0.08, 1.0), (3 / 4, 4 / 3), 10


def read_index(dataset: Dataset, *, root: Path) -> dict[str, Tensor]:
    """The index of an image folder under `root`, with the names of a dataset's arrays.

    Returns train_images (N, L) and test_images, uint8: rows "size path", padded with zeros, the path
    relative to the dataset's folder; train_labels (N) and test_labels, int64: the place of the image's
    class in alphabetical order. The names of the classes and the numbers of images are checked, no
    image is opened: its size is checked when it is read. Raises DatasetError.
    """
    base = root / dataset.folder
    arrays = {}
    for part, size in (("train", dataset.train_size), ("test", dataset.test_size)):
        paths, labels = image_files(dataset, base / FOLDERS[part], size=size)
        rows = [f"{os.path.getsize(path)} {path.removeprefix(f'{base}{os.sep}')}" for path in paths]
        rows_N1 = np.array([os.fsencode(row) for row in rows])[:, None]
        arrays[f"{part}_images"] = torch.from_numpy(rows_N1.view(np.uint8))
        arrays[f"{part}_labels"] = torch.tensor(labels)
    return arrays


def image_files(dataset: Dataset, folder: Path, *, size: int) -> tuple[list[str], list[int]]:
    """The paths and labels of one part of an image folder. Raises DatasetError unless all are there."""
    from collapse.datasets.torchvision_import import torchvision

    wanted = f"the data root (COLLAPSE_DATA) must have {dataset.layout}; {dataset.how_to_get}"
    try:
        found = torchvision.datasets.ImageFolder(str(folder))
    except OSError as error:  # the folder, its class folders, or the images of one
        reason = " ".join(str(error).split())
        raise DatasetError(f"{dataset.name} is not complete ({reason}): {wanted}") from None
    if hashlib.sha256("\n".join(found.classes).encode()).hexdigest() != dataset.classes_sha256:
        raise DatasetError(
            f"{folder} has {len(found.classes):,} class folders, {found.classes[0]} to {found.classes[-1]}, "
            f"which are not the {dataset.num_classes:,} of {dataset.name}: {wanted}"
        )
    if len(found.samples) != size:
        raise DatasetError(
            f"{folder} has {len(found.samples):,} images, {dataset.name} has {size:,} there: {wanted}"
        )
    paths, labels = zip(*found.samples, strict=True)
    return list(paths), list(labels)


@dataclass(frozen=True)
class FolderImages:
    """Images (N, C, S, S) that lie in files; training and evaluation read them batch by batch.

    index_NL: rows of `read_index`. folder: where their paths start. image_size: S. augmentation:
    "imagenet" or "none". num_threads: read at a time; the images do not depend on it.
    """

    index_NL: Tensor
    folder: Path
    dataset: str
    image_size: int
    augmentation: str
    device: torch.device
    num_threads: int

    def __len__(self) -> int:
        return len(self.index_NL)

    def split(self, batch_size: int) -> Iterator[Tensor]:
        """All images in their order, preprocessed, as `Tensor.split` would give them."""
        every_N = torch.arange(len(self))
        return (images for _, images in self.batches(every_N.split(batch_size), generator=None))

    def batches(
        self, batches: Iterable[Tensor], *, generator: torch.Generator | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Indices and preprocessed images of each batch, on the device; the next ones are read meanwhile.

        With a generator, and if that is the augmentation, every image is cropped and flipped at random;
        all draws are made here, in the order of the batches. Otherwise the crop is central. Raises
        DatasetError, which names the file that cannot be read.
        """
        pool, waiting = ThreadPoolExecutor(self.num_threads), deque()
        try:
            for indices in batches:
                waiting.append((indices, self.begun(pool, indices, generator)))
                if len(waiting) > BATCHES_AHEAD:
                    yield self.finished(*waiting.popleft())
            while waiting:
                yield self.finished(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def begun(
        self, pool: ThreadPoolExecutor, indices: Tensor, generator: torch.Generator | None
    ) -> list[Future]:
        """A reading of each image of a batch."""
        draws: Iterable = [None] * len(indices)
        if generator is not None and self.augmentation == "imagenet":
            crops_NT4 = torch.rand(len(indices), ATTEMPTS, 4, generator=generator)
            flips_N = torch.rand(len(indices), generator=generator) < 0.5
            draws = zip(crops_NT4.tolist(), flips_N.tolist(), strict=True)
        return [pool.submit(self.read, n, drawn) for n, drawn in zip(indices.tolist(), draws, strict=True)]

    def finished(self, indices: Tensor, readings: list[Future]) -> tuple[Tensor, Tensor]:
        """The batch, once it is read."""
        images_NCHW = torch.stack([reading.result() for reading in readings]).to(self.device)
        return indices.to(self.device), normalise(images_NCHW, dataset=self.dataset)

    def read(self, n: int, drawn: tuple[list[list[float]], bool] | None) -> Tensor:
        """Image n as uint8 (C, S, S): the crop and flip that were drawn for it, or the central crop."""
        from collapse.datasets.torchvision_import import torchvision

        transforms = torchvision.transforms.functional
        size, _, path = os.fsdecode(self.index_NL[n].numpy().tobytes().rstrip(b"\0")).partition(" ")
        image = opened(self.folder / path, size=int(size))
        if drawn is None:
            image = transforms.resize(image, round(self.image_size * 256 / 224))
            return transforms.pil_to_tensor(transforms.center_crop(image, self.image_size))
        crops_T4, flipped = drawn
        box = random_box(crops_T4, width=image.width, height=image.height)
        image = transforms.resized_crop(image, *box, [self.image_size, self.image_size])
        return transforms.pil_to_tensor(transforms.hflip(image) if flipped else image)


def opened(path: Path, *, size: int) -> Image.Image:
    """The image in a file of `size` bytes, in RGB. Raises DatasetError, which names the file."""
    from PIL import Image  # where only small datasets are trained on it may be absent

    try:
        content = path.read_bytes()
        if len(content) != size:
            raise DatasetError(
                f"{path} has {len(content)} bytes, and had {size} when the dataset was prepared; "
                "put back the good copy, or delete the prepared file and run again"
            )
        return Image.open(io.BytesIO(content)).convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:  # what PIL raises
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise DatasetError(f"{path} cannot be read ({reason}); put a good copy in its place") from None


def random_box(crops_T4: list[list[float]], *, width: int, height: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of a crop, from numbers uniform in [0, 1): T attempts of four.

    As in torchvision's RandomResizedCrop: the share of the area is uniform in AREA, the logarithm of
    width / height in that of RATIO. The first attempt that fits into the image is taken, or else the
    largest central box of an allowed ratio.
    """
    least, most = RATIO
    for area, ratio, top, left in crops_T4:
        pixels = width * height * (AREA[0] + (AREA[1] - AREA[0]) * area)
        aspect = least * (most / least) ** ratio
        w, h = round(math.sqrt(pixels * aspect)), round(math.sqrt(pixels / aspect))
        if 0 < w <= width and 0 < h <= height:
            return int(top * (height - h + 1)), int(left * (width - w + 1)), h, w
    w, h = min(width, round(height * most)), min(height, round(width / least))
    return (height - h) // 2, (width - w) // 2, h, w
