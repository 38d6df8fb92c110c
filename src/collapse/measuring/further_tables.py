"""The tidy tables beside runs and history, of what only some studies have: depth, layers, ufm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from collapse.measuring.results import FURTHER
from collapse.training.pack_files import read_table, save_table


def collect_further(name: str, tables: Sequence[Path], file: Path) -> None:
    """The parts of a table below each other; an empty one where a study has none. Raises PackFileError."""
    columns = FURTHER[name]
    every = [read_table(table) for table in tables] or [pd.DataFrame(columns=columns)]
    save_table(pd.concat(every, ignore_index=True)[columns], file)
