"""What ResNet18 and ResNet50 are made of: torchvision's blocks, in its order and with its initialisation.

Put together here because torchvision's own networks can neither be made narrower nor end in K channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import nn

from collapse.architectures.batch_norm import BatchNorm2d
from collapse.architectures.network import Network, RequireImageSize, projection, scaled_channels


class Stage(NamedTuple):
    """Channels within a block, how many blocks, and the stride of the first."""

    channels: int
    blocks: int
    stride: int


def residual_network(
    *,
    architecture: str,
    block: str,
    stages: Sequence[Stage],
    smallest: int,
    channels: int,
    num_classes: int,
    width: float,
    stem: str | None = None,
    feature_dimension: int | None = None,
    **_: int,
) -> Network:
    """A network of torchvision's blocks, global average and a linear layer; see `Architecture.__call__`.

    block: torchvision's name. smallest: images in pixels a side. stem: None, seven pixels with stride 2 and a
    max-pool, or "cifar", three pixels without either. feature_dimension: the channels in which the last block
    ends, None: the block's own (`narrowed`).
    """
    from collapse.datasets.torchvision_import import torchvision  # takes a second, and only this needs it

    kind = getattr(torchvision.models.resnet, block)
    first = scaled_channels(64, width=width)
    blocks = list(residual_blocks(kind, stages, in_channels=first, width=width))
    num_features = scaled_channels(stages[-1].channels, width=width) * kind.expansion
    if feature_dimension is not None:
        blocks[-1] = narrowed(blocks[-1], num_features, feature_dimension)
        num_features = feature_dimension
    body = nn.Sequential(
        RequireImageSize(architecture=architecture, smallest=smallest),
        *stem_layers(channels, first, stem),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    network = Network(body=body, head=nn.Linear(num_features, num_classes))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network


def stem_layers(in_channels: int, out_channels: int, stem: str | None) -> list[nn.Module]:
    """The first convolution; see `residual_network`. Raises ValueError for an unknown stem."""
    if stem not in (None, "cifar"):
        raise ValueError(f"stem {stem!r}: None or 'cifar'")
    size = {"kernel_size": 3, "padding": 1} if stem else {"kernel_size": 7, "stride": 2, "padding": 3}
    layers = [
        nn.Conv2d(in_channels, out_channels, **size, bias=False),
        BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    ]
    return layers if stem else [*layers, nn.MaxPool2d(kernel_size=3, stride=2, padding=1)]


def residual_blocks(
    block: type[nn.Module], stages: Sequence[Stage], *, in_channels: int, width: float
) -> Iterator[nn.Module]:
    """All blocks in order; each ends in `block.expansion` times the channels within."""
    for paper_channels, num_blocks, first_stride in stages:
        inner = scaled_channels(paper_channels, width=width)
        out_channels = block.expansion * inner
        for stride in (first_stride, *(num_blocks - 1) * [1]):
            shortcut = None
            if stride != 1 or in_channels != out_channels:
                shortcut = projection(in_channels, out_channels, stride=stride)
            yield block(in_channels, inner, stride, shortcut, norm_layer=BatchNorm2d)
            in_channels = out_channels


def narrowed(block: nn.Module, in_channels: int, out_channels: int) -> nn.Module:
    """A block whose last convolution and shortcut end in fewer channels (Zhu et al. 2021, section 4.3).

    in_channels: of the block, as many as it had at its end.
    """
    last = 3 if hasattr(block, "conv3") else 2
    before = getattr(block, f"conv{last}")
    size = {"kernel_size": before.kernel_size, "padding": before.padding, "bias": False}
    setattr(block, f"conv{last}", nn.Conv2d(before.in_channels, out_channels, **size))
    setattr(block, f"bn{last}", BatchNorm2d(out_channels))
    block.downsample = projection(in_channels, out_channels)
    return block
