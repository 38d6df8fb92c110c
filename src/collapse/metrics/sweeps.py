"""The sums that class statistics are made of, over features that come in chunks.

A chunk is (features_BD, labels_B), the features in float64 in memory that may be overwritten. Where the
chunks are cut changes the roundings and nothing else.

Shapes: B samples of a chunk, K classes, D feature dimensions, R = min(K - 1, D).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from collapse.metrics.scale import power_of_two

Chunks = Iterable[tuple[Tensor, Tensor]]
# Of the largest entry of the centred class means: its square is still a number that float64 holds.
SMALLEST, LARGEST = 1e-140, 1e150


class TooLarge(ValueError):
    """A sum is no longer finite: a value of the features is not, or all are too large."""


def chunks(
    features_ND: Tensor, labels_N: Tensor | None, chunk_size: int
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """The features in float64, chunk by chunk and each in the same memory, with their labels."""
    buffer_BD = torch.empty_like(features_ND[:chunk_size], dtype=torch.float64)
    for start in range(0, len(features_ND), chunk_size):
        rows = slice(start, start + chunk_size)
        chunk_BD = features_ND[rows]
        yield buffer_BD[: len(chunk_BD)].copy_(chunk_BD), None if labels_N is None else labels_N[rows]


def class_means(parts: Chunks, *, origin_D: Tensor, counts_K: Tensor) -> tuple[Tensor, Tensor]:
    """First sweep: the mean of the class means, and the class means centred by it.

    The sums run on features minus an origin near them, so that a common shift costs no digits. Raises
    TooLarge.
    """
    sums_KD = origin_D.new_zeros(len(counts_K), len(origin_D))
    for chunk_BD, labels_B in parts:
        sums_KD.index_add_(0, labels_B, chunk_BD.sub_(origin_D))
    return centred_means(sums_KD / counts_K[:, None], origin_D=origin_D)


def centred_means(means_KD: Tensor, *, origin_D: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of the class means, and these centred by it. Raises TooLarge.

    means_KD: less the origin.
    """
    if not torch.isfinite(means_KD).all():
        raise TooLarge("features: too large, their sums overflow; scale them down")
    centred_KD = means_KD - means_KD.mean(0)
    largest = centred_KD.abs().max()
    if largest > LARGEST:
        raise TooLarge("features: too large, their squares overflow; scale them down")
    if 0 < largest < SMALLEST:
        raise ValueError("features: too small, their squares vanish; scale them up")
    return origin_D + means_KD.mean(0), centred_KD


def basis_of(centred_KD: Tensor) -> Tensor:
    """u_r, the left singular directions of M, as R rows."""
    num_classes, num_features = centred_KD.shape
    rank = min(num_classes - 1, num_features)
    return torch.linalg.svd(centred_KD, full_matrices=False).Vh[:rank]


def scaled_layer(weight_KD: Tensor, bias_K: Tensor) -> tuple[Tensor, Tensor]:
    """W and b over one power of two: no decision and no cosine changes, and no square overflows."""
    largest = torch.stack([weight_KD.abs().max(), bias_K.abs().max()])
    scale = float(power_of_two(largest.cpu().numpy()))
    return weight_KD / scale, bias_K / scale


