"""From a pack's trained weights to the class statistics of its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from collapse.architectures.initialisation import initial_network
from collapse.architectures.precision import convolutions_in
from collapse.metrics.class_statistics import to_arrays
from collapse.training.evaluation import statistics_of
from collapse.training.images import choose_device, load_images
from collapse.training.pack_files import of_run, prefixed, read_tensors, save_tensors


def extract_statistics(
    runs: Sequence[Mapping[str, Any]],
    *,
    prepared: Path,
    weights: Path,
    statistics: Path,
    device: str,
    root: Path | None = None,
) -> None:
    """One forward pass over the data for each run that has weights: those that were done.

    root: see `load_images`. Raises PackFileError and DatasetError, which name the unreadable file.
    """
    trained = read_tensors(weights)
    chosen = choose_device(device)
    images = load_images(prepared, runs[0], chosen, root=root)
    arrays = {}
    for run in runs:
        if state := of_run(trained, run["key"]):
            network = initial_network(run).to(chosen)
            network.load_state_dict(state)
            with convolutions_in(run["precision"]):
                found, _ = statistics_of(network, images)
            arrays |= prefixed(run["key"], to_arrays(found))
    save_tensors({name: torch.from_numpy(array) for name, array in arrays.items()}, statistics)
