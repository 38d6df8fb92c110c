"""Writing files of which nobody ever sees half."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path


def write_atomically(path: str | os.PathLike, write: Callable[[Path], object]) -> None:
    """`write` gets a file beside `path`, which is then moved there; where it fails, nothing is left.

    Raises OSError.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.touch()
        mode = stat.S_IMODE(partial.stat().st_mode)  # as the umask has it; safetensors writes 0600
        write(partial)
        os.chmod(partial, mode)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
