"""One job at a time trains a pack."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from collapse.files.errors import InputError

log = logging.getLogger(__name__)
LOCK = ".lock"
HOLDER = re.compile(r"process (\d+) on (\S+),")  # as `only_trainer` writes it


class PackBusyError(InputError):
    """Another process trains the pack; the message says which."""


@contextmanager
def only_trainer(folder: Path) -> Iterator[None]:
    """Hold the lock of a pack's folder. The system gives it back when the process dies, however it does.

    Snakemake's own lock is on what one Snakemake does; it knows nothing of a job that outlived another one,
    killed with -9. Raises PackBusyError at once where another process has the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(file, 1000).decode(errors="replace").strip() or "it has not said which"
        os.close(file)
        raise PackBusyError(
            f"{folder}: another process is training this pack ({holder}); "
            "wait for its end or end it (kill), then run again"
        ) from None
    except OSError as error:
        log.warning(
            "%s: this file system has no locks (%s); do not train a pack twice at once", folder, error
        )
    try:
        with suppress(OSError):  # on a full disk the lock is as good without a name on it
            os.truncate(file, 0)
            words = (
                f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now():%Y-%m-%d %H:%M:%S}"
            )
            os.write(file, words.encode())
        yield
    finally:
        os.close(file)


def holder_lives(folder: Path) -> bool | None:
    """Whether the process that last took the lock of a pack's folder lives; None if it is of another machine.

    The lock itself is not tried: a job that began at that moment would find it taken. Raises OSError where
    there is no lock.
    """
    holder = HOLDER.match((folder / LOCK).read_text(encoding="utf-8"))
    if not holder or holder[2] != socket.gethostname():
        return None
    try:
        os.kill(int(holder[1]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
