"""A search for the minima and saddles of the unconstrained feature model, and what each of them is like.

Theorems 3.1 and 3.2 of Zhu et al. 2021 (arXiv 2105.02375) say what there is to find; the search knows nothing
of that. The model, its shapes and its vector of parameters are those of collapse.theory.ufm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares, minimize
from scipy.sparse.linalg import LinearOperator, eigsh, minres

from collapse.metrics.neural_collapse import etf_distance, gram, nc0
from collapse.theory.ufm import (
    Model,
    curvature_along,
    features_over_rows,
    gradient,
    hessian,
    hessian_product,
    joined,
    negative_direction,
    objective,
    steepest_logits,
)

LBFGS = {"maxiter": 50_000, "maxfun": 100_000, "maxcor": 30, "ftol": 0.0, "gtol": 1e-9}
NEWTON_STEPS = 5
STATIONARY = 1e-10  # the norm of a gradient that counts as none
FLAT = 1e-8  # an eigenvalue of the Hessian that counts as none
RANK = 1e-8  # a singular value of W that counts as none
KRYLOV = 40  # vectors of Lanczos: zero may be an eigenvalue many times over


class CriticalPoint(NamedTuple):
    """What theorem 3.2 speaks of, at one critical point.

    value: f. steepest: ||grad g||_op. least: the smallest eigenvalue of the Hessian, of all its eigenvalues;
    by_lanczos: the same from Hessian-vector products alone. along_delta: the curvature along Delta
    (`ufm.negative_direction`), NaN where rank W = D. num_negative, num_zero: of the eigenvalues.
    nc0: ||W^T 1||. simplex_distance: of W W^T, NaN where W = 0. scatter: the largest distance of a feature's
    entry from its class's mean. imbalance: the largest entry of lambda_W W^T W - lambda_H H H^T.
    """

    value: float
    rank: int
    steepest: float
    least: float
    by_lanczos: float
    along_delta: float
    num_negative: int
    num_zero: int
    nc0: float
    simplex_distance: float
    scatter: float
    imbalance: float


def search_minimum(start: np.ndarray, model: Model) -> np.ndarray:
    """The end of L-BFGS from `start`, then of Newton's method on the Hessian's range.

    MINRES has the solution of smallest norm: nothing moves along the rotations, which leave f as it is.
    """
    x = lbfgs(partial(value_and_gradient, model=model), start)
    slope = gradient(x, model)
    for _ in range(NEWTON_STEPS):
        step, _ = minres(shifted_hessian(x, model, shift=0.0), slope, rtol=1e-12, maxiter=2000)
        new_slope = gradient(x - step, model)
        if np.linalg.norm(new_slope) >= np.linalg.norm(slope):
            break
        x, slope = x - step, new_slope
    return x


def lbfgs(function: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray) -> np.ndarray:
    """Where L-BFGS ends, of a function that gives its value and gradient."""
    return minimize(function, start, jac=True, method="L-BFGS-B", options=LBFGS).x


def value_and_gradient(x: np.ndarray, model: Model) -> tuple[float, np.ndarray]:
    """f and its gradient."""
    return objective(x, model), gradient(x, model)


def shifted_hessian(x: np.ndarray, model: Model, *, shift: float) -> LinearOperator:
    """The Hessian plus a multiple of the identity, as what it does to a vector."""
    return LinearOperator(
        (len(x),) * 2, matvec=lambda v: hessian_product(x, v, model) + shift * v, dtype=float
    )


def search_critical(start: np.ndarray, model: Model) -> np.ndarray | None:
    """A critical point of whatever kind: least squares on the gradient, with the Hessian for its Jacobian.

    None where these end at a least gradient that is not zero.
    """
    tight = {"method": "lm", "xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15, "max_nfev": 2000}
    x = least_squares(gradient, start, jac=hessian, args=(model,), **tight).x
    return x if np.linalg.norm(gradient(x, model)) <= STATIONARY else None


def normal_starts(model: Model, *, count: int, seed: int) -> Iterator[np.ndarray]:
    """Normal parameters of variance one."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield rng.normal(size=model.num_parameters)


