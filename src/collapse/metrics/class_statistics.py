"""Class statistics: the small summary of last-layer features that every metric is made of.

Shapes: N training samples, T test samples, K classes, D = p feature dimensions, R = min(K - 1, D).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from collapse.metrics.checked_input import (
    Array,
    bias_tensor,
    finite,
    label_tensor,
    real_tensor,
    require_counts,
)
from collapse.metrics.scale import MOST_SCATTERED
from collapse.metrics.scatter import ClassScatter
from collapse.metrics.sweeps import (
    Chunks,
    TestDecisions,
    TooLarge,
    basis_of,
    chunks,
    class_means,
    training_sweep,
)

# Sums run on features minus an origin near them, so that a common shift costs no digits: the mean
# of the first few, which does not depend on the chunk size.
NUM_ORIGIN_SAMPLES = 256


@dataclass(frozen=True, eq=False)
class ClassStatistics:
    """Everything the metrics need to know of the features and the last layer, in float64.

    The class means are mu_k = global_mean_D + centred_means_KD[k]. They are kept apart because
    adding a large common mean would round away the differences that all metrics are made of.
    """

    counts_K: np.ndarray  # training samples of each class, int64
    global_mean_D: np.ndarray  # mu_G, the mean of the class means (not of the samples)
    centred_means_KD: np.ndarray  # mu_k - mu_G: the transpose of the paper's M
    weight_KD: np.ndarray  # W
    bias_K: np.ndarray | None  # b, None for a layer without bias
    within_trace_K: np.ndarray  # mean of ||h_n - mu_k||^2 over class k
    within_variance_R: np.ndarray  # u_r^T Sigma_W u_r, u_r the left singular directions of M
    cosine_train: float  # mean cosine of h_n and w_k, k the class of n (0 where one is zero)
    mismatch_train: float  # share where argmax <w_k, h> + b_k is not the nearest class mean
    accuracy_train: float  # share where argmax <w_k, h> + b_k is the label
    agreement_test: float  # share where argmax <w_k, h> is the nearest mean; NaN without test set
    accuracy_test: float  # share where argmax <w_k, h> + b_k is the label; NaN without test labels
    # Of extended statistics alone, for some of the conventions; None elsewhere.
    coordinates_KR: np.ndarray | None = None  # <mu_k - mu_G, u_r>: the centred means on that basis
    within_RR: np.ndarray | None = None  # u_r^T Sigma_W u_s
    within_alone_RR: np.ndarray | None = None  # what of it the directions beside the u_r do not explain
    unit_means_KD: np.ndarray | None = None  # class means of h_n / ||h_n||
    test_centred_means_KD: np.ndarray | None = None  # of the test set, by its own class means
    test_within_variance_R: np.ndarray | None = None  # the same as within_variance_R, all of the test set

    @property
    def num_classes(self) -> int:
        """K."""
        return self.weight_KD.shape[0]

    @property
    def num_features(self) -> int:
        """p, the width of the last layer's input."""
        return self.weight_KD.shape[1]

    @property
    def means_KD(self) -> np.ndarray:
        """The class means mu_k, not centred."""
        return self.global_mean_D + self.centred_means_KD


@torch.no_grad()
def class_statistics(
    *,
    features_ND: Array,
    labels_N: Array,
    weight_KD: Array,
    bias_K: Array | None,
    test_features: Array | None,
    test_labels: Array | None,
    extended: bool = False,
    chunk_size: int = 1024,
) -> ClassStatistics:
    """Statistics of training features (and of a test set, if given) under the last layer (W, b).

    Two sweeps over the features in chunks, all sums in float64: the class means first, then the
    deviations from them, projected on the left singular directions of the centred means. A p x p
    covariance is formed for extended statistics alone, of MOST_SCATTERED dimensions at most. The chunk
    size changes the speed and nothing else.

    features_ND (N x p), weight_KD (K x p), bias_K (K), test_features (T x p): of a type that float64
    holds without loss; labels_N (N), test_labels (T): integers from 0 to K - 1. Torch tensors on one
    device or NumPy arrays; bias_K, test_features and test_labels may be None.

    Raises ValueError for wrong shapes or dtypes, values that are not finite, labels out of range,
    and training classes with fewer than two samples.
    """
    features_ND = real_tensor("features", features_ND, shape=("N", "p"))
    num_features = features_ND.shape[1]
    weight_KD = finite(real_tensor("weight", weight_KD, shape=("K", num_features)), "weight")
    num_classes = len(weight_KD)
    labels_N = label_tensor("labels", labels_N, num_samples=len(features_ND), num_classes=num_classes)
    counts_K = require_counts(labels_N.bincount(minlength=num_classes))
    last_layer = weight_KD.double(), bias_tensor(bias_K, weight_KD)
    test = checked_test(test_features, test_labels, weight_KD)
    origin_D = features_ND[:NUM_ORIGIN_SAMPLES].double().mean(0)
    try:
        parts = chunks(features_ND, labels_N, chunk_size)
        means = class_means(parts, origin_D=origin_D, counts_K=counts_K)
        known = {"last_layer": last_layer, "means": means}
        scatters = [new_scatter(means) if extended else None for _ in range(2)]
        parts = chunks(features_ND, labels_N, chunk_size)
        found = second_sweep(parts, **known, scatter=scatters[0])
    except TooLarge:
        finite(features_ND, "features")  # which may be the reason
        raise
    parts = [] if test is None else chunks(*test, chunk_size)
    found |= test_sweep(parts, **known, scatter=scatters[1])
    return assembled(found, **known, counts_K=counts_K, has_bias=bias_K is not None)


