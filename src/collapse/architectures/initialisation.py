"""The network of a run before its first step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from collapse.architectures import ARCHITECTURES, Network
from collapse.architectures.heads import FixedHead
from collapse.datasets import DATASETS


def initial_network(run: Mapping[str, Any]) -> Network:
    """The network of a row of the run table, on the CPU, as the run's seed initialises it.

    The global random generator is left as it was found. A fixed head takes the place of the learned one after
    it was drawn, so the body is the same in both cases.
    """
    dataset = DATASETS[run["dataset"]]
    form = {name: run[name] for name in ("stem", "relu_layers", "linear_layers") if run.get(name) is not None}
    if run.get("feature_dimension") == "K":
        form["feature_dimension"] = dataset.num_classes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run["seed"])
        network = ARCHITECTURES[run["architecture"]](
            channels=dataset.channels,
            image_size=run["image_size"],
            num_classes=dataset.num_classes,
            train_size=run["train_size"],
            width=run["width"],
            **form,
        )
    if run.get("head") == "fixed_etf":
        network.head = FixedHead(dataset.num_classes, network.head.in_features)
    network.decay_body = run.get("feature_decay") is None
    network.precision = run["precision"]
    # As in training: of images of one pixel the layout of the weights decides how a convolution computes.
    return network.to(memory_format=torch.channels_last)