def starts_near_saddles(model: Model, *, count: int, seed: int) -> Iterator[np.ndarray]:
    """Weights of rank 1 to K - 1 with features along them, and noise; every fourth normal alone.

    From normal starts nearly all searches end at zero.
    """
    rng, (K, n, D) = np.random.default_rng(seed), model[:3]
    for number in range(count):
        scale, noise = 10 ** rng.uniform(-0.5, 0.5, size=2), rng.normal(size=model.num_parameters)
        if number % 4 == 3:
            yield 10 ** rng.uniform(-1.5, 0.5) * noise
            continue
        rank = min(1 + number % (K - 1), D)
        W = scale[0] * rng.normal(size=(K, rank)) @ np.linalg.qr(rng.normal(size=(D, rank)))[0].T
        H = scale[1] * features_over_rows(model) * W.repeat(n, axis=0).T
        yield joined(W, H, np.zeros(K)) + 0.1 * noise


def examined(x: np.ndarray, model: Model) -> CriticalPoint:
    """All that a check asks of a critical point."""
    W, H, _ = model.split(x)
    values = np.linalg.eigvalsh(hessian(x, model))
    rank = int(np.sum(np.linalg.svd(W, compute_uv=False) > RANK))
    of_classes = H.reshape(model.num_features, model.num_classes, -1)
    balance = model.weight_decay * W.T @ W - model.feature_decay * H @ H.T
    return CriticalPoint(
        value=objective(x, model),
        rank=rank,
        steepest=steepest_logits(x, model),
        least=float(values[0]),
        by_lanczos=least_by_lanczos(x, model),
        along_delta=curvature_along(negative_direction(x, model), x, model)
        if rank < model.num_features
        else np.nan,
        num_negative=int(np.sum(values < -FLAT)),
        num_zero=int(np.sum(np.abs(values) <= FLAT)),
        nc0=nc0(W),
        simplex_distance=etf_distance(gram(W)) if rank else np.nan,
        scatter=float(np.abs(of_classes - of_classes.mean(axis=-1, keepdims=True)).max()),
        imbalance=float(np.abs(balance).max()),
    )


def least_by_lanczos(x: np.ndarray, model: Model) -> float:
    """The smallest eigenvalue of the Hessian, which is never formed.

    Of the Hessian less the identity, plus 1: ARPACK's tolerance is a share of the eigenvalue, which may be 0.
    """
    shifted = shifted_hessian(x, model, shift=-1.0)
    how = {"v0": np.random.default_rng(0).normal(size=len(x)), "ncv": min(len(x), KRYLOV)}
    return 1 + float(eigsh(shifted, k=1, which="SA", return_eigenvectors=False, **how)[0])


def least_eigenvalue(model: Model, steepest: float) -> float:
    """The Hessian's smallest eigenvalue at a critical point with rank W < D, as found at every one.

    With s = ||grad g||_op the block of the Hessian on u a^T and a v^T (`ufm.negative_direction`) is
    ((lambda_W, s), (s, lambda_H)), so that

        (lambda_W + lambda_H)/2 - sqrt((lambda_W - lambda_H)^2 / 4 + s^2)

    is an eigenvalue: lambda - s where both decays are lambda, 0 at the minimum. A shift of b by a constant
    has lambda_b.
    """
    W, H, b = model.weight_decay, model.feature_decay, model.bias_decay
    return min((W + H) / 2 - float(np.hypot((W - H) / 2, steepest)), b)


def num_rotations(model: Model) -> int:
    """(K - 1) D - K (K - 1)/2, the zero eigenvalues at the minimum; all others are positive there."""
    K, D = model.num_classes, model.num_features
    return (K - 1) * D - K * (K - 1) // 2
