"""A line on a terminal that says how far a pass over the data is."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
SILENT_SECONDS, BETWEEN_SECONDS = 2.0, 0.2  # before the first line, and between two


def with_progress(items: Iterable[Item], *, total: int | None, words: str) -> Iterator[Item]:
    """The items; where somebody is looking and it takes long, a line is written over itself meanwhile."""
    if not somebody_looks():
        yield from items
        return
    started = last = time.monotonic()
    width = 0
    for number, item in enumerate(items):
        now = time.monotonic()
        if now - started > SILENT_SECONDS and now - last > BETWEEN_SECONDS:
            last = now
            line = said(words, number, total, now - started)
            width = max(width, len(line))
            print(f"\r{line:<{width}}", end="", file=sys.stderr, flush=True)
        yield item
    if width:
        print(f"\r{'':<{width}}\r", end="", file=sys.stderr, flush=True)


def somebody_looks() -> bool:
    """Whether the standard error is a terminal or a notebook's cell."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def said(words: str, done: int, total: int | None, seconds: float) -> str:
    """ "collapse: training set, pass 1 of 2: 120 of 469 batches, 12 s left"."""
    if not total or not done:
        return f"collapse: {words}: {done} batches, {seconds:.0f} s"
    left = seconds / done * max(total - done, 0)
    return f"collapse: {words}: {done} of {total} batches, {left:.0f} s left"
