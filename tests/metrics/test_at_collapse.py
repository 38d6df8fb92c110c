"""Values at collapse, and the best attainable ones where no simplex exists."""

import math

import numpy as np
import pytest

from collapse.metrics.at_collapse import has_simplex, values_at_collapse
from collapse.metrics.class_statistics import class_statistics
from collapse.metrics.conventions import CONVENTIONS, measure_all

SIZES = {"num_classes": 12, "num_features": 4}


def tight_frame(num_classes, num_features):
    """Equally long rows with mean zero and orthogonal columns: sines and cosines of whole frequencies."""
    angles = 2 * np.pi * np.outer(np.arange(num_classes), np.arange(1, num_features // 2 + 1)) / num_classes
    return np.hstack([np.cos(angles), np.sin(angles)])


def collapsed(rows, *, weight=None):
    labels = np.repeat(np.arange(len(rows)), 3)
    return {
        "features_ND": rows[labels], "labels_N": labels, "weight_KD": rows if weight is None else weight,
        "bias_K": None, "test_features": rows, "test_labels": np.arange(len(rows)),
    }  # fmt: skip


@pytest.mark.parametrize("convention", sorted(set(CONVENTIONS) - {"jacot"}))
def test_a_tight_frame_attains_the_best_values(convention):
    statistics = class_statistics(**collapsed(tight_frame(12, 4)), extended=True)
    values = measure_all(statistics, convention=convention)
    best = values_at_collapse(convention=convention, **SIZES)
    unknown = {name for name, value in best.items() if math.isnan(value)}
    assert unknown <= {"NC2a", "NC2Wa", "GNC2"}
    compared = best.keys() - unknown - {"NC1_test"}  # there is a sample of each class alone in the test set
    assert {name: values[name] for name in compared} == pytest.approx(
        {name: best[name] for name in compared}, abs=1e-12
    )


def test_nothing_is_better_than_the_attainable_distance():
    best = values_at_collapse(convention="reported", **SIZES)
    assert best["NC2"] == pytest.approx(math.sqrt(2 - 2 * math.sqrt(4 / 11)))
    rng = np.random.default_rng(0)
    for spread in (0.0, 0.01, 0.3, 2.0):
        rows = tight_frame(12, 4) + spread * rng.normal(size=(12, 4))
        data = collapsed(rows, weight=tight_frame(12, 4) + spread * rng.normal(size=(12, 4)))
        values = measure_all(class_statistics(**data), convention="reported")
        for name in ("NC2", "NC2W", "NC2M"):
            assert values[name] >= best[name] - 1e-12


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_with_a_simplex_the_values_do_not_depend_on_the_width(convention):
    few = values_at_collapse(convention=convention, num_classes=5, num_features=4)
    assert few == values_at_collapse(convention=convention, num_classes=5, num_features=512)
    assert not any(math.isnan(value) for value in few.values())


def test_where_a_simplex_is():
    assert has_simplex(5, 4) and not has_simplex(6, 4)
    narrow = values_at_collapse(convention="further", num_classes=1000, num_features=512)
    assert narrow["stable_rank_W"] == 512 and math.isnan(narrow["GNC2"])
    assert values_at_collapse(convention="further", num_classes=2, num_features=9)["GNC2"] == -math.log(2)
