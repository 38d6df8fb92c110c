"""The unconstrained feature model with features that are trained, in float64: one vector of parameters.

The last layer W (K x D) and then the features H (D x N), N / K of them a class; cross-entropy, mean over the
samples. H is no layer's weight: directions for matrices give it Adam's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from collapse.optimizers.layout import Layout, Piece
from collapse.theory.last_layer import Gradient, softmax_error


class Size(NamedTuple):
    """K, D and N / K."""

    num_classes: int
    num_features: int
    samples_per_class: int

    def labels(self) -> np.ndarray:
        """N of them, class by class."""
        return np.arange(self.num_classes).repeat(self.samples_per_class)

    def layout(self) -> Layout:
        """Where the last layer lies in the vector."""
        shape = self.num_classes, self.num_features
        return (Piece(0, shape[0] * shape[1], shape, is_head=True),)

    def split(self, flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """W (K x D) and H (D x N) of the vector, views; of each vector where there are more axes in front."""
        stop, more = self.num_classes * self.num_features, flat.shape[:-1]
        of_weight, of_features = flat[..., :stop], flat[..., stop:]
        return of_weight.reshape(*more, self.num_classes, -1), of_features.reshape(
            *more, self.num_features, -1
        )


def random_start(size: Size, *, seed: int) -> np.ndarray:
    """Normal features of variance one, normal weights of variance 1 / D."""
    rng = np.random.default_rng(seed)
    weight_KD = rng.normal(size=(size.num_classes, size.num_features)) / size.num_features**0.5
    features_DN = rng.normal(size=(size.num_features, size.num_classes * size.samples_per_class))
    return np.concatenate([weight_KD.ravel(), features_DN.ravel()])


def gradient_of(size: Size) -> Gradient:
    """Of the vector of parameters, the gradient of the mean loss."""
    labels_N = size.labels()

    def gradient(flat: np.ndarray) -> np.ndarray:
        weight_KD, features_DN = size.split(flat)
        error_KN = softmax_error(weight_KD @ features_DN, labels_N) / len(labels_N)
        return np.concatenate([(error_KN @ features_DN.T).ravel(), (weight_KD.T @ error_KN).ravel()])

    return gradient


def loss(flat: np.ndarray, size: Size) -> float:
    """The mean cross-entropy."""
    weight_KD, features_DN = size.split(flat)
    return cross_entropy(weight_KD @ features_DN, size.labels())


def cross_entropy(logits_KN: np.ndarray, labels_N: np.ndarray) -> float:
    """Mean over the samples of log sum_k exp(z_k - z_y)."""
    logits_KN = logits_KN - logits_KN.max(axis=0)
    own_N = logits_KN[labels_N, np.arange(len(labels_N))]
    return float(np.mean(np.log(np.exp(logits_KN).sum(axis=0)) - own_N))
