"""What every architecture is made of: the network with its head apart, and the shared blocks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from collapse.architectures.batch_norm import BatchNorm2d
from collapse.architectures.dense_tail import DenseTail
from collapse.architectures.precision import body_autocast

Body = Callable[[Tensor], Tensor]


class Network(nn.Module):
    """logits_NK = head(features(images_NCHW)): the features h_n are the input of the last linear layer.

    `body` maps images (N, C, H, W) to features (N, p); `head` is nn.Linear(p, K), its weight is the
    W (K, p) of the paper. `decay_vectors` says whether weight decay touches biases and the scales and
    shifts of normalisations too: in the paper everywhere but in the ViT; `decay_body` whether it touches the
    body. `precision` is that of the body, one of collapse.architectures.precision. A run's own precision, and
    whether its body decays, is set by collapse.architectures.initialisation.
    """

    def __init__(self, *, body: nn.Module, head: nn.Linear, decay_vectors: bool = True):
        super().__init__()
        self.body = body
        self.head = head
        self.decay_vectors = decay_vectors
        self.decay_body = True
        self.precision = "float32"

    @property
    def tail(self) -> DenseTail | None:
        """The dense layers before the head where the body ends in some without biases, as MLPTail's does."""
        last = [None, *self.body.children()][-1]
        return last if isinstance(last, DenseTail) else None

    def features(self, images_NCHW: Tensor, *, body: Body | None = None) -> Tensor:
        """h_n (N, p), whatever the precision of the body in that of the head's weights.

        body: what computes the body's features in its place.
        """
        with body_autocast(self.precision, images_NCHW.device.type):
            features_NP = (body or self.body)(channels_last(images_NCHW))
        return features_NP.to(self.head.weight.dtype)

    def forward(self, images_NCHW: Tensor, *, body: Body | None = None) -> Tensor:
        return self.head(self.features(images_NCHW, body=body))


def channels_last(images_NCHW: Tensor) -> Tensor:
    """The same images, a pixel's channels beside each other in memory: convolutions then compute so.

    Where there is one channel, its images are so already, but only strides written like this say it.
    """
    N, C, H, W = images_NCHW.shape
    return images_NCHW.permute(0, 2, 3, 1).flatten().view(N, H, W, C).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Architecture:
    """An entry of the registry; calling it builds the network.

    `smallest_image_size` is in pixels a side; a smaller image raises ValueError in the body.
    """

    label: str
    build: Callable[..., Network]
    smallest_image_size: int

    def __call__(
        self, *, channels: int, image_size: int, num_classes: int, train_size: int, width: float, **form: Any
    ) -> Network:
        """A new network, initialised from torch's global generator.

        channels, image_size: of the images. num_classes: K. train_size: N, of which the unconstrained
        features have one vector each. width: factor on every number of channels, 1.0 as in the paper.
        form: what some architectures can have beside (collapse.study.settings.HAVE), given where it is not as
        usual. A `build` takes what it needs of these. Raises ValueError when 64 * width is not a whole
        number of at least 1.
        """
        return self.build(
            channels=channels,
            image_size=image_size,
            num_classes=num_classes,
            train_size=train_size,
            width=width,
            **form,
        )


def scaled_channels(paper_channels: int, *, width: float) -> int:
    """paper_channels * width, for the paper's channel counts, all multiples of 64.

    Raises ValueError when 64 * width is not a whole number of at least 1.
    """
    unit = 64 * width
    if not (unit >= 1 and unit % 1 == 0):  # so written, it also refuses NaN
        raise ValueError(f"width {width}: 64 * width must be a whole number of at least 1")
    return paper_channels // 64 * int(unit)


def convolution_block(in_channels: int, out_channels: int, *, pool: bool = False) -> nn.Sequential:
    """conv 3x3 (bias, padding 1) - BatchNorm - ReLU: image size unchanged; `pool` halves it at the end.

    The max-pool stands before the ReLU: the same numbers and gradients, bit for bit, and the ReLU has a
    quarter of the pixels.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1),
        BatchNorm2d(out_channels),
        *([nn.MaxPool2d(2)] if pool else []),
        nn.ReLU(inplace=True),
    )


def projection(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Sequential:
    """A shortcut where channels or image size change: conv 1x1 without bias - BatchNorm."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False),
        BatchNorm2d(out_channels),
    )


class Residual(nn.Module):
    """x + blocks(x); `blocks` ends in a ReLU, so the sum comes after it.

    shortcut: what takes the place of x where `blocks` ends in another number of channels.
    """

    def __init__(self, *blocks: nn.Module, shortcut: nn.Module | None = None):
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.shortcut = shortcut

    def forward(self, images_NCHW: Tensor) -> Tensor:
        straight = images_NCHW if self.shortcut is None else self.shortcut(images_NCHW)
        return straight + self.blocks(images_NCHW)


class GlobalMaxPool(nn.Module):
    """The maximum over whatever image is left: (N, C, H, W) -> (N, C, 1, 1).

    At 32x32 this is the paper's last max-pool (4 in ResNet9, 2 in VGG9); smaller images leave less
    than its window. Not AdaptiveMaxPool2d(1): its CUDA gradient has no deterministic version.
    """

    def forward(self, images_NCHW: Tensor) -> Tensor:
        return functional.max_pool2d(images_NCHW, kernel_size=images_NCHW.shape[-2:])


class RequireImageSize(nn.Module):
    """The identity; ValueError on images too small, before a pooling fails obscurely."""

    def __init__(self, *, architecture: str, smallest: int):
        super().__init__()
        self.architecture = architecture
        self.smallest = smallest

    def forward(self, images_NCHW: Tensor) -> Tensor:
        height, width = images_NCHW.shape[-2:]
        if min(height, width) < self.smallest:
            raise ValueError(
                f"{self.architecture} needs images of at least {self.smallest}x{self.smallest} "
                f"pixels, got {height}x{width}"
            )
        return images_NCHW
