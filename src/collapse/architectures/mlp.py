"""The small MLP of figure 9: two hidden layers of 128 units (the paper gives no sizes)."""

from torch import nn

from collapse.architectures.network import Network, scaled_channels

SMALLEST_IMAGE_SIZE = 1


def build(*, channels: int, image_size: int, num_classes: int, width: float, **_: int) -> Network:
    """Flatten - Linear - ReLU - Linear - ReLU - Linear; see `Architecture.__call__`."""
    hidden = scaled_channels(128, width=width)
    body = nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * image_size**2, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
    )
    return Network(body=body, head=nn.Linear(hidden, num_classes))
