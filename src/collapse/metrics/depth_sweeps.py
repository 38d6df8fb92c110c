"""The statistics of features inside a network, in two sweeps over them.

The first sweep is a ClassScatter: counts, class means and the traces of the scatter about them. The second
projects the features on the K - 1 directions that the centred means can span, to which the nearest class
mean and NC1 belong. N x D features are never held.

Shapes: N samples, B of a batch, K classes, D feature dimensions, R = min(K - 1, D).
"""

from __future__ import annotations

import torch
from torch import Tensor

from collapse.metrics.depth import PointStatistics
from collapse.metrics.scale import MOST_SCATTERED
from collapse.metrics.scatter import ClassScatter
from collapse.metrics.sweeps import basis_of, half_squares, largest

# Where D x D is too large, the eigenvalues are those of so many samples' Gram matrix, at most.
MOST_GRAM_SAMPLES = 5000
COLUMNS_AT_ONCE = 4096  # of these samples' features in float64


def first_sweep(features_BD: Tensor, num_classes: int) -> ClassScatter:
    """Empty sums for the first sweep, about an origin near the features of its first batch (float64)."""
    return ClassScatter(num_classes, features_BD.mean(0), matrix=features_BD.shape[1] <= MOST_SCATTERED)


class SecondSweep:
    """Sums over the same batches again, projected on the directions of the centred class means.

    The nearest class mean depends on the projection alone: what is orthogonal to the differences of the
    means is equally far from each of them.
    """

    def __init__(self, first: ClassScatter) -> None:
        self.first = first
        self.global_mean_D, self.centred_KD = first.means()
        self.basis_RD = basis_of(self.centred_KD)
        self.means_KR = self.centred_KD @ self.basis_RD.T
        self.scatter = ClassScatter(
            len(self.means_KR), self.means_KR.new_zeros(len(self.basis_RD)), matrix=True
        )
        self.correct = {"train": 0, "test": 0}
        self.samples = {"train": 0, "test": 0}

    def add(self, features_BD: Tensor, labels_B: Tensor) -> None:
        """A batch of the training set, float64."""
        self.scatter.add(self.decided("train", features_BD, labels_B), labels_B)

    def add_test(self, features_BD: Tensor, labels_B: Tensor) -> None:
        """A batch of the test set, float64."""
        self.decided("test", features_BD, labels_B)

    def decided(self, part: str, features_BD: Tensor, labels_B: Tensor) -> Tensor:
        """The projected features, B x R, of which the right decisions have been counted."""
        projected_BR = (features_BD - self.global_mean_D) @ self.basis_RD.T
        scores_KB = self.means_KR @ projected_BR.T - half_squares(self.means_KR)
        self.correct[part] += (largest(scores_KB) == labels_B).sum().item()
        self.samples[part] += len(labels_B)
        return projected_BR

    def statistics(self, eigenvalues_E: Tensor) -> PointStatistics:
        """All that both sweeps have found. eigenvalues_E: of the covariance, descending."""
        shares = {
            part: self.correct[part] / samples if samples else float("nan")
            for part, samples in self.samples.items()
        }
        within_RR = self.scatter.scatter_DD / self.scatter.counts_K.sum()
        return PointStatistics(
            counts_K=self.first.counts_K.cpu().numpy(),
            centred_means_KD=self.centred_KD.cpu().numpy(),
            within_trace_K=(self.first.trace_K / self.first.counts_K).cpu().numpy(),
            within_variance_R=within_RR.diagonal().cpu().numpy(),
            eigenvalues_E=eigenvalues_E.cpu().numpy(),
            ncc_train=shares["train"],
            ncc_test=shares["test"],
        )


def covariance_eigenvalues(first: ClassScatter) -> Tensor:
    """Those of the covariance of all samples about their mean, D of them, descending."""
    return torch.linalg.eigvalsh(first.total()).flip(0).clamp(min=0)


def gram_eigenvalues(features_ND: Tensor) -> Tensor:
    """The N that can differ from zero, of samples fewer than D: from their N x N Gram matrix, descending."""
    gram_NN = features_ND.new_zeros(len(features_ND), len(features_ND), dtype=torch.float64)
    for part in features_ND.split(COLUMNS_AT_ONCE, dim=1):
        centred = part.double() - part.double().mean(0)
        gram_NN.addmm_(centred, centred.T)
    return torch.linalg.eigvalsh(gram_NN / len(features_ND)).flip(0).clamp(min=0)
