"""Networks of dense layers without biases under squared loss, in float64, and how balanced layers become.

Jacot et al. 2024 (arXiv 2410.04887): of two neighbouring layers, the lower one linear, the imbalance
D_l = W_{l+1}^T W_{l+1} - W_l W_l^T has a recursion of its own, on any data and any batch.

Shapes: N samples, K classes, n_l units of layer l; T_l is the gradient of W_l.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from collapse.metrics.layers import imbalance
from collapse.optimizers.layout import Layout, Piece
from collapse.theory.last_layer import Gradient


class DenseLayers(NamedTuple):
    """n_0 ... n_L, and after how many layers a ReLU follows: L_1. The others are linear."""

    units: tuple[int, ...]
    relu_layers: int

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Of W_1 ... W_L."""
        return list(zip(self.units[1:], self.units, strict=False))

    @property
    def linear_layers(self) -> int:
        """L_2."""
        return len(self.shapes) - self.relu_layers

    def split(self, flat: np.ndarray) -> list[np.ndarray]:
        """W_1 ... W_L of one vector, views."""
        ends = np.cumsum([math.prod(shape) for shape in self.shapes])
        return [
            part.reshape(shape) for part, shape in zip(np.split(flat, ends[:-1]), self.shapes, strict=True)
        ]

    def layout(self) -> Layout:
        """Where the matrices lie in the vector."""
        pieces, start = [], 0
        for shape in self.shapes:
            stop = start + math.prod(shape)
            pieces.append(Piece(start, stop, shape, is_head=len(pieces) + 1 == len(self.shapes)))
            start = stop
        return tuple(pieces)

    def start(self, *, seed: int) -> np.ndarray:
        """Normal entries, of variance 2 / n_{l-1} before a ReLU and 1 / n_{l-1} elsewhere."""
        rng = np.random.default_rng(seed)
        gains = [2.0] * self.relu_layers + [1.0] * self.linear_layers
        return np.concatenate(
            [
                (gain / shape[1]) ** 0.5 * rng.normal(size=math.prod(shape))
                for gain, shape in zip(gains, self.shapes, strict=True)
            ]
        )


def forward(weights: Sequence[np.ndarray], inputs_ND: np.ndarray, *, relu_layers: int) -> list[np.ndarray]:
    """h_0 ... h_L; h_0 are the inputs, h_L the logits."""
    features = [inputs_ND]
    for number, weight in enumerate(weights):
        outputs_ND = features[-1] @ weight.T
        features.append(np.maximum(outputs_ND, 0) if number < relu_layers else outputs_ND)
    return features


def loss_gradients(
    weights: Sequence[np.ndarray], inputs_ND: np.ndarray, targets_NK: np.ndarray, *, relu_layers: int
) -> list[np.ndarray]:
    """T_1 ... T_L of 1/(2N) ||Z_L - Y||_F^2."""
    features = forward(weights, inputs_ND, relu_layers=relu_layers)
    error_ND = (features[-1] - targets_NK) / len(inputs_ND)
    gradients = []
    for number in reversed(range(len(weights))):
        gradients.insert(0, error_ND.T @ features[number])
        error_ND = error_ND @ weights[number]
        if 0 < number <= relu_layers:
            error_ND = error_ND * (features[number] > 0)
    return gradients


def loss(
    weights: Sequence[np.ndarray], inputs_ND: np.ndarray, targets_NK: np.ndarray, *, relu_layers: int
) -> float:
    """1/(2N) ||Z_L - Y||_F^2: 1/2 where all weights are zero."""
    logits_NK = forward(weights, inputs_ND, relu_layers=relu_layers)[-1]
    return float(np.sum((logits_NK - targets_NK) ** 2) / (2 * len(inputs_ND)))


def gradient_of(layers: DenseLayers, batches: Callable[[], tuple[np.ndarray, np.ndarray]]) -> Gradient:
    """Of the vector of parameters, the gradient on what `batches` gives at every call: inputs and targets."""

    def gradient(flat: np.ndarray) -> np.ndarray:
        parts = loss_gradients(layers.split(flat), *batches(), relu_layers=layers.relu_layers)
        return np.concatenate([part.ravel() for part in parts])

    return gradient


def minibatches(
    inputs_ND: np.ndarray, targets_NK: np.ndarray, *, size: int, seed: int
) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    """A batch drawn without replacement at every call."""
    rng = np.random.default_rng(seed)

    def batch() -> tuple[np.ndarray, np.ndarray]:
        chosen = rng.choice(len(inputs_ND), size=size, replace=False)
        return inputs_ND[chosen], targets_NK[chosen]

    return batch


def tail_imbalances(weights: Sequence[np.ndarray], relu_layers: int) -> list[np.ndarray]:
    """D_l of neighbouring linear layers, l = L_1 + 1 ... L - 1: those that have the recursion."""
    tail = weights[relu_layers:]
    return [imbalance(upper, lower) for lower, upper in pairwise(tail)]


def next_imbalances(
    weights: Sequence[np.ndarray],
    gradients: Sequence[np.ndarray],
    relu_layers: int,
    *,
    learning_rate: float,
    weight_decay: float,
) -> Iterator[np.ndarray]:
    """(1 - eta lambda)^2 D_l + eta^2 (T_{l+1}^T T_{l+1} - T_l T_l^T): after W <- (1 - eta lambda) W - eta T.

    Exact: W_{l+1}^T T_{l+1} = T_l W_l^T, so the terms of first order in eta cancel.
    """
    before = tail_imbalances(weights, relu_layers)
    for D, noise in zip(before, tail_imbalances(gradients, relu_layers), strict=True):
        yield (1 - learning_rate * weight_decay) ** 2 * D + learning_rate**2 * noise
