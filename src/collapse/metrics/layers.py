"""Neural collapse in every dense layer, and what Jacot et al. 2024 (arXiv 2410.04887) prove of it.

L layers without biases, Z_l = W_l h_{l-1} and h_l = relu(Z_l) in the first L_1, h_l = Z_l in the L_2 others;
Z_L are the logits, Y the labels, one-hot. Collapse is an orthogonal frame here: NC1 = 0, NC2 = NC3 = 1 of
h_l. ||X|| is the largest singular value, X^+ the pseudo-inverse.

Shapes: N samples, K classes, n_l units of layer l, D those of any layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from collapse.metrics.neural_collapse import rounded_singular_values

PLACE = "layers/"  # before the names of these statistics, beside class statistics
MEANS = "means_"  # and the number of a layer: the name of its class means in a file


@dataclass(frozen=True, eq=False)
class LayerStatistics:
    """What the metrics of all dense layers are made of, in float64. Layers count from 1 to L."""

    counts_K: np.ndarray  # training samples of each class
    relu_layers: int  # L_1
    means: tuple[np.ndarray, ...]  # by layer, the class means of h_l, K x n_l
    within_trace_LK: np.ndarray  # mean of ||h - mu_k||^2 over class k
    cosine_L: np.ndarray  # mean cosine of h_l and its class's row of W_L ... W_{l+1}; NaN for l < L_1
    output_norm_L: np.ndarray  # ||Z_l||
    negative_norm_L: np.ndarray  # ||Z_l - relu(Z_l)||
    feature_norm_L: np.ndarray  # ||h_l||
    weight_norm_L: np.ndarray  # ||W_l||
    imbalance_norm_L: np.ndarray  # ||W_{l+1}^T W_{l+1} - W_l W_l^T||, NaN for l = L
    head_values_K: np.ndarray  # singular values of W_L
    product_values_K: np.ndarray  # of W_L ... W_{L_1+1}
    error: float  # ||Z_L - Y||_F
    error_norm: float  # ||Z_L - Y||
    beside_head: float  # tr (I - P) W_{L-1} W_{L-1}^T, P the projection on the rows of W_L; NaN for L = 1
    inverse_distance: float  # ||h_{L-1} - W_L^+ Y||_F; NaN for L = 1

    @property
    def num_layers(self) -> int:
        """L."""
        return len(self.means)

    @property
    def linear_layers(self) -> int:
        """L_2."""
        return self.num_layers - self.relu_layers


SCALARS = {"relu_layers": int, "error": float, "error_norm": float, "beside_head": float,
           "inverse_distance": float}  # fmt: skip


def to_arrays(statistics: LayerStatistics) -> dict[str, np.ndarray]:
    """The statistics as named arrays for a file."""
    values = {field.name: getattr(statistics, field.name) for field in fields(LayerStatistics)}
    values |= {f"{MEANS}{number}": its for number, its in enumerate(values.pop("means"), start=1)}
    return {
        name: np.array([value]) if name in SCALARS else np.ascontiguousarray(value)
        for name, value in values.items()
    }


def from_arrays(arrays: Mapping[str, np.ndarray]) -> LayerStatistics:
    """The inverse of to_arrays. Raises ValueError when a name is missing or unknown."""
    found = sum(name.startswith(MEANS) for name in arrays)
    means = [f"{MEANS}{number}" for number in range(1, max(found, 1) + 1)]
    others = {field.name for field in fields(LayerStatistics)} - {"means"}
    if wrong := sorted({*means, *others} ^ arrays.keys()):
        raise ValueError(f"layer statistics: missing or unknown arrays: {', '.join(wrong)}")
    values = {name: arrays[name] for name in others}
    values |= {name: kind(values[name][0]) for name, kind in SCALARS.items()}
    return LayerStatistics(means=tuple(arrays[name] for name in means), **values)


def imbalance(upper_MN: np.ndarray, lower_NP: np.ndarray) -> np.ndarray:
    """D_l = W_{l+1}^T W_{l+1} - W_l W_l^T, n_l x n_l. 0 for balanced layers."""
    return upper_MN.T @ upper_MN - lower_NP @ lower_NP.T


def balancedness(imbalance_norm: float, upper_norm: float, lower_norm: float) -> float:
    """||D_l|| / min(||W_{l+1}^T W_{l+1}||, ||W_l W_l^T||), of the norms of D_l, W_{l+1} and W_l.

    0 for balanced layers; NaN, or infinite, where a layer's weights are zero.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.float64(imbalance_norm) / min(upper_norm, lower_norm) ** 2)


def negativity(negative_norm: float, output_norm: float) -> float:
    """||Z - relu(Z)|| / ||Z||: 0 where a ReLU acts as the identity; NaN for Z = 0."""
    with np.errstate(invalid="ignore"):
        return float(np.float64(negative_norm) / output_norm)


