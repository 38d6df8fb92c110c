"""Class statistics of features that come once: batch by batch, or from a loader that cannot be repeated."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from collapse.metrics.checked_input import finite, require_counts
from collapse.metrics.class_statistics import (
    ClassStatistics,
    assembled,
    extended_fields,
    new_scatter,
    test_fields,
    test_sweep,
)
from collapse.metrics.scatter import ClassScatter
from collapse.metrics.sweeps import TestDecisions, basis_of, largest, scaled_layer
from collapse.own_models.errors import ModelError
from collapse.own_models.features import in_float64, sums_device

ONE_PASS = "one pass over the training set: NC4 of papyan, its nearest class means, is not measured"


def layer_in_float64(layer: nn.Linear) -> tuple[Tensor, Tensor]:
    """W and b of the layer, b zero where it has none. Raises ModelError where a value is not finite."""
    try:
        weight_KD = in_float64(finite(layer.weight, "weight of the last layer"))
        if layer.bias is None:
            return weight_KD, weight_KD.new_zeros(len(weight_KD))
        return weight_KD, in_float64(finite(layer.bias, "bias of the last layer"))
    except ValueError as error:
        raise ModelError(str(error)) from None


def feature_rows(features: Tensor, weight_KD: Tensor, *, name: str) -> Tensor:
    """A batch's features as a copy in float64, where the sums are made. Raises ModelError.

    name: of the loader or argument, for the message.
    """
    if features.ndim != 2 or features.shape[1] != weight_KD.shape[1]:
        shape = tuple(features.shape)
        raise ModelError(f"{name}: features are of shape {shape}; expected B x {weight_KD.shape[1]}")
    rows_BD = in_float64(features).to(sums_device(weight_KD))
    if not torch.isfinite(rows_BD).all():
        raise ModelError(f"{name}: features are not finite (NaN or infinity)")
    return rows_BD


def one_pass_fields(scatter: ClassScatter, means: tuple[Tensor, Tensor]) -> dict[str, Any]:
    """What the scatter gives of the fields that a second sweep would have."""
    within_RR = scatter.within(basis_of(means[1]))
    return {
        "within_trace_K": scatter.trace_K / scatter.counts_K,
        "within_variance_R": within_RR.diagonal(),
        "mismatch_train": float("nan"),
        "within_RR": within_RR,
        **extended_fields(scatter, means[1]),
    }


class OnePass:
    """Sums over batches that come once, with a p x p matrix. last_layer: W and b in float64."""

    def __init__(self, last_layer: tuple[Tensor, Tensor]) -> None:
        self.last_layer, self.num_classes = last_layer, len(last_layer[0])
        self.scatter: ClassScatter | None = None
        self.correct, self.cosines = 0, 0.0
        self.means: tuple[Tensor, Tensor] | None = None  # known where the test set begins

    def add(self, rows_BD: Tensor, labels_B: Tensor) -> None:
        """A batch of the training set. Raises ModelError after one of the test set."""
        if self.means is not None:
            raise ModelError("a training batch after a test batch: give all of the training set first")
        if self.scatter is None:
            self.scatter = ClassScatter(self.num_classes, rows_BD.mean(0), matrix=True)
        self.scatter.add(rows_BD, labels_B)
        weight_KD, bias_K = scaled_layer(*self.last_layer)
        products_KB = weight_KD @ rows_BD.T
        self.correct += (largest(products_KB + bias_K[:, None]) == labels_B).sum().item()
        lengths_K, lengths_B = (torch.linalg.vector_norm(each, dim=1) for each in (weight_KD, rows_BD))
        scale_B = lengths_B * lengths_K[labels_B]
        own_B = products_KB.gather(0, labels_B[None])[0]
        self.cosines += torch.where(scale_B > 0, own_B / scale_B, 0.0).sum().item()

    def add_test(self, rows_BD: Tensor, labels_B: Tensor | None) -> None:
        """A batch of the test set. Raises ModelError where the training set is not whole."""
        if self.means is None:
            self.means = self.train_means()
            self.decisions = TestDecisions(last_layer=self.last_layer, means=self.means)
            self.test_scatter = new_scatter(self.means)
        self.decisions.add(rows_BD, labels_B)
        if labels_B is not None:
            self.test_scatter.add(rows_BD, labels_B)

    def train_means(self) -> tuple[Tensor, Tensor]:
        """Of all training batches. Raises ModelError where there are too few samples of a class."""
        if self.scatter is None:
            raise ModelError("no batch of the training set was given")
        return means_of(self.scatter)

    def statistics(self, *, has_bias: bool) -> ClassStatistics:
        """Of all batches so far. Raises ModelError."""
        means = self.train_means()
        num_samples = int(self.scatter.counts_K.sum())
        found = one_pass_fields(self.scatter, means) | {
            "accuracy_train": self.correct / num_samples,
            "cosine_train": self.cosines / num_samples,
            **test_sweep([], last_layer=self.last_layer, means=means, scatter=None),
        }
        if self.means is not None:
            found |= self.decisions.result() | test_fields(self.test_scatter)
        counts_K = self.scatter.counts_K
        return assembled(found, last_layer=self.last_layer, means=means, counts_K=counts_K, has_bias=has_bias)


def means_of(scatter: ClassScatter) -> tuple[Tensor, Tensor]:
    """The mean of the class means and these about it. Raises ModelError where a class has too few samples."""
    try:
        require_counts(scatter.counts_K)
        return scatter.means()
    except ValueError as error:
        raise ModelError(str(error)) from None
