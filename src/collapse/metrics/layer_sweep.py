"""The statistics of every dense layer from one sweep over the samples, in float64 (collapse.metrics.layers).

Shapes: B samples of a batch, K classes, D units of a layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.linalg import eigvalsh, vector_norm
from torch.nn import functional

from collapse.metrics.layers import LayerStatistics, imbalance
from collapse.metrics.neural_collapse import rounded_singular_values
from collapse.metrics.scatter import ClassScatter


@torch.no_grad()
def layer_statistics(
    weights: Sequence[Tensor],
    batches: Iterable[tuple[Tensor, Tensor]],
    *,
    relu_layers: int,
    num_classes: int,
) -> LayerStatistics:
    """Of the layers W_1 ... W_L, of which a ReLU follows the first `relu_layers`; float64 throughout.

    weights: n_l x n_{l-1} each, the last K x n_{L-1}. batches: inputs of the first layer (B x n_0, float64)
    and labels (B), every class among them.
    """
    weights = [weight.double() for weight in weights]
    sweep = _Sweep(weights, relu_layers=relu_layers, num_classes=num_classes)
    for inputs_BD, labels_B in batches:
        sweep.add(inputs_BD, labels_B)
    return LayerStatistics(
        relu_layers=relu_layers,
        **sweep.found(),
        **of_weights([w.cpu().numpy() for w in weights], relu_layers),
    )


class _Sweep:
    """Sums over the samples: class scatter, cosines, and the Gram matrices whose roots are norms."""

    def __init__(self, weights: Sequence[Tensor], *, relu_layers: int, num_classes: int) -> None:
        self.weights, self.relu_layers = weights, relu_layers
        self.followers = followers(weights, relu_layers)
        self.inverse_KD = torch.linalg.pinv(weights[-1]).T
        self.scatters = [ClassScatter(num_classes, w.new_zeros(len(w)), matrix=False) for w in weights]
        square = [w.new_zeros(len(w), len(w)) for w in weights]
        self.outputs, self.negatives, self.features = ([g.clone() for g in square] for _ in range(3))
        self.errors_KK = square[-1].clone()
        self.cosine_L, self.distance = weights[0].new_zeros(len(weights)), weights[0].new_zeros(())

    def add(self, inputs_BD: Tensor, labels_B: Tensor) -> None:
        """A batch."""
        values_BD = inputs_BD
        for number, weight in enumerate(self.weights):
            outputs_BD = values_BD @ weight.T
            negative_BD = outputs_BD.clamp(max=0)
            values_BD = outputs_BD.clamp(min=0) if number < self.relu_layers else outputs_BD
            self.scatters[number].add(values_BD, labels_B)
            for grams, rows in (
                (self.outputs, outputs_BD),
                (self.negatives, negative_BD),
                (self.features, values_BD),
            ):
                grams[number].addmm_(rows.T, rows)
            if (rows_KD := self.followers[number]) is not None:
                self.cosine_L[number] += cosines(values_BD, rows_KD[labels_B]).sum()
            if number == len(self.weights) - 2:
                self.distance += (values_BD - self.inverse_KD[labels_B]).square().sum()
        errors_BK = values_BD - functional.one_hot(labels_B, values_BD.shape[1])
        self.errors_KK.addmm_(errors_BK.T, errors_BK)

    def found(self) -> dict[str, object]:
        """The fields of LayerStatistics that tell of the samples."""
        counts_K = self.scatters[0].counts_K
        cosine_L = self.cosine_L / counts_K.sum()
        known = torch.tensor([rows_KD is not None for rows_KD in self.followers])
        return {
            "counts_K": counts_K.cpu().numpy(),
            "means": tuple(scatter.means_KD.cpu().numpy() for scatter in self.scatters),
            "within_trace_LK": np.stack([(s.trace_K / s.counts_K).cpu().numpy() for s in self.scatters]),
            "cosine_L": torch.where(known, cosine_L.cpu(), np.nan).numpy(),
            "output_norm_L": roots(self.outputs),
            "negative_norm_L": roots(self.negatives),
            "feature_norm_L": roots(self.features),
            "error": float(self.errors_KK.trace().sqrt()),
            "error_norm": float(roots([self.errors_KK])[0]),
            "inverse_distance": float(self.distance.sqrt()) if len(self.weights) > 1 else np.nan,
        }


def followers(weights: Sequence[Tensor], relu_layers: int) -> list[Tensor | None]:
    """By layer l the product W_L ... W_{l+1} (K x n_l), of the last one I; None before layer L_1."""
    rows_KD = torch.eye(len(weights[-1]), dtype=weights[-1].dtype, device=weights[-1].device)
    products: list[Tensor | None] = [None] * len(weights)
    for number in range(len(weights) - 1, max(relu_layers - 2, -1), -1):
        products[number] = rows_KD
        rows_KD = rows_KD @ weights[number]
    return products


def cosines(rows_BD: Tensor, others_BD: Tensor) -> Tensor:
    """Of every row and its counterpart; 0 where one of them is zero."""
    size_B = vector_norm(rows_BD, dim=1) * vector_norm(others_BD, dim=1)
    return torch.where(size_B > 0, (rows_BD * others_BD).sum(1) / size_B, 0.0)


def roots(grams: Sequence[Tensor]) -> np.ndarray:
    """||X|| of X with these Gram matrices X^T X."""
    return np.array([eigvalsh(gram)[-1].clamp(min=0).sqrt().item() for gram in grams])


def of_weights(weights: Sequence[np.ndarray], relu_layers: int) -> dict[str, object]:
    """The fields of LayerStatistics that the weights alone tell."""
    pairs = zip(weights[1:], weights, strict=False)
    imbalances = [np.abs(np.linalg.eigvalsh(imbalance(*pair))).max() for pair in pairs]
    tail = weights[relu_layers:]
    return {
        "weight_norm_L": np.array([np.linalg.norm(weight, 2) for weight in weights]),
        "imbalance_norm_L": np.array([*imbalances, np.nan]),
        "head_values_K": rounded_singular_values(weights[-1]),
        "product_values_K": rounded_singular_values(np.linalg.multi_dot(tail[::-1]) if tail[1:] else tail[0]),
        "beside_head": beside_rows(weights[-1], weights[-2]) if len(weights) > 1 else np.nan,
    }


def beside_rows(head_KD: np.ndarray, before_DP: np.ndarray) -> float:
    """tr (I - P) W W^T of the layer before the head, P the projection on the head's rows."""
    rank = np.count_nonzero(rounded_singular_values(head_KD))
    rows_RD = np.linalg.svd(head_KD, full_matrices=False).Vh[:rank]
    return float(np.sum((before_DP - rows_RD.T @ (rows_RD @ before_DP)) ** 2))
