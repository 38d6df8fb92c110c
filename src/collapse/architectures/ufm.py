"""The unconstrained feature model (Mixon et al. 2022; paper, appendix C.5): logits = W h_n.

Features are trained themselves, one vector h_n a sample. Its dataset `Indices` has for images the
numbers of the samples.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from collapse.architectures.network import Network, scaled_channels

SMALLEST_IMAGE_SIZE = 1


class Features(nn.Module):
    """The sample numbers of the dataset `Indices`, (N, 2, 1, 1) -> their features (N, p)."""

    def __init__(self, num_samples: int, num_features: int):
        super().__init__()
        self.features = nn.Parameter(torch.randn(num_samples, num_features) / num_features**0.5)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        low_N, high_N = images_NCHW.flatten(1).round().long().unbind(1)
        return functional.embedding(low_N + 256 * high_N, self.features)


def build(*, num_classes: int, train_size: int, width: float, **_: int) -> Network:
    """p = 512 * width features, entries normal with variance 1 / p; W without a bias, as in the theorems."""
    num_features = scaled_channels(512, width=width)
    body = Features(train_size, num_features)
    return Network(body=body, head=nn.Linear(num_features, num_classes, bias=False))
