"""What every job has around it: one log, and for the user's mistakes one line instead of a traceback."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from collapse.errors import InputError


@contextmanager
def job(log_file: str | Path, *, threads: int | None = None) -> Iterator[None]:
    """Log to `log_file` and to the terminal; turn expected errors into one line and exit status 1.

    threads: of torch, where the job computes with it; results repeat bit for bit at a fixed number.
    """
    Path(log_file).parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s  %(message)s",
        datefmt="%H:%M:%S",
        handlers=[logging.FileHandler(log_file, mode="w"), logging.StreamHandler(sys.stderr)],
        force=True,
    )
    if threads is not None:
        import torch  # the table and figure jobs do without it

        torch.set_num_threads(threads)
    try:
        yield
    except (InputError, OSError) as error:
        logging.error("%s: %s", type(error).__name__, error)
        sys.exit(1)
    except Exception:
        logging.exception("the job failed")
        sys.exit(1)
