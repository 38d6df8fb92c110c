"""The paper's "VGG9", 9.23 million parameters and p = 512 at width 1: VGG-11's eight convolutions
with BatchNorm, and one linear layer (its released code).
"""

from torch import nn

from collapse.architectures.network import (
    GlobalMaxPool,
    Network,
    RequireImageSize,
    convolution_block,
    scaled_channels,
)

SMALLEST_IMAGE_SIZE = 16  # four poolings by 2 before the global one

# A convolution's channels, and whether the image is halved after it; the last pooling is the global one.
LAYERS = (
    (64, True), (128, True), (256, False), (256, True), (512, False), (512, True), (512, False), (512, False),
)  # fmt: skip


def build(*, channels: int, num_classes: int, width: float, **_: int) -> Network:
    """VGG9 for images of `channels` channels; see `Architecture.__call__`."""
    layers: list[nn.Module] = [RequireImageSize(architecture="VGG9", smallest=SMALLEST_IMAGE_SIZE)]
    in_channels = channels
    for paper_channels, pool in LAYERS:
        out_channels = scaled_channels(paper_channels, width=width)
        layers.append(convolution_block(in_channels, out_channels, pool=pool))
        in_channels = out_channels
    body = nn.Sequential(*layers, GlobalMaxPool(), nn.Flatten())
    return Network(body=body, head=nn.Linear(in_channels, num_classes))
