"""From a pack's trained weights to metrics at the points of its networks' trunk: which layers collapse.

A sweep is one forward pass, which gives every point. There are three: two over the data, and one over some
samples for the rank where a point has too many dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from collapse.architectures import Network
from collapse.architectures.initialisation import initial_network
from collapse.architectures.precision import convolutions_in
from collapse.architectures.trunk import TRUNK_POINTS, trunk_features
from collapse.datasets.image_folder import FolderImages
from collapse.measuring.results import DEPTH_COLUMNS
from collapse.metrics.depth import PointStatistics, measure_point
from collapse.metrics.depth_sweeps import (
    MOST_GRAM_SAMPLES,
    SecondSweep,
    covariance_eigenvalues,
    first_sweep,
    gram_eigenvalues,
)
from collapse.training.images import Images, choose_device, load_images
from collapse.training.pack_files import of_run, read_tensors, save_table

BATCH = 250  # of the widest point of ResNet9 0.13 GB in float64
# By view (collapse.metrics.depth), a batch's features as rows in float64.
ROWS = {
    "pooled": lambda features: features.double().reshape(*features.shape[:2], -1).mean(2),
    "whole": lambda features: features.double().flatten(1),
}
Name = tuple[str, str]  # of a point, of a view


def measure_depth(
    runs: Sequence[Mapping[str, Any]],
    *,
    prepared: Path,
    weights: Path,
    depth: Path,
    device: str,
    root: Path | None = None,
) -> None:
    """Write the metrics at every point, of each run's network at initialisation and, if it was done, trained.

    root: see `load_images`. Raises PackFileError and DatasetError, which name the unreadable file.
    """
    trained = read_tensors(weights)
    chosen = choose_device(device)
    images = load_images(prepared, runs[0], chosen, root=root)
    initial: dict[int, pd.DataFrame] = {}  # by seed: all else that it is made of, the runs of a pack share
    tables = []
    for run in runs:
        network, points = initial_network(run).to(chosen), TRUNK_POINTS[run["architecture"]]
        with convolutions_in(run["precision"]):
            if run["seed"] not in initial:
                initial[run["seed"]] = point_table(network, points, images)
            tables.append(initial[run["seed"]].assign(key=run["key"], epoch=0))
            if state := of_run(trained, run["key"]):
                network.load_state_dict(state)
                found = point_table(network, points, images)
                tables.append(found.assign(key=run["key"], epoch=run["epochs"]))
    save_table(pd.concat(tables, ignore_index=True)[DEPTH_COLUMNS], depth)


def point_table(network: Network, points: Mapping[int, str], images: Images) -> pd.DataFrame:
    """A row a view and point: its place among the points, its dimensions, its metrics."""
    place = {point: number for number, point in enumerate(points.values(), start=1)}
    rows = [
        {"view": view, "point": point, "depth": place[point], "num_features": found.centred_means_KD.shape[1]}
        | measure_point(found)
        for (point, view), found in point_statistics(network, points, images).items()
    ]
    return pd.DataFrame(rows).sort_values(["view", "depth"], ignore_index=True)


@torch.no_grad()
def point_statistics(
    network: Network, points: Mapping[int, str], images: Images
) -> dict[Name, PointStatistics]:
    """Of the training set at every point in both views, in eval mode; of the test set NCC alone."""
    network.eval()
    train, test = images[:2], images[2:]
    first, num_classes = {}, network.head.out_features
    for name, rows_BD, labels_B in swept(network, points, *train):
        if name not in first:
            first[name] = first_sweep(rows_BD, num_classes)
        first[name].add(rows_BD, labels_B)
    second = {name: SecondSweep(sums) for name, sums in first.items()}
    for name, rows_BD, labels_B in swept(network, points, *train):
        second[name].add(rows_BD, labels_B)
    for name, rows_BD, labels_B in swept(network, points, *test):
        second[name].add_test(rows_BD, labels_B)
    values = {
        name: covariance_eigenvalues(sums)
        if sums.scatter_DD is not None
        else gram_eigenvalues(sampled(network, points, name, train[0]))
        for name, sums in first.items()
    }
    return {name: sums.statistics(values[name]) for name, sums in second.items()}


def swept(
    network: Network, points: Mapping[int, str], images: Tensor | FolderImages, labels: Tensor
) -> Iterator[tuple[Name, Tensor, Tensor]]:
    """One sweep: of every batch each point's features in each view (B x D, float64), and the labels."""
    for batch, labels_B in zip(images.split(BATCH), labels.split(BATCH), strict=True):
        for point, features in trunk_features(network, points, batch).items():
            for view, rows in ROWS.items():
                yield (point, view), rows(features), labels_B


def sampled(network: Network, points: Mapping[int, str], name: Name, images: Tensor | FolderImages) -> Tensor:
    """One point's features of MOST_GRAM_SAMPLES training images, always the same ones, in float32."""
    point, view = name
    alone = {place: known for place, known in points.items() if known == point}
    drawn = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:MOST_GRAM_SAMPLES]
    wanted = torch.zeros(len(images), dtype=torch.bool).index_fill_(0, drawn, True)
    rows = [
        ROWS[view](trunk_features(network, alone, batch[chosen])[point]).float()
        for batch, chosen in zip(images.split(BATCH), wanted.split(BATCH), strict=True)
        if chosen.any()
    ]
    return torch.cat(rows)
