"""The unconstrained feature model of Zhu et al. 2021 (arXiv 2105.02375): its minimum and its saddles.

    f(W, H, b) = (1/N) sum_i CE(W h_i + b, y_i) + lambda_W/2 ||W||^2 + lambda_H/2 ||H||^2 + lambda_b/2 ||b||^2

of N = n K samples, n a class; g is its first term as a function of the logits. In closed form f depends on
rho = sqrt(n lambda_W lambda_H) alone: at the minimum every wrong class has probability rho, and for
rho >= 1/K the minimum is zero.

Shapes: K classes, D features, N samples, P = K D + D N + K parameters, which are one vector: W, H, b.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from collapse.theory.last_layer import softmax_error
from collapse.theory.trained_features import Size, cross_entropy


class Model(NamedTuple):
    """K, n, D and the decays lambda_W, lambda_H, lambda_b."""

    num_classes: int
    samples_per_class: int
    num_features: int
    weight_decay: float
    feature_decay: float
    bias_decay: float

    @property
    def size(self) -> Size:
        """K, D and n."""
        return Size(self.num_classes, self.num_features, self.samples_per_class)

    @property
    def num_parameters(self) -> int:
        """P."""
        K, n, D = self[:3]
        return K * D + D * n * K + K

    def split(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """W (K x D), H (D x N) and b (K) of the vector; of each vector where there are more axes in front."""
        return *self.size.split(x[..., : -self.num_classes]), x[..., -self.num_classes :]

    def decays(self) -> np.ndarray:
        """The decay of every parameter, P of them."""
        K, n, D = self[:3]
        return np.repeat(self[3:], [K * D, D * n * K, K])


def joined(W: np.ndarray, H: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The vector of W, H and b; the inverse of `Model.split`."""
    more = b.shape[:-1]
    return np.concatenate([W.reshape(*more, -1), H.reshape(*more, -1), b], axis=-1)


def rho(model: Model) -> float:
    """sqrt(n lambda_W lambda_H)."""
    return float(np.sqrt(model.samples_per_class * model.weight_decay * model.feature_decay))


def threshold(*, num_classes: int, samples_per_class: int) -> float:
    """1/(K sqrt(n)), the least lambda_W = lambda_H at which the minimum is zero."""
    return 1 / (num_classes * samples_per_class**0.5)


def entropy(probabilities: np.ndarray) -> float:
    """-sum p log p."""
    return float(-np.sum(probabilities * np.log(probabilities)))


def probabilities(model: Model, group_size: int = 1) -> np.ndarray:
    """The softmax at the minimum, the own class first: (1 - (K - 1) rho, rho, ..., rho); 1/K if rho >= 1/K.

    group_size g: at the saddle where K/g groups of classes share a row of W. The first g are
    (1 - (K - g) rho)/g then, the others rho.
    """
    K, g, wrong = model.num_classes, group_size, min(rho(model), 1 / model.num_classes)
    return np.repeat([(1 - (K - g) * wrong) / g, wrong], [g, K - g])


def minimum(model: Model, group_size: int = 1) -> float:
    """f*, the entropy of that softmax: -p log p - (K - 1) rho log rho; log K for rho >= 1/K.

    group_size: of the saddle's f (`probabilities`).
    """
    return entropy(probabilities(model, group_size))


def margin(model: Model, group_size: int = 1) -> float:
    """t* = z_y - z_j = log(1/rho - K + 1); 0 for rho >= 1/K. group_size: as in `probabilities`."""
    K, g = model.num_classes, group_size
    odds = (1 / rho(model) - K + g) / g  # of the own class against another
    return float(np.log(max(odds, 1.0)))


def row_norm(model: Model, group_size: int = 1) -> float:
    """||w_k||, of which the square is (K - 1)/K t* sqrt(n lambda_H / lambda_W). m groups: m in place of K."""
    m = model.num_classes // group_size
    scale = np.sqrt(model.samples_per_class * model.feature_decay / model.weight_decay)
    return float(np.sqrt((m - 1) / m * margin(model, group_size) * scale))


def features_over_rows(model: Model) -> float:
    """h_{k,i} = sqrt(lambda_W / (n lambda_H)) w_k."""
    return float(np.sqrt(model.weight_decay / (model.samples_per_class * model.feature_decay)))


def feature_norm(model: Model) -> float:
    """||h_{k,i}|| at the minimum."""
    return row_norm(model) * features_over_rows(model)