def residuals(parts: Chunks, means_KD: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """r_n = h_n - mu_k, chunk by chunk in the same memory, with ||h_n|| and the labels."""
    own_mean_BD = means_KD.new_empty(0, means_KD.shape[1])
    for chunk_BD, labels_B in parts:
        if len(chunk_BD) > len(own_mean_BD):
            own_mean_BD = torch.empty_like(chunk_BD)
        norms_B = torch.linalg.vector_norm(chunk_BD, dim=1)
        own_mean = torch.index_select(means_KD, 0, labels_B, out=own_mean_BD[: len(labels_B)])
        yield chunk_BD.sub_(own_mean), norms_B, labels_B


def training_sweep(
    parts: Chunks, *, last_layer: tuple[Tensor, Tensor], means: tuple[Tensor, Tensor], extended: bool
) -> dict[str, Tensor | float]:
    """Second sweep: the deviations from the class means, projected on the basis u_r and on W.

    h = r + mu_k, and the centred means lie in the span of the basis: so these projections give
    the logits and the nearest class mean too. extended: within_RR beside. Raises TooLarge.
    """
    weight_KD, bias_K = scaled_layer(*last_layer)
    global_mean_D, centred_KD = means
    num_classes = len(weight_KD)
    basis_RD = basis_of(centred_KD)
    rank = len(basis_RD)
    directions_SD = torch.cat([basis_RD, weight_KD])
    coordinates_KR = centred_KD @ basis_RD.T
    means_KD = global_mean_D + centred_KD
    logits_of_means_KK = weight_KD @ means_KD.T
    scores_of_means_KK = centred_KD @ centred_KD.T - half_squares(centred_KD)
    weight_norms_K = torch.linalg.vector_norm(weight_KD, dim=1)

    counts_K = centred_KD.new_zeros(num_classes, dtype=torch.int64)
    trace_K, variance_R = centred_KD.new_zeros(num_classes), centred_KD.new_zeros(rank)
    within_RR = centred_KD.new_zeros(rank, rank)
    cosine, mismatches, correct = centred_KD.new_zeros(3)
    for residual_BD, norms_B, labels_B in residuals(parts, means_KD):
        counts_K.index_add_(0, labels_B, torch.ones_like(labels_B))
        trace_K.index_add_(0, labels_B, torch.linalg.vector_norm(residual_BD, dim=1).square())
        projected_SB = directions_SD @ residual_BD.T  # on a CPU faster than residual @ directions
        residual_RB, products_KB = projected_SB.split([rank, num_classes])
        variance_R += residual_RB.square().sum(1)
        if extended:
            within_RR.addmm_(residual_RB, residual_RB.T)
        products_KB += logits_of_means_KK[:, labels_B]
        scores_KB = coordinates_KR @ residual_RB + scores_of_means_KK[:, labels_B]
        chosen_B = largest(products_KB + bias_K[:, None])
        mismatches += (chosen_B != largest(scores_KB)).sum()
        correct += (chosen_B == labels_B).sum()
        scale_B = norms_B * weight_norms_K[labels_B]
        own_product_B = products_KB.gather(0, labels_B[None])[0]
        cosine += torch.where(scale_B > 0, own_product_B / scale_B, 0.0).sum()
    if not torch.isfinite(trace_K).all():
        raise TooLarge("features: too large, their squares overflow; scale them down")
    num_samples = int(counts_K.sum())
    return {
        "within_trace_K": trace_K / counts_K,
        "within_variance_R": variance_R / num_samples,
        "cosine_train": cosine.item() / num_samples,
        "mismatch_train": mismatches.item() / num_samples,
        "accuracy_train": correct.item() / num_samples,
    } | ({"within_RR": within_RR / num_samples} if extended else {})


def largest(scores_KB: Tensor) -> Tensor:
    """The class of the largest score, the first of equals; several times faster than argmax."""
    return scores_KB.max(0).indices


def half_squares(centred_KD: Tensor) -> Tensor:
    """||mu_k||^2 / 2, a column: the nearest mean to h has the largest <mu_k, h> less this.

    With h and mu_k centred by mu_G the difference does not cancel, however large mu_G is.
    """
    return centred_KD.square().sum(1, keepdim=True) / 2


class TestDecisions:
    """Decisions on the test set, batch by batch: agreement without the bias (NC4), accuracy with it."""

    __test__ = False  # not one of pytest's

    def __init__(self, *, last_layer: tuple[Tensor, Tensor], means: tuple[Tensor, Tensor]) -> None:
        self.weight_KD, self.bias_K = scaled_layer(*last_layer)
        self.global_mean_D, self.centred_KD = means
        self.half_squares_K1 = half_squares(self.centred_KD)
        self.num_samples, self.num_labelled, self.agreed, self.correct = 0, 0, 0, 0

    def add(self, features_BD: Tensor, labels_B: Tensor | None) -> None:
        """Count a batch, in float64. Raises TooLarge."""
        scores_KB = self.centred_KD @ (features_BD - self.global_mean_D).T - self.half_squares_K1
        if not torch.isfinite(scores_KB).all():
            raise TooLarge("test_features: too large, their products overflow; scale them down")
        products_KB = self.weight_KD @ features_BD.T
        self.num_samples += len(features_BD)
        self.agreed += (largest(products_KB) == largest(scores_KB)).sum().item()
        if labels_B is not None:
            self.num_labelled += len(labels_B)
            self.correct += (largest(products_KB + self.bias_K[:, None]) == labels_B).sum().item()

    def result(self) -> dict[str, float]:
        """agreement_test and accuracy_test; NaN for what no batch told."""
        return {
            "agreement_test": self.agreed / self.num_samples if self.num_samples else float("nan"),
            "accuracy_test": self.correct / self.num_labelled if self.num_labelled else float("nan"),
        }
