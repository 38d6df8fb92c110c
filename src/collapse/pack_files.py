"""The files of a pack: weights of its runs, class statistics on the way, history, and how each ended.

A finished run of an unfinished pack is kept in the same form, as a pack of one run, so that joining
packs is all it takes to finish a pack or to add runs to one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from collapse.atomic import write_atomically
from collapse.errors import InputError


class PackFileError(InputError):
    """A result file is missing, truncated or altered; the message names it and the remedy."""


class PackPaths(NamedTuple):
    """Where the files are."""

    weights: Path
    trajectory: Path
    history: Path
    outcomes: Path

    @classmethod
    def inside(cls, folder: Path) -> PackPaths:
        """The files of a pack of one run, in a folder of their own."""
        names = ("weights.safetensors", "trajectory.safetensors", "history.parquet", "outcomes.parquet")
        return cls(*(folder / name for name in names))


class Pack(NamedTuple):
    """What the files hold.

    weights: tensors named `{key}/{parameter}`. trajectory: class statistics at the measured epochs,
    `{key}/{epoch}/{name}`. history: a row a run and epoch. outcomes: a row a run.
    """

    weights: dict[str, Tensor]
    trajectory: dict[str, Tensor]
    history: pd.DataFrame
    outcomes: pd.DataFrame


def write_pack(pack: Pack, paths: PackPaths) -> None:
    """Write the files, outcomes last: where they are, the pack is whole."""
    write_atomically(paths.weights, lambda file: save_file(pack.weights, file))
    write_atomically(paths.trajectory, lambda file: save_file(pack.trajectory, file))
    write_atomically(paths.history, lambda file: pack.history.to_parquet(file, index=False))
    write_atomically(paths.outcomes, lambda file: pack.outcomes.to_parquet(file, index=False))


def read_pack(paths: PackPaths) -> Pack:
    """Read the files. Raises PackFileError."""
    return Pack(
        read_tensors(paths.weights),
        read_tensors(paths.trajectory),
        read_table(paths.history),
        read_table(paths.outcomes),
    )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """A safetensors file. Raises PackFileError."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise unreadable(path, error) from None


def read_table(path: Path) -> pd.DataFrame:
    """A Parquet file. Raises PackFileError."""
    try:
        return pd.read_parquet(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: Exception) -> PackFileError:
    first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
    return PackFileError(f"{path} cannot be read ({first_line}); delete it and run again")


def joined(packs: Iterable[Pack], *, keys: Iterable[str]) -> Pack:
    """One pack of the given runs, in the order of `keys`; the last of several packs with a run has it."""
    newest = {key: pack for pack in packs for key in pack.outcomes.key}
    chosen = [(key, newest[key]) for key in keys]
    return Pack(
        {name: tensor for key, pack in chosen for name, tensor in tensors_of(pack.weights, key)},
        {name: tensor for key, pack in chosen for name, tensor in tensors_of(pack.trajectory, key)},
        pd.concat([pack.history[pack.history.key == key] for key, pack in chosen], ignore_index=True),
        pd.concat([pack.outcomes[pack.outcomes.key == key] for key, pack in chosen], ignore_index=True),
    )


def tensors_of(tensors: Mapping[str, Tensor], key: str) -> list[tuple[str, Tensor]]:
    """The tensors of one run under their full names, in alphabetical order."""
    return sorted((name, tensor) for name, tensor in tensors.items() if key_of(name) == key)


def prefixed(key: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names that tell the runs of a pack apart: `{key}/{name}`."""
    return {f"{key}/{name}": tensor for name, tensor in tensors.items()}


def key_of(name: str) -> str:
    """The run's key in the name of a tensor."""
    return name.partition("/")[0]


def of_run(tensors: Mapping[str, Tensor], key: str) -> dict[str, Tensor]:
    """The tensors of one run, without the prefix."""
    return {name.partition("/")[2]: tensor for name, tensor in tensors_of(tensors, key)}
