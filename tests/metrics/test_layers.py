"""The metrics of dense layers written out, in their limits, and the bounds of Jacot et al. 2024."""

import math

import numpy as np
import pytest
import torch
from numpy.linalg import norm

from collapse.metrics.class_statistics import class_statistics
from collapse.metrics.conventions import measure_all
from collapse.metrics.layer_sweep import layer_statistics
from collapse.metrics.layers import (
    balancedness,
    from_arrays,
    imbalance,
    layer_nc1,
    layer_nc2,
    means_rank,
    nc1_bound,
    nc2_bound,
    nc3_bound,
    negativity,
    to_arrays,
)

K, SIZES, RELU = 4, (6, 9, 8, 7), 2  # two ReLU layers, two linear ones and the head
LABELS = np.arange(22) % K  # classes of six and of five


def weights_and_inputs(seed=0):
    rng = np.random.default_rng(seed)
    shapes = zip((*SIZES[1:], 7, K), (*SIZES, 7), strict=True)
    weights = [rng.normal(size=shape) / shape[1] ** 0.5 for shape in shapes]
    return weights, rng.normal(size=(len(LABELS), SIZES[0])) + 2 * rng.normal(size=(K, SIZES[0]))[LABELS]


def swept(weights, inputs, labels=LABELS, *, relu_layers=RELU, batch=7):
    batches = zip(torch.from_numpy(inputs).split(batch), torch.from_numpy(labels).split(batch), strict=True)
    tensors = [torch.from_numpy(weight) for weight in weights]
    return layer_statistics(tensors, batches, relu_layers=relu_layers, num_classes=K)


def forward(weights, inputs):
    """Z_l and h_l of every layer."""
    outputs, features, values = [], [], inputs
    for number, weight in enumerate(weights):
        outputs.append(values @ weight.T)
        values = np.maximum(outputs[-1], 0) if number < RELU else outputs[-1]
        features.append(values)
    return outputs, features


def of_class(number):
    return np.flatnonzero(np.equal(LABELS, number))


def class_means(values):
    return np.stack([values[of_class(k)].mean(axis=0) for k in range(K)])


def test_statistics_written_out():
    weights, inputs = weights_and_inputs()
    found, (outputs, features) = swept(weights, inputs), forward(weights, inputs)
    assert (found.num_layers, found.relu_layers, found.linear_layers) == (5, 2, 3)
    labels_KN = np.eye(K)[LABELS]
    for number, (Z, h) in enumerate(zip(outputs, features, strict=True)):
        means = class_means(h)
        np.testing.assert_allclose(found.means[number], means, atol=1e-14)
        within = [np.mean(np.sum((h[of_class(k)] - means[k]) ** 2, axis=1)) for k in range(K)]
        np.testing.assert_allclose(found.within_trace_LK[number], within, rtol=1e-12)
        assert found.output_norm_L[number] == pytest.approx(norm(Z, 2))
        assert found.negative_norm_L[number] == pytest.approx(norm(Z - np.maximum(Z, 0), 2))
        assert found.feature_norm_L[number] == pytest.approx(norm(h, 2))
    for number in range(4):
        upper, lower = weights[number + 1], weights[number]
        assert found.imbalance_norm_L[number] == pytest.approx(norm(upper.T @ upper - lower @ lower.T, 2))
    assert np.isnan(found.imbalance_norm_L[4]) and np.isnan(found.cosine_L[0])
    products = [weights[4] @ weights[3] @ weights[2], weights[4] @ weights[3], weights[4], np.eye(K)]
    for rows, h, cosine in zip(products, features[1:], found.cosine_L[1:], strict=True):
        own = rows[LABELS]
        each = np.sum(own * h, axis=1) / norm(own, axis=1) / norm(h, axis=1)
        assert cosine == pytest.approx(each.mean())
    np.testing.assert_allclose(found.product_values_K, np.linalg.svd(products[0])[1])
    errors = outputs[-1] - labels_KN
    assert (found.error, found.error_norm) == pytest.approx((norm(errors), norm(errors, 2)))
    inverse = np.linalg.pinv(weights[-1])
    assert found.inverse_distance == pytest.approx(norm(features[-2] - (inverse @ labels_KN.T).T))
    beside = (np.eye(7) - inverse @ weights[-1]) @ weights[-2]
    assert found.beside_head == pytest.approx(norm(beside) ** 2)


