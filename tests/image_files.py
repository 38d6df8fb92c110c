"""The files of the dataset `FakeFolder`: small JPEGs of odd sizes, each class of its own colour."""

from pathlib import Path

import numpy as np
from PIL import Image

from collapse.datasets import DATASETS

COLOURS = [(200, 60, 60), (60, 200, 60), (60, 60, 200), (180, 180, 60)]
SIZES = [(37, 45), (51, 33), (40, 40), (33, 64)]  # width, height
PER_CLASS = {"train": 8, "val": 4}


def write_fake_folder(root: Path) -> Path:
    """Write them under the data root `root`; returns their folder."""
    folder = root / DATASETS["FakeFolder"].folder
    generator = np.random.RandomState(0)
    for part, number in PER_CLASS.items():
        for k, colour in enumerate(COLOURS):
            (folder / part / f"class_{k}").mkdir(parents=True)
            for n in range(number):
                width, height = SIZES[n % len(SIZES)]
                pixels = generator.randint(-55, 56, size=(height, width, 3)) + np.array(colour)
                image = Image.fromarray(pixels.astype(np.uint8))
                image.save(folder / part / f"class_{k}" / f"image_{n}.JPEG", quality=95)
    return folder