def simplex_rows(num_rows: int, num_features: int) -> np.ndarray:
    """m rows of norm 1 in D >= m - 1 dimensions, at equal angles: a simplex ETF."""
    U, _, _ = np.linalg.svd(np.eye(num_rows) - 1 / num_rows)
    rows = np.zeros((num_rows, num_features))
    if num_rows > 1:
        rows[:, : num_rows - 1] = U[:, :-1] * np.sqrt(num_rows / (num_rows - 1))
    return rows


def closed_form_point(model: Model, group_size: int = 1) -> np.ndarray:
    """A minimiser; with a group_size the saddle where so many classes share a row, zero where all do.

    Raises ValueError where K is no multiple of group_size, or D is below the number of groups less 1.
    """
    K, n, D = model[:3]
    if K % group_size or K // group_size - 1 > D:
        raise ValueError(f"no point of K = {K}, D = {D} and groups of {group_size} classes")
    rows = simplex_rows(K // group_size, D).repeat(group_size, axis=0)
    W = row_norm(model, group_size) * rows
    H = features_over_rows(model) * W.repeat(n, axis=0).T
    return joined(W, H, np.zeros(K))


def logits(x: np.ndarray, model: Model) -> np.ndarray:
    """Z = W H + b 1^T."""
    W, H, b = model.split(x)
    return W @ H + b[:, None]


def logit_gradient(x: np.ndarray, model: Model) -> np.ndarray:
    """The gradient of g, (softmax(Z) - Y)/N, K x N."""
    labels = model.size.labels()
    return softmax_error(logits(x, model), labels) / len(labels)


def objective(x: np.ndarray, model: Model) -> float:
    """f."""
    return cross_entropy(logits(x, model), model.size.labels()) + float(model.decays() @ x**2) / 2


def gradient(x: np.ndarray, model: Model) -> np.ndarray:
    """The gradient of f: (G H^T, W^T G, G 1) and the decays times x, G that of g."""
    (W, H, _), G = model.split(x), logit_gradient(x, model)
    return joined(G @ H.T, W.T @ G, G.sum(axis=1)) + model.decays() * x


def hessian_product(x: np.ndarray, v: np.ndarray, model: Model) -> np.ndarray:
    """The Hessian of f times v, a vector or several, one a row.

    With v = (dW, dH, db): dZ = dW H + W dH + db 1^T, and of every column dG = (diag(p) - p p^T) dZ / N.
    """
    (W, H, _), (dW, dH, db) = model.split(x), model.split(v)
    Z, G = logits(x, model), logit_gradient(x, model)
    P = np.exp(Z - Z.max(axis=0))
    P /= P.sum(axis=0)
    dZ = dW @ H + W @ dH + db[..., None]
    dG = P * (dZ - np.sum(P * dZ, axis=-2, keepdims=True)) / P.shape[1]
    of_W, of_H = dG @ H.T + G @ dH.swapaxes(-1, -2), W.T @ dG + dW.swapaxes(-1, -2) @ G
    return joined(of_W, of_H, dG.sum(axis=-1)) + model.decays() * v


def hessian(x: np.ndarray, model: Model) -> np.ndarray:
    """The Hessian of f, P x P."""
    return hessian_product(x, np.eye(len(x)), model)


def steepest_logits(x: np.ndarray, model: Model) -> float:
    """||grad g||_op. A critical point is a minimum iff it is at most sqrt(lambda_W lambda_H) there."""
    return float(np.linalg.norm(logit_gradient(x, model), 2))


def negative_direction(x: np.ndarray, model: Model) -> np.ndarray:
    """Delta = (q u a^T, -a v^T / q, 0) of a critical point with W a = 0, q = (lambda_H / lambda_W)^(1/4).

    u, v are the top singular vectors of grad g; a, of norm 1, exists where rank W < D. Along Delta the
    curvature of f is -2 (||grad g||_op - sqrt(lambda_W lambda_H)) exactly, as W a = H^T a = 0.
    """
    W, _, b = model.split(x)
    U, _, V = np.linalg.svd(logit_gradient(x, model), full_matrices=False)
    a = np.linalg.svd(W)[2][-1]
    q = (model.feature_decay / model.weight_decay) ** 0.25
    return joined(q * np.outer(U[:, 0], a), -np.outer(a, V[0]) / q, np.zeros_like(b))


def curvature_along(v: np.ndarray, x: np.ndarray, model: Model) -> float:
    """v^T (Hessian) v."""
    return float(v @ hessian_product(x, v, model))
