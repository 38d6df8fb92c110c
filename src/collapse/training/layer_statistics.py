"""Statistics of the dense layers at the end of a network, of all training images."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from collapse.architectures.network import Network, channels_last
from collapse.architectures.precision import body_autocast
from collapse.metrics import layer_sweep
from collapse.metrics.layers import LayerStatistics
from collapse.training.images import Images

BATCH = 1000


def layer_statistics(network: Network, images: Images) -> LayerStatistics:
    """What the metrics of the dense layers are made of, from one sweep in eval mode.

    The body before the dense layers computes as in training, they themselves in float64. Raises ValueError
    for a network without such layers.
    """
    network.eval()
    if (tail := network.tail) is None:
        raise ValueError("the network has no dense tail")
    return layer_sweep.layer_statistics(
        [layer.weight.detach() for layer in (*tail.layers, network.head)],
        inputs_of_tail(network, images),
        relu_layers=tail.relu_layers,
        num_classes=network.head.out_features,
    )


@torch.no_grad()
def inputs_of_tail(network: Network, images: Images) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of what goes into the first dense layer (B x n_0, float64), and their labels."""
    front, labels_N = network.body[:-1], images.train_labels
    for batch, labels_B in zip(images.train_images.split(BATCH), labels_N.split(BATCH), strict=True):
        with body_autocast(network.precision, labels_N.device.type):
            values = front(channels_last(batch))
        yield values.double(), labels_B