def checked_test(
    features_TD: Array | None, labels_T: Array | None, weight_KD: Tensor
) -> tuple[Tensor, Tensor | None] | None:
    """The test set as tensors, its labels None where there are none. Raises ValueError."""
    if features_TD is None:
        if labels_T is not None:
            raise ValueError("test_labels: given without test_features; give both or neither")
        return None
    num_classes, num_features = weight_KD.shape
    features_TD = finite(
        real_tensor("test_features", features_TD, shape=("T", num_features)), "test_features"
    )
    if labels_T is None:
        return features_TD, None
    size = {"num_samples": len(features_TD), "num_classes": num_classes}
    return features_TD, label_tensor("test_labels", labels_T, **size)


def new_scatter(means: tuple[Tensor, Tensor]) -> ClassScatter:
    """Empty sums for extended statistics, about the mean of the class means."""
    global_mean_D, centred_KD = means
    return ClassScatter(len(centred_KD), global_mean_D, matrix=len(global_mean_D) <= MOST_SCATTERED)


def second_sweep(
    parts: Chunks, *, last_layer: tuple[Tensor, Tensor], means: tuple[Tensor, Tensor],
    scatter: ClassScatter | None,
) -> dict[str, Any]:  # fmt: skip
    """What the second sweep over the training set gives; with a scatter also extended statistics."""
    given = {"last_layer": last_layer, "means": means}
    if scatter is None:
        return training_sweep(parts, **given, extended=False)
    found = training_sweep(into(scatter, parts), **given, extended=True)
    return found | extended_fields(scatter, means[1])


def into(scatter: ClassScatter, parts: Chunks) -> Iterator[tuple[Tensor, Tensor]]:
    """The same chunks, which the scatter sees on the way."""
    for features_BD, labels_B in parts:
        scatter.add(features_BD, labels_B)
        yield features_BD, labels_B


def extended_fields(scatter: ClassScatter, centred_KD: Tensor) -> dict[str, Any]:
    """What of extended statistics the training set's scatter gives."""
    basis_RD = basis_of(centred_KD)
    return {
        "coordinates_KR": centred_KD @ basis_RD.T,
        "unit_means_KD": scatter.unit_means_KD(),
        "within_alone_RR": None if scatter.scatter_DD is None else scatter.within_alone(basis_RD),
    }


def test_sweep(
    parts: Iterable[tuple[Tensor, Tensor | None]], *, last_layer: tuple[Tensor, Tensor],
    means: tuple[Tensor, Tensor], scatter: ClassScatter | None,
) -> dict[str, Any]:  # fmt: skip
    """What one sweep over the test set gives, NaN where there is none; with a scatter also extended."""
    decisions = TestDecisions(last_layer=last_layer, means=means)
    for features_BD, labels_B in parts:
        decisions.add(features_BD, labels_B)
        if scatter is not None and labels_B is not None:
            scatter.add(features_BD, labels_B)
    return decisions.result() | ({} if scatter is None else test_fields(scatter))


def test_fields(scatter: ClassScatter) -> dict[str, Tensor]:
    """The test set's own class means and scatter along them, where each class has two samples there."""
    if scatter.scatter_DD is None or not (scatter.counts_K > 1).all():
        return {}
    _, centred_KD = scatter.means()
    variance_R = scatter.within(basis_of(centred_KD)).diagonal()
    return {"test_centred_means_KD": centred_KD, "test_within_variance_R": variance_R}


def assembled(
    found: Mapping[str, Any], *, last_layer: tuple[Tensor, Tensor], means: tuple[Tensor, Tensor],
    counts_K: Tensor, has_bias: bool,
) -> ClassStatistics:  # fmt: skip
    """Class statistics of what the sweeps have found, as NumPy arrays and numbers."""
    values = {
        "counts_K": counts_K,
        "global_mean_D": means[0],
        "centred_means_KD": means[1],
        "weight_KD": last_layer[0],
        "bias_K": last_layer[1] if has_bias else None,
        **found,
    }
    plain = {
        name: value.cpu().numpy() if isinstance(value, Tensor) else value for name, value in values.items()
    }
    return ClassStatistics(**plain)


def to_arrays(statistics: ClassStatistics) -> dict[str, np.ndarray]:
    """The statistics as named arrays for a file; a field that is None is a missing name."""
    values = {field.name: getattr(statistics, field.name) for field in fields(ClassStatistics)}
    return {
        name: np.ascontiguousarray(value) if isinstance(value, np.ndarray) else np.array([value])
        for name, value in values.items()
        if value is not None
    }


def from_arrays(arrays: Mapping[str, np.ndarray]) -> ClassStatistics:
    """The inverse of to_arrays. Raises ValueError when a name is missing or unknown."""
    names = {field.name for field in fields(ClassStatistics)}
    needed = {field.name for field in fields(ClassStatistics) if field.default is MISSING} - {"bias_K"}
    wrong = sorted((needed - arrays.keys()) | (arrays.keys() - names))
    if wrong:
        raise ValueError(f"class statistics: missing or unknown arrays: {', '.join(wrong)}")
    scalars = {field.name for field in fields(ClassStatistics) if field.type is float}
    values = {name: float(array[0]) if name in scalars else array for name, array in arrays.items()}
    return ClassStatistics(**{"bias_K": None} | values)
