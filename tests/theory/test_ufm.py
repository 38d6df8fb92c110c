"""The unconstrained feature model (Zhu et al. 2021): minimum, saddles and curvature to the digits derived."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from collapse.metrics.neural_collapse import etf_distance, gram, nc0
from collapse.theory.trained_features import Size
from collapse.theory.ufm import (
    Model,
    closed_form_point,
    curvature_along,
    feature_norm,
    gradient,
    hessian,
    hessian_product,
    margin,
    minimum,
    negative_direction,
    objective,
    rho,
    row_norm,
    simplex_rows,
    steepest_logits,
    threshold,
)
from collapse.theory.ufm_closed_forms import (
    fixed_head_minimum,
    fixed_head_scale,
    product_singular_value,
    product_value,
    squared_loss_minimum,
    squared_loss_row_norm,
)
from collapse.theory.ufm_critical import examined, num_rotations
from collapse.theory.ufm_relative_checks import check_fixed_head, check_product, check_squared_loss

BIAS_DECAY = 0.01


def model(num_classes, samples_per_class, num_features, weight_decay, feature_decay):
    return Model(num_classes, samples_per_class, num_features, weight_decay, feature_decay, BIAS_DECAY)


MINIMA = [  # K, n, D, lambda_W, lambda_H; f*, t*, ||w||, ||h||
    ((3, 1, 3, 0.05, 0.05), (0.394397691447, 2.8903717579, 1.3881334609, 1.3881334609)),
    ((3, 2, 5, 0.02, 0.03), (0.299800461181, 3.2909178787, 1.9493651906, 1.1254665175)),
    ((4, 1, 4, 0.05, 0.05), (0.587500931106, 2.8332133441, 1.4577071064, 1.4577071064)),
    ((4, 2, 4, 0.01, 0.05), (0.417882470030, 3.3542027856, 2.8204947088, 0.8919187408)),
    ((4, 2, 3, 0.01, 0.05), (0.417882470030, 3.3542027856, 2.8204947088, 0.8919187408)),  # D = K - 1
    ((4, 5, 6, 0.01, 0.01), (0.319721988032, 3.7310132171, 2.5014194738, 1.1186687967)),
    ((10, 5, 16, 0.005, 0.001), (0.282396242764, 5.2522734280, 2.1741771053, 2.1741771053)),
    ((10, 100, 10, 5e-4, 1e-5), (0.052509934164, 7.2479445719, 3.0372894761, 2.1476879850)),
]
SADDLES = [  # and classes a group; f, ||grad g||_op, smallest eigenvalue, along Delta, how many < 0 and = 0
    ((3, 1, 3, 0.05, 0.05), 3, (1.0986122887, 1 / 3, -0.2833333333, -0.5666666667, 6, 0)),
    ((4, 2, 4, 0.01, 0.05), 4, (1.3862943611, 0.17677670, -0.1479044687, -0.3088320310, 12, 0)),
    ((4, 2, 5, 0.01, 0.05), 2, (0.9289531090, 0.17677670, -0.1479044687, -0.3088320310, 10, 4)),
    ((4, 5, 6, 0.01, 0.01), 2, (0.8758161521, 0.11180340, -0.1018033989, -0.2036067977, 12, 5)),
    ((6, 2, 7, 0.01, 0.01), 2, (0.9497769465, 0.11785113, -0.1078511302, -0.2157022604, 21, 11)),
    ((3, 1, 3, 0.4, 0.3), 3, (1.0986122887, 1 / 3, BIAS_DECAY, 0.0261536564, 0, 0)),  # rho > 1/K
]


@pytest.fixture
def somewhere():
    """A model, a point of it that is not critical, and a direction."""
    one, rng = model(4, 3, 5, 0.02, 0.03), np.random.default_rng(0)
    return one, *rng.normal(size=(2, one.num_parameters))


def with_torch(x, one):
    """f from PyTorch's cross-entropy, for its derivatives."""
    K, n, D = one[:3]
    W, H, b = x.split([K * D, D * K * n, K])
    logits = (W.view(K, D) @ H.view(D, -1)).T + b
    labels = torch.from_numpy(one.size.labels())
    squares = sum(decay * part.square().sum() for decay, part in zip(one[3:], (W, H, b), strict=True))
    return torch.nn.functional.cross_entropy(logits, labels) + squares / 2


