"""The search for critical points of the unconstrained feature model finds what is there, and no more."""

from __future__ import annotations

import numpy as np
import pytest

from collapse.theory import ufm_checks
from collapse.theory.ufm import Model, closed_form_point, gradient, minimum, objective
from collapse.theory.ufm_checks import (
    check_closed_form_point,
    check_critical_points,
    check_minimum,
    check_threshold,
    check_too_few_features,
)
from collapse.theory.ufm_critical import (
    examined,
    least_eigenvalue,
    normal_starts,
    search_critical,
    search_minimum,
    starts_near_saddles,
)

FOUND = [  # K, n, D, lambda_W, lambda_H; f, rank, then as SADDLES of test_ufm
    ((3, 1, 3, 0.05, 0.05), (0.7035186427, 1, 0.33333333, -0.2833333333, -0.5666666667, 3, 2)),
    ((3, 1, 3, 0.05, 0.05), (0.5629811166, 1, 0.15681338, -0.1068133849, -0.2136267698, 2, 2)),
    ((3, 2, 4, 0.02, 0.03), (0.4533194358, 1, 0.08189651, -0.0570489990, -0.1148032238, 3, 3)),
    ((3, 5, 4, 0.01, 0.02), (0.6352455944, 1, 0.14907120, -0.1341550275, -0.2698581258, 4, 3)),
    ((4, 1, 6, 0.05, 0.05), (0.7418213799, 2, 0.16596182, -0.1159618181, -0.2319236361, 5, 9)),
]


def model(*setting):
    return Model(*setting, bias_decay=0.01)


@pytest.fixture(scope="module")
def points():
    """Critical points of each of FOUND's models, as 30 searches find them."""
    found = {}
    for setting, _ in FOUND:
        one = model(*setting)
        if setting not in found:
            ends = [search_critical(start, one) for start in starts_near_saddles(one, count=30, seed=3141)]
            found[setting] = [examined(x, one) for x in ends if x is not None]
    return found


@pytest.mark.parametrize(("setting", "digits"), FOUND)
def test_saddles_that_only_a_search_finds(points, setting, digits):
    its = [point for point in points[setting] if abs(point.value - digits[0]) < 1e-9]
    assert its, f"no search ended at f = {digits[0]}"
    point = its[0]
    assert (point.rank, point.num_negative, point.num_zero) == (digits[1], *digits[5:])
    assert point.steepest == pytest.approx(digits[2], abs=5e-9)
    assert (point.least, point.by_lanczos, point.along_delta) == pytest.approx(
        (digits[3], digits[3], digits[4]), abs=1e-9
    )


def test_nc0_and_nc1_vanish_at_every_critical_point_and_nc2_at_minima_alone(points):
    for setting, its in points.items():
        f = minimum(model(*setting))
        for point in its:
            assert max(point.nc0, point.scatter, point.imbalance) < 1e-12
            assert point.least == pytest.approx(least_eigenvalue(model(*setting), point.steepest), abs=1e-12)
            is_minimum = point.value < f + 1e-9
            assert point.value > f - 1e-12 and (point.least < -0.01) != is_minimum
            if point.rank:
                assert (point.simplex_distance < 1e-6) == is_minimum


@pytest.mark.parametrize("setting", [(3, 2, 5, 0.02, 0.03), (4, 2, 3, 0.01, 0.05), (10, 5, 16, 0.005, 0.001)])
def test_every_start_ends_at_the_minimum(setting):
    for start in normal_starts(model(*setting), count=2, seed=1):
        x = search_minimum(start, model(*setting))
        assert objective(x, model(*setting)) == pytest.approx(minimum(model(*setting)), abs=1e-14)
        assert np.linalg.norm(gradient(x, model(*setting))) < 1e-11


def test_two_features_are_too_few_for_four_classes():
    one = model(4, 2, 2, 0.01, 0.05)
    found = min(objective(search_minimum(start, one), one) for start in normal_starts(one, count=4, seed=1))
    assert found == pytest.approx(0.471611856915, abs=1e-10) and found > minimum(one)
    assert [row["verdict"] for row in check_too_few_features(one, starts=2, seed=1)] == ["holds"]
    assert [
        row["verdict"] for row in check_too_few_features(model(4, 2, 3, 0.01, 0.05), starts=1, seed=1)
    ] == ["fails"]


def test_checks_of_minima_and_threshold_hold():
    small = {"starts": 2, "seed": 1}
    rows = [
        *check_minimum(model(4, 2, 4, 0.01, 0.05), **small),
        *check_minimum(model(3, 1, 3, 0.4, 0.3), **small),
    ]
    rows += check_threshold(num_classes=3, samples_per_class=2, **small)
    assert [row["verdict"] for row in rows] == ["holds"] * 14


def test_checks_see_wrong_theory(monkeypatch):
    """Closed forms with a digit changed, a rank-one saddle called a minimum, decays exchanged."""
    one = model(4, 2, 4, 0.01, 0.05)
    monkeypatch.setattr(ufm_checks, "minimum", lambda *arguments: minimum(*arguments) * (1 + 1e-8))
    verdicts = {row["check"]: row["verdict"] for row in check_minimum(one, starts=1, seed=1)}
    assert verdicts["f*"] == "fails" and verdicts["margin t*"] == "holds"
    monkeypatch.setattr(ufm_checks, "closed_form_point", lambda *_: closed_form_point(one, 2))
    verdicts = {row["check"]: row["verdict"] for row in check_closed_form_point(one, group_size=4)}
    assert verdicts["f"] == verdicts["negative eigenvalues"] == "fails"
    monkeypatch.setattr(ufm_checks, "least_eigenvalue", lambda m, s: least_eigenvalue(m, s) + 1e-6)
    verdicts = {row["check"]: row["verdict"] for row in check_critical_points(one, searches=8, seed=1)}
    assert verdicts["smallest eigenvalue: deviation"] == "fails" and verdicts["NC0"] == "holds"
