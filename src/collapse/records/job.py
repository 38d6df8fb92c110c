"""What every job has around it: a log, a record of its files, and for the user's mistakes one line."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from collapse.files.errors import InputError, in_one_line
from collapse.records.interruption import Interrupted
from collapse.records.provenance import recorded

CLOCK_TOLERANCE_SECONDS = 60.0


class ClockError(InputError):
    """An input is newer than now."""


@contextmanager
def job(task: Any, *, threads: int | None = None) -> Iterator[None]:
    """Log to the rule's log and to the terminal; turn expected errors into one line and exit status 1.

    `task` is what a script of Snakemake's knows as `snakemake`; collapse.records.provenance says what is
    recorded. threads: of torch, where the job computes with it; results repeat bit for bit at a fixed number.
    """
    log_file = task.log[0]
    Path(log_file).parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s  %(message)s",
        datefmt="%H:%M:%S",
        handlers=[logging.FileHandler(log_file, mode="w"), logging.StreamHandler(sys.stderr)],
        force=True,
    )
    logging.raiseExceptions = False  # a line that a full disk cannot take is not the job's end
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # a PDF's fonts are not the user's concern
    if threads is not None:
        import torch  # the table and figure jobs do without it

        torch.set_num_threads(threads)
    try:
        require_past(task.input)
        with recorded(task):
            yield
    except (InputError, OSError) as error:
        words = in_one_line(error) if isinstance(error, OSError) else error
        logging.error("%s: %s", type(error).__name__, words)
        sys.exit(1)
    except (Interrupted, KeyboardInterrupt) as stop:
        logging.error("%s", stop if isinstance(stop, Interrupted) else "stopped by SIGINT")
        sys.exit(stop.exit_status if isinstance(stop, Interrupted) else 130)
    except Exception:
        logging.exception("the job failed")
        sys.exit(1)


def require_past(inputs: Any) -> None:
    """Raises ClockError where a file comes from the future: the clock was set back since it was written.

    Snakemake would find the results older than what they are made of, and throw away hours of training.
    """
    for _, files in inputs.items():
        for file in [files] if isinstance(files, str | Path) else files:
            ahead = os.path.getmtime(file) - time.time()
            if ahead > CLOCK_TOLERANCE_SECONDS:
                raise ClockError(
                    f"{file} is {ahead / 60:.0f} minutes ahead of this machine's clock; set the clock right, "
                    "or date such files back (find results -newermt now -exec touch {} +), then run again"
                )
