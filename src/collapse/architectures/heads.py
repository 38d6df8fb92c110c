"""Last layers that are not learned: the weights lie on a simplex equiangular tight frame from the start."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def simplex_etf(num_classes: int, num_features: int) -> Tensor:
    """sqrt(K/(K-1)) (I - J/K) [I_K 0] (K, p): rows of norm 1, cosine -1/(K-1) between any two.

    Raises ValueError where p < K.
    """
    if num_features < num_classes:
        raise ValueError(f"a fixed head of {num_classes} classes needs as many features, not {num_features}")
    K = num_classes
    frame_KK = (K / (K - 1)) ** 0.5 * (torch.eye(K) - torch.full((K, K), 1 / K))
    return torch.cat([frame_KK, torch.zeros(K, num_features - K)], dim=1)


class FixedHead(nn.Module):
    """logits = W h + b with W the simplex ETF, never trained nor decayed, and b trained (Zhu et al. 2021).

    W is a buffer: weight decay touches all parameters, a frozen one too.
    """

    def __init__(self, num_classes: int, num_features: int):
        super().__init__()
        self.in_features, self.out_features = num_features, num_classes
        self.register_buffer("weight", simplex_etf(num_classes, num_features))
        self.bias = nn.Parameter(torch.zeros(num_classes))

    def forward(self, features_NP: Tensor) -> Tensor:
        return functional.linear(features_NP, self.weight, self.bias)