def test_batches_change_nothing_and_a_file_holds_all():
    weights, inputs = weights_and_inputs()
    one, other = swept(weights, inputs), swept(weights, inputs, batch=22)
    for name, array in to_arrays(one).items():
        np.testing.assert_allclose(array, to_arrays(other)[name], rtol=1e-11, err_msg=name)
    again = from_arrays(to_arrays(one))
    assert again.error == one.error and again.relu_layers == 2
    assert all((ours == theirs).all() for ours, theirs in zip(again.means, one.means, strict=True))
    arrays = to_arrays(one)
    del arrays["means_2"], arrays["error"]
    with pytest.raises(ValueError, match="missing or unknown arrays: error, means_2, means_5"):
        from_arrays(arrays)


def test_of_the_heads_input_they_are_those_of_the_last_layers_features():
    """NC1 and NC3 of the convention `jacot`, on classes of different sizes."""
    weights, inputs = weights_and_inputs()
    found, (_, features) = swept(weights, inputs), forward(weights, inputs)
    statistics = class_statistics(
        features_ND=features[-2], labels_N=LABELS, weight_KD=weights[-1], bias_K=None,
        test_features=None, test_labels=None,
    )  # fmt: skip
    known = measure_all(statistics, convention="jacot")
    assert layer_nc1(found.means[3], found.within_trace_LK[3], found.counts_K) == pytest.approx(known["NC1"])
    assert layer_nc2(found.means[3]) == pytest.approx(known["NC2"])
    assert found.cosine_L[3] == pytest.approx(known["NC3"])


def test_at_collapse():
    """Balanced layers and an orthogonal frame: NC1 = 0, NC2 = NC3 = 1, and the bounds are met."""
    weights = [np.eye(7, 6), np.eye(7), np.eye(7), np.eye(K, 7)]
    inputs = np.eye(6)[LABELS]
    found = swept(weights, inputs, relu_layers=1)
    assert layer_nc1(found.means[2], found.within_trace_LK[2], found.counts_K) == 0
    assert layer_nc2(found.means[2]) == pytest.approx(1)
    np.testing.assert_allclose(found.cosine_L, 1)
    assert found.error == 0 and found.inverse_distance == pytest.approx(0, abs=1e-12)
    norms = found.negative_norm_L, found.output_norm_L
    assert [negativity(*pair) for pair in zip(*norms, strict=True)] == [0, 0, 0, 0]
    bounds = {"counts_K": found.counts_K, "inverse_distance": found.inverse_distance}
    assert nc2_bound(found.head_values_K, **bounds) == pytest.approx(1)
    assert nc3_bound(found.head_values_K, **bounds) == pytest.approx(1)


def test_balancedness_is_that_of_the_product():
    rng = np.random.default_rng(0)
    root, turned = rng.normal(size=(K, K)), np.linalg.qr(rng.normal(size=(7, K)))[0]
    lower = turned @ root  # 7 x K
    upper = np.linalg.qr(rng.normal(size=(K, K)))[0] @ (turned @ np.linalg.cholesky(root @ root.T)).T
    assert norm(imbalance(upper, lower)) < 1e-12
    scaled = norm(imbalance(2 * upper, lower), 2), norm(2 * upper, 2), norm(lower, 2)
    assert balancedness(*scaled) == pytest.approx(3)
    assert balancedness(1.0, 1.0, 0.0) == math.inf and math.isnan(balancedness(0.0, 1.0, 0.0))


def test_negativity_is_one_where_a_relu_leaves_nothing():
    weights, inputs = weights_and_inputs()
    weights[0] = -np.abs(weights[0])
    found = swept(weights, np.abs(inputs))
    assert negativity(found.negative_norm_L[0], found.output_norm_L[0]) == pytest.approx(1)
    assert math.isnan(negativity(found.negative_norm_L[1], found.output_norm_L[1]))  # Z_2 = 0


