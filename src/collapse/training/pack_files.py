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
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from collapse.files.atomic import write_atomically
from collapse.files.checksums import tensor_digest
from collapse.files.errors import InputError, first_line


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
    save_tensors(pack.weights, paths.weights)
    save_tensors(pack.trajectory, paths.trajectory)
    save_table(pack.history, paths.history)
    save_table(pack.outcomes, paths.outcomes)


def save_tensors(tensors: Mapping[str, Tensor], path: Path, *, about: str = "") -> None:
    """A safetensors file of tensors on the CPU, with their digest and a text. Raises PackFileError."""
    metadata = {"sha256": tensor_digest(tensors, sorted(tensors), about=about)}
    metadata |= {"about": about} if about else {}
    try:
        write_atomically(path, lambda file: save_file(dict(tensors), file, metadata))
    except (OSError, SafetensorError) as error:
        raise unwritable(path, error) from None


def save_table(table: pd.DataFrame, path: Path) -> None:
    """A Parquet file whose pages have checksums. Raises PackFileError."""
    try:
        write_atomically(path, lambda file: table.to_parquet(file, index=False, write_page_checksum=True))
    except OSError as error:
        raise unwritable(path, error) from None


def read_pack(paths: PackPaths) -> Pack:
    """Read the files. Raises PackFileError."""
    return Pack(
        read_tensors(paths.weights),
        read_tensors(paths.trajectory),
        read_table(paths.history),
        read_table(paths.outcomes),
    )


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises PackFileError."""
    return read_described(path)[0]


def read_described(path: Path) -> tuple[dict[str, Tensor], str]:
    """What `save_tensors` wrote: tensors and text. Raises PackFileError where a bit of it has changed."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise unreadable(path, error) from None
    about = metadata.get("about", "")
    # Files of earlier versions have no digest.
    if "sha256" in metadata and metadata["sha256"] != tensor_digest(tensors, sorted(tensors), about=about):
        raise unreadable(path, "its content is not what was written")
    return tensors, about


def read_table(path: Path) -> pd.DataFrame:
    """A Parquet file. Raises PackFileError."""
    try:
        return pd.read_parquet(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: Exception | str) -> PackFileError:
    return PackFileError(f"{path} cannot be read ({first_line(error)}); delete it and run again")


def unwritable(path: Path, error: Exception) -> PackFileError:
    return PackFileError(
        f"{path} cannot be written ({first_line(error)}); make room or make it writable, then run again: "
        "what was finished is kept"
    )


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
