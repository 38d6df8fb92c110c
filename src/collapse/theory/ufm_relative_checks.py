"""Checks of the minima of the unconstrained feature model's relatives against L-BFGS from random starts.

The closed forms are those of collapse.theory.ufm_closed_forms; rows as those of
collapse.theory.theorem_checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from collapse.metrics.neural_collapse import nc0
from collapse.theory.theorem_checks import Check, compare
from collapse.theory.trained_features import Size
from collapse.theory.ufm import simplex_rows
from collapse.theory.ufm_checks import EXACT, farthest
from collapse.theory.ufm_closed_forms import (
    factors_of,
    fixed_head_minimum,
    fixed_head_objective,
    fixed_head_scale,
    product_objective,
    product_singular_value,
    product_value,
    squared_loss_minimum,
    squared_loss_row_norm,
)
from collapse.theory.ufm_critical import lbfgs

OF_LBFGS = 1e-6  # of a parameter, where the search is L-BFGS alone; f itself is EXACT


def ends(objective: Callable, *, num_parameters: int, starts: int, seed: int) -> list[np.ndarray]:
    """Where L-BFGS ends from normal starts."""
    rng = np.random.default_rng(seed)
    return [lbfgs(objective, rng.normal(size=num_parameters)) for _ in range(starts)]


def check_fixed_head(size: Size, *, feature_decay: float, starts: int, seed: int) -> Iterator[Check]:
    """W fixed to the simplex of rows of norm 1: f*, and ||h_ki|| = h."""
    K, D, n = size
    how = {"weight_KD": simplex_rows(K, D), "labels_N": size.labels(), "feature_decay": feature_decay}
    objective = partial(fixed_head_objective, **how)
    found = ends(objective, num_parameters=D * n * K, starts=starts, seed=seed)
    model = {"num_classes": K, "samples_per_class": n, "feature_decay": feature_decay}
    f, h = fixed_head_minimum(**model), fixed_head_scale(**model)
    yield compare("f*", f, farthest([objective(x)[0] for x in found], f), tolerance=EXACT)
    norms = np.linalg.norm(np.reshape(found, (starts, D, -1)), axis=1).ravel()
    yield compare("||h_ki||", h, farthest(norms, h), tolerance=OF_LBFGS)


def check_squared_loss(
    size: Size, *, weight_decay: float, feature_decay: float, starts: int, seed: int
) -> Iterator[Check]:
    """Squared loss, no bias: an orthogonal frame, whose NC0 is sqrt(K) w and not 0."""
    K, D, n = size
    shapes, decays = [(D, n * K), (K, D)], (feature_decay, weight_decay)
    found, values = of_product(size, shapes, decays, starts=starts, seed=seed)
    f = squared_loss_minimum(num_classes=K, rho=(n * weight_decay * feature_decay) ** 0.5)
    yield compare("f*", f, farthest(values, f), tolerance=EXACT)
    model = {"num_classes": K, "samples_per_class": n}
    w = squared_loss_row_norm(**model, weight_decay=weight_decay, feature_decay=feature_decay)
    heads = [factors_of(x, shapes)[-1] for x in found]
    yield compare("NC0", K**0.5 * w, farthest([nc0(head) for head in heads], K**0.5 * w), tolerance=OF_LBFGS)
    condition = max(float(np.linalg.cond(head)) for head in heads)
    yield compare("condition number of W", 1.0, condition, tolerance=OF_LBFGS)


def check_product(
    size: Size, *, num_factors: int, weight_decay: float, starts: int, seed: int
) -> Iterator[Check]:
    """Squared loss on a product of M factors: f*, and the singular values of the product."""
    K, D, n = size
    shapes = [(D, n * K), *[(D, D)] * (num_factors - 2), (K, D)]
    found, values = of_product(size, shapes, [weight_decay] * num_factors, starts=starts, seed=seed)
    model = {"num_classes": K, "samples_per_class": n, "num_factors": num_factors}
    sigma = product_singular_value(**model, weight_decay=weight_decay)
    f = product_value(sigma, **model, weight_decay=weight_decay)
    at = f"M = {num_factors}:"
    yield compare(f"{at} f*", f, farthest(values, f), tolerance=EXACT)
    products = [np.linalg.multi_dot(factors_of(x, shapes)[::-1]) for x in found]
    singular = np.ravel([np.linalg.svd(product, compute_uv=False) for product in products])
    yield compare(f"{at} singular values", sigma, farthest(singular, sigma), tolerance=OF_LBFGS)


def of_product(
    size: Size, shapes: Sequence[tuple[int, int]], decays: Sequence[float], *, starts: int, seed: int
) -> tuple[list[np.ndarray], list[float]]:
    """The ends of the searches in a product of factors, and f there."""
    objective = partial(product_objective, shapes=shapes, labels_N=size.labels(), decays=decays)
    num_parameters = sum(rows * columns for rows, columns in shapes)
    found = ends(objective, num_parameters=num_parameters, starts=starts, seed=seed)
    return found, [objective(x)[0] for x in found]