def layer_nc1(means_KD: np.ndarray, within_trace_K: np.ndarray, counts_K: np.ndarray) -> float:
    """tr Sigma_W / tr Sigma_B; 0 at collapse, infinite where the class means coincide, NaN if that is 0/0.

    Sigma_W is over samples, Sigma_B over class means, as `collapse.metrics.conventions.jacot_nc1`.
    """
    within = np.sum(counts_K * within_trace_K) / np.sum(counts_K)
    between = np.sum((means_KD - means_KD.mean(axis=0)) ** 2) / len(means_KD)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.float64(within) / between)


def condition(values_K: np.ndarray) -> float:
    """Largest over smallest singular value; infinite where a smaller one is zero, NaN where all are."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.float64(values_K[0]) / values_K[-1])


def layer_nc2(means_KD: np.ndarray) -> float:
    """kappa of the class means, not centred: 1 at collapse.

    Infinite where they span fewer than K directions (`means_rank` says how many), NaN where all are zero.
    """
    return condition(rounded_singular_values(means_KD))


def means_rank(means_KD: np.ndarray) -> int:
    """How many directions the class means span: singular values that float64 can tell from zero."""
    return int(np.count_nonzero(rounded_singular_values(means_KD)))


def nc1_bound(
    *,
    counts_K: np.ndarray,
    error: float,
    error_norm: float,
    head_norm: float,
    feature_norm: float,
    input_norm: float,
    beside_head: float,
) -> float:
    """What NC1 of h_{L-1} cannot exceed if the last two layers are linear (Jacot et al. 2024, theorem 3.1).

    ||W_L||^2 delta^2 / (N (sqrt((K - 1)/K) - e/sqrt(K n))^2), n the smallest class, e = ||Z_L - Y||_F and
    delta = ||h_{L-1}|| e / (sqrt(n) - ||Z_L - Y||) + ||h_{L-2}|| sqrt(tr (I - P) W_{L-1} W_{L-1}^T),
    which is at least ||h_{L-1} - W_L^+ Y||_F. The theorem has one r in the place of all norms. Infinite where
    the fit is too poor for both differences to be positive.
    """
    num_classes, smallest = len(counts_K), np.min(counts_K)
    least_value = np.sqrt(smallest) - error_norm  # of Z_L
    spread = np.sqrt((num_classes - 1) / num_classes) - error / np.sqrt(num_classes * smallest)
    if not (least_value > 0 and spread > 0):
        return np.inf
    delta = feature_norm * error / least_value + input_norm * np.sqrt(beside_head)
    return float((head_norm * delta / spread) ** 2 / np.sum(counts_K))


def nc2_bound(head_values_K: np.ndarray, *, counts_K: np.ndarray, inverse_distance: float) -> float:
    """kappa (1 + s_K x) / (1 - s_1 x), which NC2 of h_{L-1} cannot exceed; infinite where s_1 x >= 1.

    s_1 ... s_K are the singular values of W_L, kappa = s_1 / s_K, n is the smallest class and
    x = ||h_{L-1} - W_L^+ Y||_F / sqrt(n): class means are no further from the columns of W_L^+.
    """
    largest, smallest = head_values_K[0], head_values_K[-1]
    x = inverse_distance / np.sqrt(np.min(counts_K))
    if smallest == 0 or not largest * x < 1:
        return np.inf
    return float(largest / smallest * (1 + smallest * x) / (1 - largest * x))


def nc3_bound(head_values_K: np.ndarray, *, counts_K: np.ndarray, inverse_distance: float) -> float:
    """2 kappa / (kappa^2 + 1) - (pi/2) s_1 ||h_{L-1} - W_L^+ Y||_F / sqrt(N): NC3 of h_{L-1} is no less.

    The first term is Kantorovich's inequality for W_L. -1, which says nothing, where the difference is
    negative: there a sample's angle can be more than pi/2 times its relative distance.
    """
    if head_values_K[-1] == 0:
        return -1.0
    kappa = condition(head_values_K)
    distance = head_values_K[0] * inverse_distance / np.sqrt(np.sum(counts_K))
    bound = 2 * kappa / (kappa**2 + 1) - np.pi / 2 * distance
    return float(bound) if bound >= 0 else -1.0


def head_bounds(statistics: LayerStatistics) -> dict[str, float]:
    """bound_NC1, bound_NC2, bound_NC3 of the last features; NaN of one linear layer or two layers in all."""
    its = statistics
    if its.linear_layers < 2 or its.num_layers < 3:
        return dict.fromkeys(("bound_NC1", "bound_NC2", "bound_NC3"), np.nan)
    near = {"counts_K": its.counts_K, "inverse_distance": its.inverse_distance}
    return {
        "bound_NC1": nc1_bound(
            counts_K=its.counts_K,
            error=its.error,
            error_norm=its.error_norm,
            head_norm=its.weight_norm_L[-1],
            feature_norm=its.feature_norm_L[-2],
            input_norm=its.feature_norm_L[-3],
            beside_head=its.beside_head,
        ),
        "bound_NC2": nc2_bound(its.head_values_K, **near),
        "bound_NC3": nc3_bound(its.head_values_K, **near),
    }