def test_objective_gradient_and_hessian_are_those_of_autograd(somewhere):
    one, x, v = somewhere
    flat = torch.from_numpy(x)
    assert objective(x, one) == pytest.approx(with_torch(flat, one).item(), rel=1e-13)
    expected = torch.autograd.functional.jacobian(lambda y: with_torch(y, one), flat).numpy()
    np.testing.assert_allclose(gradient(x, one), expected, rtol=1e-11, atol=1e-14)
    expected = torch.autograd.functional.hessian(lambda y: with_torch(y, one), flat).numpy()
    np.testing.assert_allclose(hessian(x, one), expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(hessian_product(x, v, one), expected @ v, rtol=1e-10, atol=1e-12)
    assert curvature_along(v, x, one) == pytest.approx(v @ expected @ v, rel=1e-11)


@pytest.mark.parametrize(("setting", "digits"), MINIMA)
def test_the_minimum(setting, digits):
    one = model(*setting)
    found = minimum(one), margin(one), row_norm(one), feature_norm(one)
    assert found == pytest.approx(digits, rel=1e-9, abs=1e-10)
    x = closed_form_point(one)
    assert objective(x, one) == pytest.approx(minimum(one), abs=1e-14)
    assert np.abs(gradient(x, one)).max() < 1e-15
    assert steepest_logits(x, one) == pytest.approx((one.weight_decay * one.feature_decay) ** 0.5, rel=1e-12)
    W, H, _ = one.split(x)
    assert nc0(W) < 1e-14 and etf_distance(gram(W)) < 1e-14
    assert np.linalg.norm(H, axis=0) == pytest.approx(digits[3], rel=1e-9)


def test_zero_is_the_minimum_from_the_threshold_on():
    one = model(3, 1, 3, 0.4, 0.3)
    assert rho(one) > 1 / 3
    assert minimum(one) == pytest.approx(np.log(3)) and margin(one) == row_norm(one) == feature_norm(one) == 0
    edge = threshold(num_classes=10, samples_per_class=1000)
    assert edge == pytest.approx(0.0031622777, abs=1e-10)
    below, above = (Model(10, 1000, 64, share * edge, share * edge, 0.0) for share in (0.999, 1.001))
    assert row_norm(below) > 0 and row_norm(above) == 0 and minimum(above) == pytest.approx(np.log(10))


@pytest.mark.parametrize(("setting", "group_size", "digits"), SADDLES)
def test_saddles_in_closed_form(setting, group_size, digits):
    one = model(*setting)
    x = closed_form_point(one, group_size)
    assert np.linalg.norm(gradient(x, one)) < 1e-15
    assert minimum(one, group_size) == pytest.approx(digits[0], abs=1e-10)
    point = examined(x, one)
    assert (point.value, point.least, point.along_delta) == pytest.approx(
        (digits[0], *digits[2:4]), abs=1e-10
    )
    assert point.steepest == pytest.approx(digits[1], abs=5e-9)
    assert point.by_lanczos == pytest.approx(point.least, abs=1e-12)
    assert (point.num_negative, point.num_zero) == digits[4:]
    assert point.nc0 < 1e-14 and point.scatter < 1e-15, "NC0 and NC1 vanish at a saddle too"
    v = negative_direction(x, one)
    q = (one.feature_decay / one.weight_decay) ** 0.5
    assert v @ v == pytest.approx(q + 1 / q, rel=1e-12)


@pytest.mark.parametrize(("K", "D", "count"), [(3, 3, 3), (3, 5, 7), (4, 4, 6), (4, 6, 12)])
def test_at_the_minimum_nothing_but_rotations_is_flat(K, D, count):
    one = model(K, 2, D, 0.02, 0.03)
    point = examined(closed_form_point(one), one)
    assert point.num_zero == num_rotations(one) == count and point.num_negative == 0
    assert point.rank == K - 1 and point.simplex_distance < 1e-14


def test_a_point_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="groups of 3 classes"):
        closed_form_point(model(4, 1, 4, 0.05, 0.05), 3)
    with pytest.raises(ValueError, match="D = 2"):
        closed_form_point(model(4, 1, 2, 0.05, 0.05))


def test_simplex_rows_are_one_in_any_dimension():
    for num_rows, num_features in ((4, 3), (4, 9), (1, 2)):
        products = simplex_rows(num_rows, num_features) @ simplex_rows(num_rows, num_features).T
        expected = (np.eye(num_rows) - 1 / num_rows) * num_rows / max(num_rows - 1, 1)
        np.testing.assert_allclose(products, expected, atol=1e-14)


def test_the_relatives():
    for K, n, decay, scale, f in (
        (4, 5, 0.01, 1.65495936, 0.5592323946),
        (10, 10, 0.005, 1.43577, 1.5540898628),
    ):
        one = {"num_classes": K, "samples_per_class": n, "feature_decay": decay}
        assert fixed_head_scale(**one) == pytest.approx(scale, abs=2e-8)
        assert fixed_head_minimum(**one) == pytest.approx(f, abs=1e-10)
    size = {"num_classes": 4, "samples_per_class": 5}
    assert squared_loss_minimum(num_classes=4, rho=5e-4**0.5) == pytest.approx(0.0854427191, abs=1e-10)
    w = squared_loss_row_norm(**size, weight_decay=0.01, feature_decay=0.01)
    assert (w**2, 2 * w) == pytest.approx((2.03606798, 2.853817), abs=1e-6)
    assert squared_loss_minimum(num_classes=4, rho=0.3) == 0.5
    for M, sigma, f in (
        (2, 2.136068, 0.04372136),
        (3, 2.158692, 0.05070762),
        (4, 2.168155, 0.05935984),
    ):
        one = size | {"num_factors": M, "weight_decay": 0.005}
        found = product_singular_value(**one)
        assert (found, product_value(found, **one)) == pytest.approx((sigma, f), abs=1e-6)
    strong = size | {"num_factors": 3, "weight_decay": 0.5}
    assert product_singular_value(**strong) == 0, "zero is lower"


def test_a_search_finds_the_relatives_minima():
    size, how = Size(4, 5, 3), {"starts": 2, "seed": 1}
    rows = [
        *check_fixed_head(size, feature_decay=0.01, **how),
        *check_squared_loss(size, weight_decay=0.01, feature_decay=0.02, **how),
        *check_product(size, num_factors=3, weight_decay=0.005, **how),
    ]
    assert [row["verdict"] for row in rows] == ["holds"] * 7
    few = check_squared_loss(Size(4, 3, 3), weight_decay=0.01, feature_decay=0.02, **how)
    assert next(few)["verdict"] == "fails", "D = K - 1 has no orthogonal frame"
