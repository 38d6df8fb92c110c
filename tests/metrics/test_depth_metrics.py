"""Metrics of a point: streamed in two sweeps against a direct computation on all features at once."""

import numpy as np
import pytest
import torch
from test_class_statistics import CASES, example, rows_with_singular_values

from collapse.metrics import depth_sweeps
from collapse.metrics.class_statistics import class_statistics
from collapse.metrics.conventions import jacot_nc1
from collapse.metrics.depth import POINT_METRICS, measure_point
from collapse.metrics.depth_sweeps import SecondSweep, covariance_eigenvalues, first_sweep, gram_eigenvalues
from collapse.metrics.neural_collapse import nc1, nc2

K = 10


def streamed(features, labels, test_features=None, test_labels=None, *, batch=37, gram=False, num_classes=K):
    features, labels = torch.from_numpy(features).double(), torch.from_numpy(labels)
    parts = list(zip(features.split(batch), labels.split(batch), strict=True))
    first = first_sweep(parts[0][0], num_classes)
    for part in parts:
        first.add(*part)
    second = SecondSweep(first)
    for part in parts:
        second.add(*part)
    if test_features is not None:
        second.add_test(torch.from_numpy(test_features).double(), torch.from_numpy(test_labels))
    values = gram_eigenvalues(features) if gram else covariance_eigenvalues(first)
    return second.statistics(values)


def nearest(features, labels, means):
    distances = ((features[:, None] - means) ** 2).sum(2)
    return (distances.argmin(1) == labels).mean()


def direct(features, labels, test_features, test_labels):
    """Every metric from N x D features, as its definition reads."""
    means = np.stack([features[labels == k].mean(0) for k in range(K)])
    within = np.cov((features - means[labels]).T, bias=True)
    centred = means - means.mean(0)
    between = centred.T @ centred / K
    gram = centred @ centred.T
    simplex = (np.eye(K) - 1 / K) / np.sqrt(K - 1)
    values = np.linalg.eigvalsh(np.cov(features.T, bias=True))
    return {
        "NCC_train": nearest(features, labels, means),
        "NCC_test": nearest(test_features, test_labels, means),
        "within_over_between": np.trace(within) / np.trace(between),
        "NC1": np.trace(within @ np.linalg.pinv(between, rcond=1e-12)) / K,
        "NC2": np.linalg.norm(gram / np.linalg.norm(gram) - simplex),
        "numerical_rank": (values > 1e-3 * values.max()).sum(),
        "stable_rank": values.sum() / values.max(),
    }


def arrays(name, **settings):
    made = example(name, **settings)
    return [made[each] for each in ("features_ND", "labels_N", "test_features", "test_labels")]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("counts", [(50,) * K, tuple(range(20, 20 + 5 * K, 5))])
def test_streamed_equals_direct(name, counts):
    data = arrays(name, counts=counts)
    found, expected = measure_point(streamed(*data)), direct(*data)
    assert found == pytest.approx(expected, rel=1e-7 if name == "shifted" else 1e-9)
    assert list(found) == list(POINT_METRICS)


def test_the_batches_change_roundings_alone():
    data = arrays("ordinary")
    one, other = (measure_point(streamed(*data, batch=batch)) for batch in (1, 1000))
    assert one == pytest.approx(other, rel=1e-10)


def test_where_a_last_layer_is_the_projects_own_metrics_agree():
    made = example("ordinary")
    statistics = class_statistics(**made)
    found = measure_point(streamed(made["features_ND"], made["labels_N"]))
    assert found["NC1"] == pytest.approx(nc1(statistics), rel=1e-10)
    assert found["NC2"] == pytest.approx(nc2(statistics), rel=1e-10)
    assert found["within_over_between"] == pytest.approx(jacot_nc1(statistics), rel=1e-10)
    assert np.isnan(found["NCC_test"]), "without a test set"


def test_separable_and_collapsed():
    """A simplex with next to no scatter: every sample is nearest to its class's mean, of K - 1 directions."""
    rng = np.random.default_rng(0)
    means, labels = rows_with_singular_values(rng, np.full(K - 1, 3.0), 40), np.repeat(np.arange(K), 30)
    features = means[labels] + 1e-6 * rng.normal(size=(len(labels), 40))
    found = measure_point(streamed(features, labels, features, labels))
    assert found["NCC_train"] == found["NCC_test"] == 1
    assert found["numerical_rank"] == K - 1
    assert found["stable_rank"] == pytest.approx(K - 1, rel=1e-5)
    assert found["within_over_between"] < 1e-10 and found["NC1"] < 1e-10 and found["NC2"] < 1e-5


def test_the_gram_matrix_has_the_same_rank():
    """More dimensions than samples, and more than are taken at once."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 12)) @ rng.normal(size=(12, 5000)) + 1000
    labels = np.arange(60) % K
    whole = np.linalg.svd(features - features.mean(0), compute_uv=False) ** 2 / 60
    statistics = streamed(features, labels, gram=True)
    assert statistics.eigenvalues_E[:12] == pytest.approx(whole[:12], rel=1e-9)
    assert measure_point(statistics)["numerical_rank"] == 12
    assert depth_sweeps.MOST_SCATTERED < 5000
    assert first_sweep(torch.from_numpy(features), K).scatter_DD is None, "no D x D matrix"


def test_a_dead_point_has_no_numbers_where_there_are_none():
    labels = np.arange(40) % K
    found = measure_point(streamed(np.zeros((40, 12)), labels, np.zeros((40, 12)), labels))
    assert np.isnan([found["within_over_between"], found["NC2"], found["stable_rank"]]).all()
    assert found["NC1"] == np.inf and found["numerical_rank"] == 0
    assert found["NCC_train"] == found["NCC_test"] == 0.1, "the first class's"


def test_a_point_of_few_dimensions_has_an_infinite_nc1():
    """Eight dimensions hold no simplex of ten classes; all else is a number."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(K), 20)
    features = rng.normal(size=(K, 8))[labels] + 0.1 * rng.normal(size=(len(labels), 8))
    found = measure_point(streamed(features, labels, features, labels))
    assert found.pop("NC1") == np.inf
    assert np.isfinite(list(found.values())).all()


def test_means_that_coincide_have_an_infinite_ratio():
    features = np.array([[1.0, 0], [-1, 0]] * 2 * K)
    labels = np.repeat(np.arange(K), 4)
    found = measure_point(streamed(features, labels))
    assert found["within_over_between"] == found["NC1"] == np.inf and np.isnan(found["NC2"])
    assert found["numerical_rank"] == found["stable_rank"] == 1
