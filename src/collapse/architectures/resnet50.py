"""ResNet50 as torchvision has it: 25.6 million parameters at width 1 with 1,000 classes, p = 2048.

Built of torchvision's blocks, in its order and with its initialisation, so that the same seed gives
the same weights; put together here because torchvision's own cannot be made narrower.
"""

from collections.abc import Iterator

from torch import nn

from collapse.architectures.batch_norm import BatchNorm2d
from collapse.architectures.network import Network, RequireImageSize, scaled_channels

SMALLEST_IMAGE_SIZE = 32  # five halvings
STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # channels within a block, blocks, first stride


def build(*, channels: int, num_classes: int, width: float, **_: int) -> Network:
    """ResNet50 for images of `channels` channels; see `Architecture.__call__`."""
    stem = scaled_channels(64, width=width)
    body = nn.Sequential(
        RequireImageSize(architecture="ResNet50", smallest=SMALLEST_IMAGE_SIZE),
        nn.Conv2d(channels, stem, kernel_size=7, stride=2, padding=3, bias=False),
        BatchNorm2d(stem),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
        *blocks(stem, width=width),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    network = Network(body=body, head=nn.Linear(scaled_channels(2048, width=width), num_classes))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network


def blocks(in_channels: int, *, width: float) -> Iterator[nn.Module]:
    """The sixteen bottleneck blocks; each gives four times the channels it has within."""
    from collapse.datasets.torchvision_import import torchvision  # takes a second, and only this needs it

    bottleneck = torchvision.models.resnet.Bottleneck
    for paper_channels, num_blocks, first_stride in STAGES:
        inner = scaled_channels(paper_channels, width=width)
        for stride in (first_stride, *(num_blocks - 1) * [1]):
            shortcut = None
            if in_channels != 4 * inner:
                shortcut = nn.Sequential(
                    nn.Conv2d(in_channels, 4 * inner, kernel_size=1, stride=stride, bias=False),
                    BatchNorm2d(4 * inner),
                )
            yield bottleneck(in_channels, inner, stride, shortcut, norm_layer=BatchNorm2d)
            in_channels = 4 * inner
