"""The third tidy table between training and paper: `depth`, of the runs of the experiment of that name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from collapse.measuring.results import DEPTH_COLUMNS
from collapse.training.pack_files import read_table, save_table


def collect_depth(tables: Sequence[Path], depth_file: Path) -> None:
    """The packs' tables below each other; an empty one where a study has none. Raises PackFileError."""
    every = [read_table(file) for file in tables] or [pd.DataFrame(columns=DEPTH_COLUMNS)]
    save_table(pd.concat(every, ignore_index=True)[DEPTH_COLUMNS], depth_file)
