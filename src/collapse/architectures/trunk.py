"""The points of a network's trunk, between which one can ask where its classes collapse.

A point is the output of a child of the body. The inside of a residual branch is none: a branch can die (all
zero) while the trunk carries everything.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from collapse.architectures.network import Network, channels_last
from collapse.architectures.precision import body_autocast

HEAD_INPUT = "head input"
# By architecture, the child of the body after which a point lies, and its name; in the order of the network.
TRUNK_POINTS: dict[str, dict[int, str]] = {
    "ResNet9": {
        1: "block1",
        2: "block2",
        3: "residual1",  # after the sum
        4: "block3",
        5: "block4",
        6: "residual2",
        8: HEAD_INPUT,
    },
    "VGG9": {**{place: f"block{place}" for place in range(1, 9)}, 10: HEAD_INPUT},
}


def trunk_features(network: Network, points: Mapping[int, str], images_NCHW: Tensor) -> dict[str, Tensor]:
    """The features at the points, by name, from one forward pass that ends at the last of them.

    points: those of TRUNK_POINTS for the network's architecture, or some of them. (N, C, H, W) within the
    body, (N, p) at the head's input, in the precision in which the body computes.
    """
    found = {}
    with body_autocast(network.precision, images_NCHW.device.type):
        values = channels_last(images_NCHW)
        for place, child in enumerate(network.body):
            values = child(values)
            if place in points:
                found[points[place]] = values
            if place == max(points):
                return found
    raise ValueError(f"the body has {len(network.body)} children, no point {max(points)}")
