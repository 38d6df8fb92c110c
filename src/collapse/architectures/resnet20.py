"""ResNet20 (He et al. 2016, for small images), then the dense layers of Jacot et al. 2024.

Three stages of three blocks with 16, 32 and 64 channels and a global average: 271,824 parameters at width 1.
A block that changes its shape has a 1x1 convolution for a shortcut.
"""

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn import functional

from collapse.architectures.batch_norm import BatchNorm2d
from collapse.architectures.dense_tail import DenseTail, dense_layer
from collapse.architectures.mlp_tail import HIDDEN
from collapse.architectures.network import Network, RequireImageSize, scaled_channels

SMALLEST_IMAGE_SIZE = 4  # two halvings
BLOCKS_A_STAGE = 3


class Block(nn.Module):
    """relu(branch(x) + shortcut(x)), the branch conv 3x3 - BatchNorm - ReLU - conv 3x3 - BatchNorm."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int):
        super().__init__()
        self.branch = nn.Sequential(
            *convolution(in_channels, out_channels, stride=stride),
            nn.ReLU(inplace=True),
            *convolution(out_channels, out_channels),
        )
        self.shortcut = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = nn.Sequential(
                *convolution(in_channels, out_channels, kernel_size=1, stride=stride)
            )

    def forward(self, images_NCHW: Tensor) -> Tensor:
        return functional.relu(self.branch(images_NCHW) + self.shortcut(images_NCHW))


def convolution(
    in_channels: int, out_channels: int, *, kernel_size: int = 3, stride: int = 1
) -> tuple[nn.Module, nn.Module]:
    """A convolution without a bias, entries normal with variance 2 / fan-out, and its BatchNorm."""
    layer = nn.Conv2d(
        in_channels, out_channels, kernel_size, stride=stride, padding=kernel_size // 2, bias=False
    )
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer, BatchNorm2d(out_channels)


def blocks(channels: tuple[int, ...]) -> Iterator[nn.Module]:
    """The nine blocks; the first of the second and of the third stage halves the image."""
    before = channels[0]
    for stage, its in enumerate(channels):
        for number in range(BLOCKS_A_STAGE):
            yield Block(before, its, stride=2 if stage and not number else 1)
            before = its


def build(
    *, channels: int, num_classes: int, width: float, relu_layers: int, linear_layers: int, **_: int
) -> Network:
    """ResNet20 - global average - the layers of MLPTail; see `Architecture.__call__`.

    Raises ValueError when 16 * width is not a whole number.
    """
    c64 = scaled_channels(64, width=width)
    if c64 % 4:
        raise ValueError(f"width {width}: 16 * width must be a whole number for ResNet20")
    form = {"relu_layers": relu_layers, "linear_layers": linear_layers}
    body = nn.Sequential(
        RequireImageSize(architecture="ResNet20", smallest=SMALLEST_IMAGE_SIZE),
        *convolution(channels, c64 // 4),
        nn.ReLU(inplace=True),
        *blocks((c64 // 4, c64 // 2, c64)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        DenseTail(c64, scaled_channels(HIDDEN, width=width), **form),
    )
    return Network(body=body, head=dense_layer(body[-1].out_features, num_classes, relu=False))
