"""Class statistics: the small summary of last-layer features that every metric is made of.

Shapes: N training samples, T test samples, K classes, D = p feature dimensions, R = min(K - 1, D).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import torch

Array = np.ndarray | torch.Tensor

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
    chunk_size: int = 1024,
) -> ClassStatistics:
    """Statistics of training features (and of a test set, if given) under the last layer (W, b).

    Two sweeps over the features in chunks, all sums in float64: the class means first, then the
    deviations from them, projected on the left singular directions of the centred means. The
    p x p covariance is never formed. The chunk size changes the speed and nothing else.

    features_ND (N x p), weight_KD (K x p), bias_K (K), test_features (T x p): float32 or float64;
    labels_N (N), test_labels (T): integers from 0 to K - 1. Torch tensors on one device or NumPy
    arrays; bias_K, test_features and test_labels may be None.

    Raises ValueError for wrong shapes or dtypes, values that are not finite, labels out of range,
    and training classes with fewer than two samples.
    """
    features_ND = _real("features", features_ND, shape=("N", "p"))
    weight_KD = _finite(_real("weight", weight_KD, shape=("K", features_ND.shape[1])), "weight")
    num_classes = len(weight_KD)
    labels_N = _labels("labels", labels_N, num_samples=len(features_ND), num_classes=num_classes)
    counts_K = _counts(labels_N, num_classes)
    last_layer = weight_KD.double(), _bias(bias_K, weight_KD)
    global_mean_D, centred_KD = _class_means(features_ND, labels_N, counts_K, chunk_size)
    means = global_mean_D, centred_KD
    return ClassStatistics(
        counts_K=_numpy(counts_K),
        global_mean_D=_numpy(global_mean_D),
        centred_means_KD=_numpy(centred_KD),
        weight_KD=_numpy(last_layer[0]),
        bias_K=None if bias_K is None else _numpy(last_layer[1]),
        **_training_sweep(features_ND, labels_N, *last_layer, *means, chunk_size),
        **_test_sweep(test_features, test_labels, *last_layer, *means, chunk_size),
    )


def _chunks(features_ND, labels_N, chunk_size):
    """The features in float64, chunk by chunk and each in the same memory, with their labels."""
    buffer_BD = torch.empty_like(features_ND[:chunk_size], dtype=torch.float64)
    for chunk_BD, labels_B in zip(features_ND.split(chunk_size), labels_N.split(chunk_size), strict=True):
        yield buffer_BD[: len(chunk_BD)].copy_(chunk_BD), labels_B


def _class_means(features_ND, labels_N, counts_K, chunk_size):
    """First sweep: the mean of the class means, and the class means centred by it."""
    origin_D = features_ND[:NUM_ORIGIN_SAMPLES].double().mean(0)
    sums_KD = origin_D.new_zeros(len(counts_K), len(origin_D))
    for chunk_BD, labels_B in _chunks(features_ND, labels_N, chunk_size):
        sums_KD.index_add_(0, labels_B, chunk_BD.sub_(origin_D))
    if not torch.isfinite(sums_KD).all():  # so either a feature is not, or the sums overflowed
        _finite(features_ND, "features")
        raise ValueError("features: too large, their sums overflow; scale them down")
    means_KD = sums_KD / counts_K[:, None]
    return origin_D + means_KD.mean(0), means_KD - means_KD.mean(0)


def _residuals(features_ND, labels_N, means_KD, chunk_size):
    """r_n = h_n - mu_k, chunk by chunk in the same memory, with ||h_n|| and the labels."""
    own_mean_BD = torch.empty_like(features_ND[:chunk_size], dtype=torch.float64)
    for chunk_BD, labels_B in _chunks(features_ND, labels_N, chunk_size):
        norms_B = torch.linalg.vector_norm(chunk_BD, dim=1)
        own_mean = torch.index_select(means_KD, 0, labels_B, out=own_mean_BD[: len(labels_B)])
        yield chunk_BD.sub_(own_mean), norms_B, labels_B


def _training_sweep(features_ND, labels_N, weight_KD, bias_K, global_mean_D, centred_KD, chunk_size):
    """Second sweep: the deviations from the class means, projected on the basis u_r and on W.

    h = r + mu_k, and the centred means lie in the span of the basis: so these projections give
    the logits and the nearest class mean too.
    """
    num_classes, num_samples = len(weight_KD), len(features_ND)
    rank = min(num_classes - 1, features_ND.shape[1])
    basis_RD = torch.linalg.svd(centred_KD, full_matrices=False).Vh[:rank]
    directions_SD = torch.cat([basis_RD, weight_KD])
    coordinates_KR = centred_KD @ basis_RD.T
    means_KD = global_mean_D + centred_KD
    logits_of_means_KK = weight_KD @ means_KD.T
    scores_of_means_KK = centred_KD @ centred_KD.T - _half_squares(centred_KD)
    weight_norms_K = torch.linalg.vector_norm(weight_KD, dim=1)

    trace_K, variance_R = centred_KD.new_zeros(num_classes), centred_KD.new_zeros(rank)
    cosine, mismatches, correct = centred_KD.new_zeros(3)
    for residual_BD, norms_B, labels_B in _residuals(features_ND, labels_N, means_KD, chunk_size):
        trace_K.index_add_(0, labels_B, torch.linalg.vector_norm(residual_BD, dim=1).square())
        projected_SB = directions_SD @ residual_BD.T  # on a CPU faster than residual @ directions
        residual_RB, products_KB = projected_SB.split([rank, num_classes])
        variance_R += residual_RB.square().sum(1)
        products_KB += logits_of_means_KK[:, labels_B]
        scores_KB = coordinates_KR @ residual_RB + scores_of_means_KK[:, labels_B]
        chosen_B = _largest(products_KB + bias_K[:, None])
        mismatches += (chosen_B != _largest(scores_KB)).sum()
        correct += (chosen_B == labels_B).sum()
        scale_B = norms_B * weight_norms_K[labels_B]
        own_product_B = products_KB.gather(0, labels_B[None])[0]
        cosine += torch.where(scale_B > 0, own_product_B / scale_B, 0.0).sum()
    if not torch.isfinite(trace_K).all():
        raise ValueError("features: too large, their squares overflow; scale them down")
    return {
        "within_trace_K": _numpy(trace_K / labels_N.bincount(minlength=num_classes)),
        "within_variance_R": _numpy(variance_R / num_samples),
        "cosine_train": cosine.item() / num_samples,
        "mismatch_train": mismatches.item() / num_samples,
        "accuracy_train": correct.item() / num_samples,
    }


def _test_sweep(test_features, test_labels, weight_KD, bias_K, global_mean_D, centred_KD, chunk_size):
    """Decisions on the test set: agreement without the bias (NC4), accuracy with it."""
    if test_features is None:
        if test_labels is not None:
            raise ValueError("test_labels: given without test_features; give both or neither")
        return {"agreement_test": float("nan"), "accuracy_test": float("nan")}
    features_TD = _real("test_features", test_features, shape=("T", len(global_mean_D)))
    _finite(features_TD, "test_features")
    agreed, chosen_T = 0, []
    for features_BD in features_TD.split(chunk_size):
        scores_KB = centred_KD @ (features_BD - global_mean_D).T - _half_squares(centred_KD)
        products_KB = weight_KD @ features_BD.double().T
        agreed += (_largest(products_KB) == _largest(scores_KB)).sum().item()
        chosen_T.append(_largest(products_KB + bias_K[:, None]))
    accuracy = float("nan")
    if test_labels is not None:
        labels_T = _labels(
            "test_labels", test_labels, num_samples=len(features_TD), num_classes=len(weight_KD)
        )
        accuracy = (torch.cat(chosen_T) == labels_T).double().mean().item()
    return {"agreement_test": agreed / len(features_TD), "accuracy_test": accuracy}


def _largest(scores_KB):
    """The class of the largest score, the first of equals; several times faster than argmax."""
    return scores_KB.max(0).indices


def _half_squares(centred_KD):
    """||mu_k||^2 / 2, a column: the nearest mean to h has the largest <mu_k, h> less this.

    With h and mu_k centred by mu_G the difference does not cancel, however large mu_G is.
    """
    return centred_KD.square().sum(1, keepdim=True) / 2


def to_arrays(statistics: ClassStatistics) -> dict[str, np.ndarray]:
    """The statistics as named arrays for a file; a missing bias is a missing name."""
    values = {field.name: getattr(statistics, field.name) for field in fields(ClassStatistics)}
    return {
        name: np.ascontiguousarray(value) if isinstance(value, np.ndarray) else np.array([value])
        for name, value in values.items()
        if value is not None
    }


def from_arrays(arrays: Mapping[str, np.ndarray]) -> ClassStatistics:
    """The inverse of to_arrays. Raises ValueError when a name is missing or unknown."""
    names = {field.name for field in fields(ClassStatistics)}
    wrong = sorted((names - {"bias_K"} - arrays.keys()) | (arrays.keys() - names))
    if wrong:
        raise ValueError(f"class statistics: missing or unknown arrays: {', '.join(wrong)}")
    scalars = {field.name for field in fields(ClassStatistics) if field.type is float}
    values = {name: float(array[0]) if name in scalars else array for name, array in arrays.items()}
    return ClassStatistics(**{"bias_K": None} | values)


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.cpu().numpy()


def _tensor(name: str, array: Array) -> torch.Tensor:
    """The array as a tensor of the same values, whatever its byte order, strides and flags."""
    if isinstance(array, torch.Tensor):
        return array.detach()
    try:
        native = array.dtype.newbyteorder("=")
        return torch.from_numpy(np.require(array, dtype=native, requirements=["C", "W"]))
    except TypeError:
        raise ValueError(f"{name}: dtype {array.dtype} does not hold plain numbers") from None


def _real(name: str, array: Array, *, shape: tuple[str | int, ...]) -> torch.Tensor:
    """The array as a float tensor of the given shape, where a letter is any length above 0."""
    tensor = _tensor(name, array)
    if tensor.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"{name}: dtype is {array.dtype}; convert it to float32 or float64")
    if tensor.ndim != len(shape) or not all(
        have == want or (isinstance(want, str) and have > 0)
        for have, want in zip(tensor.shape, shape, strict=True)
    ):
        wanted = " x ".join(map(str, shape))
        raise ValueError(f"{name}: shape is {tuple(tensor.shape)}; expected {wanted}")
    return tensor


def _labels(name: str, array: Array, *, num_samples: int, num_classes: int) -> torch.Tensor:
    """The array as int64 labels, one a sample, each from 0 to K - 1."""
    tensor = _tensor(name, array)
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype is torch.bool:
        raise ValueError(f"{name}: dtype is {array.dtype}; convert it to integers")
    if tensor.shape != (num_samples,):
        raise ValueError(f"{name}: shape is {tuple(tensor.shape)}; expected ({num_samples},)")
    labels = tensor.long()
    if labels.min() < 0 or labels.max() >= num_classes:
        allowed = f"0 to {num_classes - 1}, as weight has {num_classes} rows"
        raise ValueError(f"{name}: from {labels.min()} to {labels.max()}; allowed is {allowed}")
    return labels


def _bias(bias_K: Array | None, weight_KD: torch.Tensor) -> torch.Tensor:
    """The bias in float64; zero for a layer without one."""
    if bias_K is None:
        return weight_KD.new_zeros(len(weight_KD), dtype=torch.float64)
    return _finite(_real("bias", bias_K, shape=(len(weight_KD),)), "bias").double()


def _finite(tensor: torch.Tensor, name: str) -> torch.Tensor:
    if not torch.isfinite(tensor).all():
        first = tuple((~torch.isfinite(tensor)).nonzero()[0].tolist())
        raise ValueError(f"{name}: not finite (NaN or infinity), first at index {first}")
    return tensor


def _counts(labels_N: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Samples of each class: two or more, of two classes or more."""
    if num_classes < 2:
        raise ValueError("weight: has one row; the metrics need two classes or more")
    counts_K = labels_N.bincount(minlength=num_classes)
    for adjective, few in (("missing", counts_K == 0), ("single-sample", counts_K == 1)):
        if few.any():
            classes = ", ".join(map(str, few.nonzero().flatten().tolist()))
            needed = f"each of the {num_classes} classes needs two samples or more"
            raise ValueError(f"labels: {adjective} classes: {classes}; {needed}")
    return counts_K
