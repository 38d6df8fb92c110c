"""Class means and within-class scatter in one pass: a p x p matrix, for what cannot be looked at twice."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from collapse.metrics.sweeps import centred_means


class ClassScatter:
    """Counts, means and scatter of features that come once, in batches, in float64.

    A batch's scatter about its own class means is added, and how far these lie from the means so far (Chan,
    Golub and LeVeque, 1983): a sum of positive terms, in which nothing cancels however small the scatter is.

    matrix: whether the p x p matrix is kept, or the counts and means alone.

    Shapes: B samples of a batch, K classes, P classes that are in it, D feature dimensions.
    """

    def __init__(self, num_classes: int, origin_D: Tensor, *, matrix: bool) -> None:
        self.origin_D = origin_D.double()
        num_features = len(origin_D)
        self.counts_K = origin_D.new_zeros(num_classes, dtype=torch.int64)
        self.means_KD = self.origin_D.new_zeros(num_classes, num_features)  # less the origin
        self.unit_sums_KD = self.origin_D.new_zeros(num_classes, num_features)
        self.trace_K = self.origin_D.new_zeros(num_classes)
        self.scatter_DD = self.origin_D.new_zeros(num_features, num_features) if matrix else None

    def add(self, features_BD: Tensor, labels_B: Tensor) -> None:
        """A batch, float64. The features are left as they are."""
        norms_B1 = torch.linalg.vector_norm(features_BD, dim=1, keepdim=True)
        self.unit_sums_KD.index_add_(0, labels_B, torch.where(norms_B1 > 0, features_BD / norms_B1, 0.0))
        classes_P, of_sample_B, counts_P = labels_B.unique(return_inverse=True, return_counts=True)
        shifted_BD = features_BD - self.origin_D
        sums_PD = shifted_BD.new_zeros(len(classes_P), shifted_BD.shape[1])
        means_PD = sums_PD.index_add_(0, of_sample_B, shifted_BD) / counts_P[:, None]
        residual_BD = shifted_BD - means_PD[of_sample_B]

        before_P = self.counts_K[classes_P]
        moved_PD = means_PD - self.means_KD[classes_P]
        share_P = counts_P.double() / (before_P + counts_P)
        between_PD = (before_P * share_P).sqrt()[:, None] * moved_PD
        for rows, labels in ((residual_BD, labels_B), (between_PD, classes_P)):
            if self.scatter_DD is not None:
                self.scatter_DD.addmm_(rows.T, rows)
            self.trace_K.index_add_(0, labels, rows.square().sum(1))
        self.means_KD[classes_P] += share_P[:, None] * moved_PD
        self.counts_K[classes_P] += counts_P

    def means(self) -> tuple[Tensor, Tensor]:
        """The mean of the class means, and the class means centred by it. Raises TooLarge."""
        return centred_means(self.means_KD, origin_D=self.origin_D)

    def within(self, basis_RD: Tensor) -> Tensor:
        """Sigma_W on the rows of an orthonormal basis, R x R."""
        return basis_RD @ self.scatter_DD @ basis_RD.T / self.counts_K.sum()

    def total(self) -> Tensor:
        """Sigma_T, the covariance of all samples about their mean, p x p."""
        share_K = self.counts_K.double() / self.counts_K.sum()
        about_KD = self.means_KD - share_K @ self.means_KD
        between_DD = about_KD.T @ (share_K[:, None] * about_KD)
        return self.scatter_DD / self.counts_K.sum() + between_DD

    def within_alone(self, basis_RD: Tensor) -> np.ndarray:
        """What of it the directions beside the basis do not explain, R x R."""
        return unexplained((self.scatter_DD / self.counts_K.sum()).cpu().numpy(), basis_RD.cpu().numpy())

    def unit_means_KD(self) -> Tensor:
        """The class means of h / ||h||, of which a zero feature is zero."""
        return self.unit_sums_KD / self.counts_K[:, None]


def unexplained(scatter_DD: np.ndarray, basis_RD: np.ndarray) -> np.ndarray:
    """What of the scatter on the rows of an orthonormal basis the directions beside them do not explain.

    S_BB - S_BX S_XX^+ S_XB, X all directions orthogonal to the basis B: the inverse of B Sigma^-1 B^T where
    Sigma has an inverse. R x R.
    """
    of_basis_RD = basis_RD @ scatter_DD
    beside_DX = np.linalg.qr(basis_RD.T, mode="complete").Q[:, len(basis_RD) :]
    values_X, directions_XX = np.linalg.eigh(beside_DX.T @ scatter_DD @ beside_DX)
    smallest = len(scatter_DD) * np.finfo(np.float64).eps * values_X.max(initial=0.0)
    kept_X = values_X > smallest
    across_RX = (of_basis_RD @ beside_DX @ directions_XX)[:, kept_X]
    return of_basis_RD @ basis_RD.T - across_RX / values_X[kept_X] @ across_RX.T
