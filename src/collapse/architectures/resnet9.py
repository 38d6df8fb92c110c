"""The paper's ResNet9: 6.57 million parameters and p = 512 at width 1 (its released code).

c -> 64; 64 -> 128, pool; residual of two 128 -> 128; 128 -> 256, pool; 256 -> 512, pool; residual
of two 512 -> 512; pool over all that is left; Linear.
"""

from functools import partial

from torch import nn

from collapse.architectures.network import (
    GlobalMaxPool,
    Network,
    RequireImageSize,
    Residual,
    convolution_block,
    projection,
    scaled_channels,
)

SMALLEST_IMAGE_SIZE = 8  # three poolings by 2 before the global one


def build(
    *, channels: int, num_classes: int, width: float, feature_dimension: int | None = None, **_: int
) -> Network:
    """ResNet9 for images of `channels` channels; see `Architecture.__call__`.

    feature_dimension: the channels in which the last residual block ends, with a projection for its shortcut;
    None: as many as before it.
    """
    c64, c128, c256, c512 = map(partial(scaled_channels, width=width), (64, 128, 256, 512))
    # Modules are built in the order of the forward pass: with seed 3141 this order gives the
    # paper's NC0 at initialisation, 1.7538.
    body = nn.Sequential(
        RequireImageSize(architecture="ResNet9", smallest=SMALLEST_IMAGE_SIZE),
        convolution_block(channels, c64),
        convolution_block(c64, c128, pool=True),
        Residual(convolution_block(c128, c128), convolution_block(c128, c128)),
        convolution_block(c128, c256, pool=True),
        convolution_block(c256, c512, pool=True),
        Residual(
            convolution_block(c512, c512),
            convolution_block(c512, feature_dimension or c512),
            shortcut=None if feature_dimension is None else projection(c512, feature_dimension),
        ),
        GlobalMaxPool(),
        nn.Flatten(),
    )
    return Network(body=body, head=nn.Linear(feature_dimension or c512, num_classes))
