"""ResNet50 as torchvision has it: 25.6 million parameters at width 1 with 1,000 classes, p = 2048.

Of torchvision's blocks, so that the same seed gives the same weights.
"""

from functools import partial

from collapse.architectures.torchvision_blocks import Stage, residual_network

SMALLEST_IMAGE_SIZE = 32  # five halvings

build = partial(
    residual_network,
    architecture="ResNet50",
    block="Bottleneck",
    stages=(Stage(64, 3, 1), Stage(128, 4, 2), Stage(256, 6, 2), Stage(512, 3, 2)),
    smallest=SMALLEST_IMAGE_SIZE,
)
