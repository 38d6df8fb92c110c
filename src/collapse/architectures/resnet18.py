"""ResNet18 as torchvision has it: 11.2 million parameters at width 1 with 10 classes, p = 512.

Of torchvision's blocks, so that the same seed gives the same weights.
"""

from functools import partial

from collapse.architectures.torchvision_blocks import Stage, residual_network

SMALLEST_IMAGE_SIZE = 32  # five halvings

build = partial(
    residual_network,
    architecture="ResNet18",
    block="BasicBlock",
    stages=(Stage(64, 2, 1), Stage(128, 2, 2), Stage(256, 2, 2), Stage(512, 2, 2)),
    smallest=SMALLEST_IMAGE_SIZE,
)
