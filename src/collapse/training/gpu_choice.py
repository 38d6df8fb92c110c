"""Which of a machine's GPUs a job computes on, where no scheduler has given it one."""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
from pathlib import Path

import torch

log = logging.getLogger(__name__)
HELD: dict[Path, int] = {}  # the locks of this process: the system gives them back, however it ends


def use_free_gpu() -> int:
    """Make a GPU that no other job of this user has taken the current one, until this process ends.

    A job that sees one GPU, as Slurm has it, uses that. Returns its number among those that are visible.
    """
    count = torch.cuda.device_count()
    free = (number for number in range(count) if count == 1 or taken(lock_file(number)))
    chosen = next(free, None)
    if chosen is None:
        chosen = os.getpid() % count
        log.warning(
            "all %d GPUs here are taken; sharing number %d: start fewer jobs at a time (--resources gpu=%d)",
            count, chosen, count,
        )  # fmt: skip
    torch.cuda.set_device(chosen)
    return chosen


def lock_file(number: int) -> Path:
    """Of the GPU itself: its number may be another one in another process."""
    gpu = torch.cuda.get_device_properties(number).uuid
    return Path(tempfile.gettempdir()) / f"collapse-{os.getuid()}-{gpu}.lock"


def taken(file: Path) -> bool:
    """Take the lock; False where another process has it."""
    if file in HELD:
        return True
    opened = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(opened)
        return False
    HELD[file] = opened
    return True