def test_rank_deficient_means_have_an_infinite_nc2_and_a_rank():
    means = np.outer(np.arange(1.0, K + 1), [1.0, 2.0, 0.0, 1.0, 3.0])
    means[2] += [0, 0, 1, 0, 0]
    assert layer_nc2(means) == math.inf and means_rank(means) == 2
    assert math.isnan(layer_nc2(np.zeros((K, 5)))) and means_rank(np.zeros((K, 5))) == 0
    assert layer_nc1(np.ones((K, 5)), np.ones(K), np.full(K, 3)) == math.inf
    assert math.isnan(layer_nc1(np.ones((K, 5)), np.zeros(K), np.full(K, 3)))


def test_of_zero_weights_everything_is_a_number_or_says_that_it_is_none():
    """A network that fell to zero: the loss is 1/2, no metric is 0 by accident."""
    weights, inputs = weights_and_inputs()
    found = swept([0 * weight for weight in weights], inputs)
    assert found.error**2 / (2 * len(LABELS)) == pytest.approx(0.5)
    assert math.isnan(layer_nc2(found.means[3]))
    assert math.isnan(layer_nc1(found.means[3], found.within_trace_LK[3], found.counts_K))
    bounds = {"counts_K": found.counts_K, "inverse_distance": found.inverse_distance}
    assert nc2_bound(found.head_values_K, **bounds) == math.inf
    assert nc3_bound(found.head_values_K, **bounds) == -1


def bounds_of(found, *, layer=-2):
    """NC1, NC2, NC3 of the head's input and their bounds."""
    scale = {"counts_K": found.counts_K, "inverse_distance": found.inverse_distance}
    nc1 = layer_nc1(found.means[layer], found.within_trace_LK[layer], found.counts_K)
    bound = nc1_bound(
        counts_K=found.counts_K, error=found.error, error_norm=found.error_norm,
        head_norm=found.weight_norm_L[-1], feature_norm=found.feature_norm_L[-2],
        input_norm=found.feature_norm_L[-3], beside_head=found.beside_head,
    )  # fmt: skip
    return (
        (nc1, bound),
        (layer_nc2(found.means[layer]), nc2_bound(found.head_values_K, **scale)),
        (found.cosine_L[layer], nc3_bound(found.head_values_K, **scale)),
    )


@pytest.mark.parametrize("seed", range(20))
def test_the_bounds_hold_near_and_far_from_a_fit(seed):
    """Linear layers that fit the labels up to noise, imbalanced by more or less; unequal classes."""
    rng = np.random.default_rng(seed)
    size, beside = 10 ** rng.uniform(-4, -1, size=2)
    head = rng.normal(size=(K, 6))
    before = np.linalg.pinv(head) @ rng.normal(size=(K, 5)) + beside * rng.normal(size=(6, 5))
    wanted = np.linalg.pinv(head @ before) @ np.eye(K)[LABELS].T  # h_1 that gives Y
    inputs = (wanted + size * rng.normal(size=wanted.shape)).T
    found = swept([np.eye(5), before, head], inputs, relu_layers=0)
    (nc1, most), (nc2, most_nc2), (nc3, least) = bounds_of(found)
    assert nc1 <= most and nc2 <= most_nc2 and nc3 >= least


def test_the_bound_of_nc1_is_not_loose_by_much_where_only_the_imbalance_is():
    """Zero error and one direction beside the head: NC1 within the factors of norms."""
    head = np.eye(K, K + 1)
    before = np.eye(K + 1)
    inputs = np.concatenate(
        [np.eye(K)[LABELS], 0.1 * np.resize(K * [1] + K * [-1], len(LABELS))[:, None]], axis=1
    )
    (nc1, bound), *_ = bounds_of(swept([np.eye(K + 1), before, head], inputs, relu_layers=0))
    assert nc1 < bound < 200 * nc1
    no_bound = swept([np.eye(K + 1), before, 0.001 * head], inputs, relu_layers=0)
    assert bounds_of(no_bound)[0][1] == math.inf  # no fit


def test_a_sample_on_the_other_side_is_why_nc3s_bound_stops_at_zero():
    """All samples at -0.01 w: NC3 is -1, and 1 - pi/2 times the relative distance would be no bound."""
    rows = np.eye(K)
    distance = norm(-0.01 * rows[LABELS] - rows[LABELS])
    values, counts = np.ones(K), np.bincount(LABELS)
    assert 1 - np.pi / 2 * distance / len(LABELS) ** 0.5 > -0.6
    assert nc3_bound(values, counts_K=counts, inverse_distance=distance) == -1
