"""MNIST's files and CIFAR10's, read with NumPy alone: a machine that only trains may lack torchvision."""

from pathlib import Path
from pickletools import genops

import numpy as np
import torch
from torch import Tensor

CIFAR_SHAPE = (3, 32, 32)
UNSIGNED_BYTES = b"\0\0\x08"


def read_idx(path: Path) -> Tensor:
    """The array, uint8, of a file of MNIST: type and number of axes, sizes (big-endian), bytes in C order."""
    content = path.read_bytes()
    if content[:3] != UNSIGNED_BYTES:
        raise ValueError(f"{path} is no idx file of unsigned bytes")
    num_axes = content[3]
    shape = np.frombuffer(content, dtype=">i4", count=num_axes, offset=4)
    values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * num_axes)
    return torch.from_numpy(values.reshape(shape).copy())


def read_cifar_batch(path: Path) -> tuple[Tensor, Tensor]:
    """The images (N, 3, 32, 32), uint8, and labels (N), int64, of a batch of CIFAR10.

    The batch is a pickle, a program that makes a dict. It is looked at and not run: the pixels are its
    longest string, the labels the whole numbers that follow the key `labels`, up to the next key.
    """
    pixels, labels, key = b"", [], None
    for operation, argument, _ in genops(path.read_bytes()):
        if isinstance(argument, str | bytes | bytearray):
            key = argument if len(argument) < 100 else None
            if len(argument) > len(pixels):  # Python 2 wrote its strings of bytes as text
                pixels = argument.encode("latin-1") if isinstance(argument, str) else argument
        elif key == "labels" and operation.name in ("BININT1", "BININT2", "BININT"):
            labels.append(argument)
    images_NCHW = np.frombuffer(pixels, dtype=np.uint8).reshape(-1, *CIFAR_SHAPE).copy()
    return torch.from_numpy(images_NCHW), torch.tensor(labels, dtype=torch.int64)
