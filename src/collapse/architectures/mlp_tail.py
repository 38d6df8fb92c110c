"""The MLP of Jacot et al. 2024: ReLU layers, then linear ones up to the logits; 512 units and no biases."""

from torch import nn

from collapse.architectures.dense_tail import DenseTail, dense_layer
from collapse.architectures.network import Network, scaled_channels

SMALLEST_IMAGE_SIZE = 1
HIDDEN = 512  # the text tells no width


def build(
    *,
    channels: int,
    image_size: int,
    num_classes: int,
    width: float,
    relu_layers: int,
    linear_layers: int,
    **_: int,
) -> Network:
    """Flatten - relu_layers (Linear - ReLU) - linear_layers Linear; see `Architecture.__call__`.

    The head is the last of the linear layers.
    """
    hidden = scaled_channels(HIDDEN, width=width)
    form = {"relu_layers": relu_layers, "linear_layers": linear_layers}
    tail = DenseTail(channels * image_size**2, hidden, **form)
    head = dense_layer(tail.out_features, num_classes, relu=False)
    return Network(body=nn.Sequential(nn.Flatten(), tail), head=head)
