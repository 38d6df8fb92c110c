"""What a job that trains for hours does when it is told to stop: one exception, once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)  # the last: a time budget has ended


class Interrupted(BaseException):
    """A signal asks the job to end. As KeyboardInterrupt no Exception: what handles errors lets it pass."""

    def __init__(self, signal_number: int, message: str = ""):
        super().__init__(message)
        self.signal_number = signal_number

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.signal_number).name}{self.args[0]}"

    @property
    def exit_status(self) -> int:
        """As shells have it: 143 for SIGTERM, 130 for SIGINT, 142 for SIGALRM."""
        return 128 + self.signal_number


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Let the first of SIGNALS raise Interrupted, wherever the program is, and ignore the next.

    The next often comes at once (Slurm and terminals signal whole groups of processes) and must not tear
    what is being saved. A signal that was ignored before, as under nohup, stays so.
    """

    def stop(signal_number: int, frame: FrameType | None) -> None:
        for heeded in before:
            signal.signal(heeded, signal.SIG_IGN)
        raise Interrupted(signal_number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    if threading.current_thread() is not threading.main_thread():
        before = {}  # Python hands signals to the main thread alone
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    try:
        for number in before:
            signal.signal(number, stop)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
