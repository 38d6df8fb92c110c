"""Statistics of the dense layers at the end of a network: one sweep over the training set, in float64."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from collapse.architectures.dense_tail import DenseTail
from collapse.architectures.network import Network
from collapse.metrics.layers import LayerStatistics, imbalance
from collapse.training.images import Images

BATCH = 1000


def tail_of(network: Network) -> DenseTail | None:
    """The dense layers before the head; None where the network does not end in such a tail."""
    return next((module for module in network.body.modules() if isinstance(module, DenseTail)), None)


@torch.no_grad()
def layer_statistics(network: Network, images: Images) -> LayerStatistics:
    """What the metrics of the dense layers are made of, of all training images in eval mode.

    The body before the dense layers computes as in training, they themselves in float64. Raises ValueError
    for a network without such layers.
    """
    network.eval()
    tail = tail_of(network)
    if tail is None:
        raise ValueError("the network has no dense tail")
    weights = [layer.weight.double() for layer in (*tail.layers, network.head)]
    sums = LayerSums(weights, relu_layers=tail.relu_layers, num_classes=len(network.head.weight))
    for inputs_ND, labels_N in inputs_of_tail(network, tail, images):
        sums.add(inputs_ND, labels_N)
    return sums.result()


def inputs_of_tail(network: Network, tail: DenseTail, images: Images) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of what goes into the first dense layer (N, n_0), and their labels."""
    seen: list[Tensor] = []
    handle = tail.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        for batch, labels_N in zip(
            images.train_images.split(BATCH), images.train_labels.split(BATCH), strict=True
        ):
            network.features(batch)
            yield seen.pop().double(), labels_N
    finally:
        handle.remove()


class LayerSums:
    """Sums over samples for every layer 1 ... L, of its outputs Z_l and its features h_l."""

    def __init__(self, weights: list[Tensor], *, relu_layers: int, num_classes: int):
        self.weights, self.relu_layers = weights, relu_layers
        self.products = list(products_above(weights))
        self.inverse_KD = torch.linalg.pinv(weights[-1]).T
        new, K = weights[0].new_zeros, num_classes
        sizes = [len(weight) for weight in weights]
        self.counts_K = new(K)
        self.sums = [new(K, n) for n in sizes]
        self.squares_LK = new(len(sizes), K)
        self.cosines_L = new(len(sizes))
        self.grams = {name: [new(n, n) for n in sizes] for name in ("output", "negative", "feature")}
        self.error_KK, self.inverse_square = new(K, K), new(())

    def add(self, inputs_ND: Tensor, labels_N: Tensor) -> None:
        """Put a batch's samples through all layers. inputs_ND: float64."""
        one_hot_NK = torch.nn.functional.one_hot(labels_N, len(self.counts_K)).double()
        self.counts_K += one_hot_NK.sum(0)
        features_ND = inputs_ND
        for number, weight in enumerate(self.weights):
            if number == len(self.weights) - 1:
                self.inverse_square += (features_ND - self.inverse_of(labels_N)).square().sum()
            outputs_ND = features_ND @ weight.T
            features_ND = outputs_ND.relu() if number < self.relu_layers else outputs_ND
            self.sums[number] += one_hot_NK.T @ features_ND
            self.squares_LK[number] += one_hot_NK.T @ features_ND.square().sum(1)
            rows_ND = self.products[number][labels_N]
            self.cosines_L[number] += torch.cosine_similarity(features_ND, rows_ND, eps=1e-300).sum()
            negative_ND = outputs_ND.clamp(max=0)
            for name, its in (("output", outputs_ND), ("negative", negative_ND), ("feature", features_ND)):
                self.grams[name][number] += its.T @ its
        error_NK = features_ND - one_hot_NK
        self.error_KK += error_NK.T @ error_NK

    def inverse_of(self, labels_N: Tensor) -> Tensor:
        """The columns of W_L^+ of each sample's class (N, n_{L-1})."""
        return self.inverse_KD[labels_N]

    def result(self) -> LayerStatistics:
        """The statistics as NumPy arrays and numbers."""
        means = [total / self.counts_K[:, None] for total in self.sums]
        squares_LK = self.squares_LK / self.counts_K
        within_LK = torch.stack(
            [square - mean.square().sum(1) for square, mean in zip(squares_LK, means, strict=True)]
        )
        cosine_L = self.cosines_L / self.counts_K.sum()
        cosine_L[: max(self.relu_layers - 1, 0)] = torch.nan
        norms = {name: np.array([norm_of_gram(gram) for gram in grams]) for name, grams in self.grams.items()}
        weights = [weight.cpu().numpy() for weight in self.weights]
        return LayerStatistics(
            counts_K=self.counts_K.long().cpu().numpy(),
            relu_layers=self.relu_layers,
            means=tuple(mean.cpu().numpy() for mean in means),
            within_trace_LK=within_LK.clamp(min=0).cpu().numpy(),
            cosine_L=cosine_L.cpu().numpy(),
            output_norm_L=norms["output"],
            negative_norm_L=norms["negative"],
            feature_norm_L=norms["feature"],
            error=self.error_KK.trace().sqrt().item(),
            error_norm=norm_of_gram(self.error_KK),
            inverse_distance=self.inverse_square.sqrt().item() if len(weights) > 1 else np.nan,
            **of_weights(weights, relu_layers=self.relu_layers),
        )


def products_above(weights: list[Tensor]) -> Iterator[Tensor]:
    """W_L ... W_{l+1} (K x n_l) for l = 1 ... L; the identity for l = L."""
    product = torch.eye(len(weights[-1]), dtype=weights[-1].dtype, device=weights[-1].device)
    found = [product]
    for weight in reversed(weights[1:]):
        product = product @ weight
        found.append(product)
    yield from reversed(found)


def norm_of_gram(gram_DD: Tensor) -> float:
    """The largest singular value of X, of X^T X."""
    return torch.linalg.eigvalsh(gram_DD)[-1].clamp(min=0).sqrt().item()


def of_weights(weights: list[np.ndarray], *, relu_layers: int) -> dict[str, object]:
    """The statistics that need no sample."""
    num_layers = len(weights)
    imbalances = [imbalance(upper, lower) for lower, upper in pairwise(weights)]
    product = weights[-1]
    for weight in reversed(weights[relu_layers:-1]):
        product = product @ weight
    _, _, rows_KD = np.linalg.svd(weights[-1], full_matrices=False)
    beside = np.nan
    if num_layers > 1:
        beside = np.sum(weights[-2] ** 2) - np.sum((rows_KD @ weights[-2]) ** 2)
    return {
        "weight_norm_L": np.array([np.linalg.norm(weight, 2) for weight in weights]),
        "imbalance_norm_L": np.array([*(np.linalg.norm(its, 2) for its in imbalances), np.nan]),
        "head_values_K": np.linalg.svd(weights[-1], compute_uv=False),
        "product_values_K": np.linalg.svd(product, compute_uv=False),
        "beside_head": float(np.maximum(beside, 0)),
    }
