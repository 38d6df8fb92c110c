"""ResNet50 as torchvision has it: 25.6 million parameters at width 1 with 1,000 classes, p = 2048.

Of torchvision's blocks, so that the same seed gives the same weights.
"""

from collapse.architectures.network import Network
from collapse.architectures.torchvision_blocks import Stage, residual_network

SMALLEST_IMAGE_SIZE = 32  # five halvings
STAGES = (Stage(64, 3, 1), Stage(128, 4, 2), Stage(256, 6, 2), Stage(512, 3, 2))


def build(
    *,
    channels: int,
    num_classes: int,
    width: float,
    stem: str | None = None,
    feature_dimension: int | None = None,
    **_: int,
) -> Network:
    """ResNet50 for images of `channels` channels; see `Architecture.__call__` and `residual_network`."""
    from collapse.datasets.torchvision_import import torchvision  # takes a second, and only this needs it

    return residual_network(
        "ResNet50", torchvision.models.resnet.Bottleneck, STAGES, smallest=SMALLEST_IMAGE_SIZE,
        channels=channels, num_classes=num_classes, width=width, stem=stem,
        feature_dimension=feature_dimension,
    )  # fmt: skip
