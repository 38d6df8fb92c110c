"""zhu_table_11: minima and saddles of the unconstrained feature model, each with checks against a search.

`ufm_theory_table` has a row a check; `print_ufm_theory` a row a statement and model. The theorems are those
of Zhu et al. 2021 (arXiv 2105.02375), see docs/zhu-2021.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypedDict

import pandas as pd

from collapse.paper.optimizer_theory_table import print_statements
from collapse.theory import ufm_checks, ufm_relative_checks
from collapse.theory.theorem_checks import Check
from collapse.theory.trained_features import Size
from collapse.theory.ufm import Model, rho

STATEMENTS = {
    "Minimum": "Theorem 3.1: from every start the same minimum, a simplex, in closed form",
    "Minimum, zero": "rho = sqrt(n lambda_W lambda_H) >= 1/K: the minimum is zero",
    "Threshold": "lambda_W = lambda_H: the minimum is zero from 1/(K sqrt(n)) on",
    "Too few features": "D < K - 1: no minimum is a simplex",
    "Saddle": "K/g groups of g classes with a common row: a saddle in closed form",
    "Critical points": "NC0 = NC1 = 0 at each, NC2 = 0 at minima alone; theorem 3.2: the others are saddles",
    "Fixed head": "Last layer fixed to a simplex: the minimum in closed form",
    "Squared loss": "An orthogonal frame instead of a simplex: NC0 = sqrt(K) ||w_k||",
    "Linear factors": "Squared loss on a product of M factors: the minimum in closed form",
}


class ModelSetting(TypedDict):
    """K, n, D, lambda_W and lambda_H; the decay of the bias is one for all."""

    num_classes: int
    samples_per_class: int
    num_features: int
    weight_decay: float
    feature_decay: float


class ThresholdSetting(TypedDict):
    """K and n."""

    num_classes: int
    samples_per_class: int


class SaddleSetting(TypedDict):
    """A model, and how many classes share a row at its saddle; K: the point zero."""

    num_classes: int
    samples_per_class: int
    num_features: int
    weight_decay: float
    feature_decay: float
    group_size: int


class RelativesSetting(TypedDict):
    """K, n and D of the fixed head, the squared loss and the products, one decay of all, and the Ms."""

    num_classes: int
    samples_per_class: int
    num_features: int
    weight_decay: float
    num_factors: Sequence[int]


Found = tuple[str, str, Check]  # statement, model, check


def ufm_theory_table(
    *,
    minima: Sequence[ModelSetting],
    thresholds: Sequence[ThresholdSetting],
    saddles: Sequence[SaddleSetting],
    critical_points: Sequence[ModelSetting],
    relatives: RelativesSetting,
    bias_decay: float,
    starts: int,
    searches: int,
    seed: int,
) -> pd.DataFrame:
    """Every check of every statement.

    minima: models whose minimum is searched from `starts` random starts, also those with D < K - 1.
    thresholds: sizes at which it is searched at equal decays a hundredth below and above 1/(K sqrt(n)).
    saddles: those in closed form. critical_points: models of which critical points of whatever kind are
    searched, `searches` times. relatives: of the three models with another head or loss.

    Columns: statement, model, check, predicted, relation ("=", "<=" or ">="), simulated, deviation (relative;
    of several starts the largest; NaN for bounds), verdict ("holds" or "fails").
    """
    how = {"starts": starts, "seed": seed}
    found = [
        *_on_minima([Model(**model, bias_decay=bias_decay) for model in minima], how),
        *_on_thresholds(thresholds, how),
        *_on_saddles(saddles, bias_decay=bias_decay),
        *_on_critical_points(
            [Model(**model, bias_decay=bias_decay) for model in critical_points], searches=searches, seed=seed
        ),
        *_on_relatives(relatives, how),
    ]
    rows = [{"statement": statement, "model": model} | check for statement, model, check in found]
    table = pd.DataFrame(rows)
    order = table["statement"].map(list(STATEMENTS).index)
    return table.iloc[order.argsort(kind="stable")].reset_index(drop=True)


def _on_minima(models: Sequence[Model], how: dict[str, int]) -> Iterator[Found]:
    for model in models:
        if model.num_features < model.num_classes - 1:
            statement, check = "Too few features", ufm_checks.check_too_few_features
        else:
            is_zero = rho(model) >= 1 / model.num_classes
            statement, check = "Minimum, zero" if is_zero else "Minimum", ufm_checks.check_minimum
        yield from ((statement, named(model), row) for row in check(model, **how))


def _on_thresholds(thresholds: Sequence[ThresholdSetting], how: dict[str, int]) -> Iterator[Found]:
    for size in thresholds:
        name = f"K {size['num_classes']}, n {size['samples_per_class']}, D {size['num_classes']}"
        yield from (("Threshold", name, row) for row in ufm_checks.check_threshold(**size, **how))


def _on_saddles(saddles: Sequence[SaddleSetting], *, bias_decay: float) -> Iterator[Found]:
    for setting in saddles:
        of_model = {name: value for name, value in setting.items() if name != "group_size"}
        model, group_size = Model(**of_model, bias_decay=bias_decay), setting["group_size"]
        name = "zero" if group_size == model.num_classes else f"g = {group_size}"
        rows = ufm_checks.check_closed_form_point(model, group_size=group_size)
        yield from (("Saddle", f"{named(model)}; {name}", row) for row in rows)


def _on_critical_points(models: Sequence[Model], *, searches: int, seed: int) -> Iterator[Found]:
    for model in models:
        rows = ufm_checks.check_critical_points(model, searches=searches, seed=seed)
        yield from (("Critical points", named(model), row) for row in rows)


def _on_relatives(relatives: RelativesSetting, how: dict[str, int]) -> Iterator[Found]:
    checks, decay = ufm_relative_checks, relatives["weight_decay"]
    size = Size(relatives["num_classes"], relatives["num_features"], relatives["samples_per_class"])
    name = f"K {size.num_classes}, n {size.samples_per_class}, D {size.num_features}; lambda {decay:g}"
    fixed = checks.check_fixed_head(size, feature_decay=decay, **how)
    yield from (("Fixed head", name, row) for row in fixed)
    squared = checks.check_squared_loss(size, weight_decay=decay, feature_decay=decay, **how)
    yield from (("Squared loss", name, row) for row in squared)
    for num_factors in relatives["num_factors"]:
        rows = checks.check_product(size, num_factors=num_factors, weight_decay=decay, **how)
        yield from (("Linear factors", name, row) for row in rows)


def named(model: Model) -> str:
    """ "K 3, n 1, D 3; lambda_W 0.05, lambda_H 0.05"."""
    K, n, D, of_W, of_H, _ = model
    return f"K {K}, n {n}, D {D}; lambda_W {of_W:g}, lambda_H {of_H:g}"


def print_ufm_theory(table: pd.DataFrame) -> pd.DataFrame:
    """`ufm_theory_table` for eyes: the checks of a statement and a model in one row, in Greek."""
    return print_statements(table, STATEMENTS, by="model", checks="Predicted, found")
