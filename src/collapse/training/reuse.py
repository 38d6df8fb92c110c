"""Runs that were trained under another way of packing: found again by their keys, and not trained twice."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from collapse.study.runs import run_table
from collapse.training.pack_files import PackPaths, joined, read_pack, read_table, write_pack
from collapse.training.packs import trained_keys

log = logging.getLogger(__name__)


def former_packs(parameters: Mapping[str, Any], *, folder: Path) -> list[Path]:
    """Folders of packs beside those of the study: what no job writes any more."""
    packs = set(run_table(parameters, parameters["study"]).pack)
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in packs)


def take_over(
    runs: Sequence[Mapping[str, Any]], *, paths: PackPaths, unfinished: Path, former: Iterable[Path]
) -> None:
    """Copy what former packs have of these runs to where `train_pack` looks for what is finished.

    Only runs that the pack itself has neither in its files nor there. Raises PackFileError.
    """
    wanted = {run["key"] for run in runs} - keys_in(paths.outcomes)
    wanted = {key for key in wanted if not PackPaths.inside(unfinished / key).outcomes.exists()}
    for folder in former if wanted else ():
        place = PackPaths.inside(folder)
        if wanted.isdisjoint(keys_in(place.outcomes)):
            continue
        if not place.weights.exists():
            log.warning("%s has no checkpoints: its runs are trained again", folder)
            continue
        pack = read_pack(place)
        found = wanted & trained_keys(pack)
        for key in sorted(found):
            write_pack(joined([pack], keys=[key]), PackPaths.inside(unfinished / key))
        log.info("%d runs taken over from %s", len(found), folder.name)
        wanted -= found


def keys_in(outcomes: Path) -> set[str]:
    """The runs of a pack, none where it has no files. Raises PackFileError."""
    return set(read_table(outcomes).key) if outcomes.exists() else set()
