"""Checks of theorems 3.1 and 3.2 of Zhu et al. 2021 (arXiv 2105.02375) against searches in float64.

What is predicted is in closed form (collapse.theory.ufm); what is simulated is found from random starts
(collapse.theory.ufm_critical). Rows as those of collapse.theory.theorem_checks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from collapse.metrics.neural_collapse import etf_distance, gram, nc0
from collapse.theory.theorem_checks import Check, compare
from collapse.theory.ufm import (
    Model,
    closed_form_point,
    feature_norm,
    features_over_rows,
    gradient,
    margin,
    minimum,
    objective,
    rho,
    row_norm,
    steepest_logits,
    threshold,
)
from collapse.theory.ufm_critical import (
    CriticalPoint,
    examined,
    least_eigenvalue,
    normal_starts,
    num_rotations,
    search_critical,
    search_minimum,
    starts_near_saddles,
)

EXACT = 1e-9  # of a relative deviation in float64, and of what is zero
APART = 0.01  # what is no rounding: of a value above f*, as a share of it; of a distance from a simplex
MOST, FEW = 0.9, 3  # of the searches; of values of f: zero, and two saddles or a saddle and the minimum
MOST_PARAMETERS = 600  # of which all eigenvalues of the Hessian are computed
BOUND = {"relation": "<=", "tolerance": 0.0}


def farthest(values: Sequence[float], predicted: float) -> float:
    """Of the values that which deviates most."""
    return max(values, key=lambda value: abs(value - predicted))


def check_minimum(model: Model, *, starts: int, seed: int) -> Iterator[Check]:
    """Theorem 3.1: from every start the same minimum, a simplex with NC0 = NC1 = 0; of each the worst."""
    found = [search_minimum(start, model) for start in normal_starts(model, count=starts, seed=seed)]
    yield compare("f*", minimum(model), worst_value(found, model), tolerance=EXACT)
    if rho(model) >= 1 / model.num_classes:
        yield compare("largest parameter", EXACT, max(float(np.abs(x).max()) for x in found), **BOUND)
        return
    W, H, b = map(np.stack, zip(*(model.split(x) for x in found), strict=True))
    Z = W @ H + b[..., None]
    own = model.size.labels()[None] == np.arange(model.num_classes)[:, None]
    margins = (np.where(own, Z, -np.inf).max(axis=-2, keepdims=True) - Z)[:, ~own]
    of_w, of_h = np.linalg.norm(W, axis=-1), np.linalg.norm(H, axis=-2)
    for name, predicted, values in (
        ("margin t*", margin(model), margins),
        ("||w_k||", row_norm(model), of_w),
        ("||h_ki||", feature_norm(model), of_h),
    ):
        yield compare(name, predicted, farthest(values.ravel(), predicted), tolerance=EXACT)
    dual = H - features_over_rows(model) * W.repeat(model.samples_per_class, axis=-2).swapaxes(-1, -2)
    yield compare("h_ki - sqrt(lambda_W/(n lambda_H)) w_k", EXACT, float(np.abs(dual).max()), **BOUND)
    yield compare("distance of W W^T from a simplex", EXACT, max(etf_distance(gram(w)) for w in W), **BOUND)
    yield compare("NC0", EXACT, max(map(nc0, W)), **BOUND)
    yield compare("largest |b|", EXACT, float(np.abs(b).max()), **BOUND)
    slopes = [steepest_logits(x, model) for x in found]
    certificate = (model.weight_decay * model.feature_decay) ** 0.5
    name = "certificate: ||grad g||_op"
    yield compare(name, certificate, farthest(slopes, certificate), tolerance=EXACT)
    if model.num_parameters <= MOST_PARAMETERS:
        points = [examined(x, model) for x in found]
        zeros = [point.num_zero for point in points if point.num_negative == 0]
        predicted = num_rotations(model)
        worst = farthest(zeros, predicted) if len(zeros) == starts else None
        yield compare("zero eigenvalues, the others positive", predicted, worst, tolerance=0.0)


def worst_value(found: Sequence[np.ndarray], model: Model) -> float:
    """Of the values of f that which deviates most from f*."""
    return farthest([objective(x, model) for x in found], minimum(model))


def check_too_few_features(model: Model, *, starts: int, seed: int) -> Iterator[Check]:
    """D < K - 1: no simplex fits, and all that is found lies above f*."""
    found = [search_minimum(start, model) for start in normal_starts(model, count=starts, seed=seed)]
    excess = min(objective(x, model) for x in found) / minimum(model) - 1
    yield compare("smallest f found, f/f* - 1", APART, excess, relation=">=", tolerance=0.0)


def check_threshold(*, num_classes: int, samples_per_class: int, starts: int, seed: int) -> Iterator[Check]:
    """lambda_W = lambda_H = lambda: at 1.01/(K sqrt(n)) the minimum found is zero, at 0.99 of that not."""
    edge = threshold(num_classes=num_classes, samples_per_class=samples_per_class)
    sizes = []
    for share in (0.99, 1.01):
        decay = share * edge
        model = Model(num_classes, samples_per_class, num_classes, decay, decay, decay)
        found = [search_minimum(start, model) for start in normal_starts(model, count=starts, seed=seed)]
        sizes.append([float(np.linalg.norm(model.split(x)[0])) for x in found])
        if share < 1:
            predicted = num_classes**0.5 * row_norm(model)
    name = "||W|| at lambda ="
    yield compare(f"{name} 0.99/(K sqrt(n))", predicted, farthest(sizes[0], predicted), tolerance=EXACT)
    yield compare(f"{name} 1.01/(K sqrt(n))", EXACT, max(sizes[1]), **BOUND)


def check_closed_form_point(model: Model, *, group_size: int) -> Iterator[Check]:
    """A saddle in closed form, K/group_size groups of classes with a common row; zero where all have one."""
    x, K, n = closed_form_point(model, group_size), model.num_classes, model.samples_per_class
    point = examined(x, model)
    yield compare("||grad f||", EXACT, float(np.linalg.norm(gradient(x, model))), **BOUND)
    yield compare("f", minimum(model, group_size), point.value, tolerance=EXACT)
    yield compare("||grad g||_op", 1 / (K * n**0.5), point.steepest, tolerance=EXACT)
    yield from check_curvature(point, model)
    if group_size == K and rho(model) < 1 / K:
        name = "negative eigenvalues"
        yield compare(name, model.num_features * (K - 1), point.num_negative, tolerance=0.0)


def check_curvature(point: CriticalPoint, model: Model) -> Iterator[Check]:
    """The smallest eigenvalue and the curvature along Delta, in closed form of ||grad g||_op."""
    least = least_eigenvalue(model, point.steepest)
    yield compare("smallest eigenvalue", least, point.least, tolerance=EXACT)
    yield compare("smallest eigenvalue, by Lanczos", least, point.by_lanczos, tolerance=EXACT)
    along = along_delta(point, model)
    yield compare("curvature along Delta", along, point.along_delta, tolerance=EXACT)


def along_delta(point: CriticalPoint, model: Model) -> float:
    """-2 (||grad g||_op - sqrt(lambda_W lambda_H))."""
    return -2 * (point.steepest - (model.weight_decay * model.feature_decay) ** 0.5)


def check_critical_points(model: Model, *, searches: int, seed: int) -> Iterator[Check]:
    """Theorem 3.2, and what is so at every critical point: NC0 = 0, NC1 = 0, balance; of each the worst."""
    starts = starts_near_saddles(model, count=searches, seed=seed)
    found = [x for start in starts if (x := search_critical(start, model)) is not None]
    points = [examined(x, model) for x in found]
    least = {"relation": ">=", "tolerance": 0.0}
    yield compare("share of searches that end at one", MOST, len(found) / searches, **least)
    values = {round(point.value, 8) for point in points}
    yield compare("values of f among them", FEW, len(values), **least)
    yield compare("NC0", EXACT, max(point.nc0 for point in points), **BOUND)
    yield compare("scatter within a class", EXACT, max(point.scatter for point in points), **BOUND)
    name = "lambda_W W^T W - lambda_H H H^T"
    yield compare(name, EXACT, max(point.imbalance for point in points), **BOUND)
    highest = max(point.rank for point in points)
    yield compare("rank of W", model.num_classes - 1, highest, **BOUND)
    saddles = [point for point in points if point.value > minimum(model) * (1 + EXACT)]
    share = float(np.mean([point.least < 0 for point in saddles])) if saddles else None
    yield compare("share of those above f* that are saddles", 1.0, share, tolerance=0.0)
    distances = [point.simplex_distance for point in saddles if point.rank]
    if distances:
        name = "distance of W W^T from a simplex at saddles but zero"
        yield compare(name, APART, min(distances), **least)
    lanczos = max(abs(point.by_lanczos - point.least) for point in points)
    yield compare("smallest eigenvalue: Lanczos - dense", EXACT, lanczos, **BOUND)
    with_null = [point for point in points if point.rank < model.num_features]
    for name, off in (
        ("smallest eigenvalue", lambda point: point.least - least_eigenvalue(model, point.steepest)),
        ("curvature along Delta", lambda point: point.along_delta - along_delta(point, model)),
    ):
        yield compare(f"{name}: deviation", EXACT, max(abs(off(point)) for point in with_null), **BOUND)
