"""The metrics: closed forms, invariances, a float64 gold, and how the conventions are related."""

import math

import numpy as np
import pytest
import torch

from collapse.metrics.at_collapse import values_at_collapse
from collapse.metrics.class_statistics import class_statistics
from collapse.metrics.conventions import CONVENTIONS, alpha, measure_all
from collapse.metrics.neural_collapse import (
    DIAGNOSTICS,
    METRICS,
    nc0,
    nc0_normalised,
    singular_values,
    singular_values_M,
    singular_values_W,
)

K, D, SAMPLES = 10, 32, 12
COLUMNS = ["NC0", "NC0_normalised", "NC1", "NC2", "NC2W", "NC2M", "NC2n", "NC2a", "NC2Wn", "NC2Wa"]
COLUMNS += ["NC3", "NC4"]
OF_WEIGHTS_ALONE = {"NC0", "NC0_normalised", "NC2W", "NC2Wn", "NC2Wa"}


def rotation(rng, width=D):
    return np.linalg.qr(rng.normal(size=(width, width))).Q


def simplex(rng, *, num_classes=K, width=D, length=2.0):
    """The K vertices of a simplex ETF with mean zero, as rows of the given length."""
    vertices = np.eye(num_classes) - 1 / num_classes
    vertices *= length / np.linalg.norm(vertices[0])
    return vertices @ rotation(rng, width)[:num_classes]


def rows_with_singular_values(rng, values, width=D):
    """Centred rows whose singular values are the given K - 1."""
    num_classes = len(values) + 1
    left = np.linalg.qr(np.hstack([np.ones((num_classes, 1)), rng.normal(size=(num_classes,) * 2)]))
    return left.Q[:, 1:num_classes] * values @ rotation(rng, width)[: len(values)]


def scatter(rng, counts, width=D):
    """Noise whose mean over each class is zero, and the labels."""
    labels = np.repeat(np.arange(len(counts)), counts)
    noise = [rng.normal(size=(count, width)) for count in counts]
    return np.vstack([rows - rows.mean(0) for rows in noise]), labels


def problem(*, means=None, weight=None, noise=0.5, counts=(SAMPLES,) * K, seed=0):
    """Arguments of class_statistics: class means, noise around them, weights near the means."""
    rng = np.random.default_rng(seed)
    means = simplex(rng) + 0.7 * rng.normal(size=(K, D)) if means is None else means
    around, labels = scatter(rng, counts, means.shape[1])
    test_labels = rng.integers(0, len(means), 200)
    spread = 3 * noise * rng.normal(size=(200, means.shape[1]))
    return {
        "features_ND": means[labels] + noise * around,
        "labels_N": labels,
        "weight_KD": means + rng.normal(size=means.shape) if weight is None else weight,
        "bias_K": rng.normal(size=len(means)),
        "test_features": means[test_labels] + spread,
        "test_labels": test_labels,
    }


def measured(data, *, convention="reported"):
    return measure_all(class_statistics(**data, extended=True), convention=convention)


def mapped(data, function):
    return data | {name: function(data[name]) for name in ("features_ND", "test_features")}


def test_the_reported_metrics_are_the_papers_columns_in_order():
    assert list(METRICS) == COLUMNS
    assert list(measured(problem())) == [*COLUMNS, "condition_number", "effective_rank"]


@pytest.mark.parametrize("num_classes", [2, 3, 10])
@pytest.mark.parametrize("shift", [0.0, 5.0])
def test_an_exact_simplex_with_dual_weights_is_perfect_collapse(num_classes, shift):
    """Proposition 2.1, for any scale of W and any common mean of the features."""
    means = simplex(np.random.default_rng(1), num_classes=num_classes)
    unequal, equal = tuple(range(3, 3 + num_classes)), (5,) * num_classes
    for convention in ("reported", "appendix", "papyan", "zhu", "cdnv", "further"):
        # Collapse does not ask for balance, but for what is about the mean of the samples.
        counts = equal if convention in ("zhu", "further") else unequal
        data = problem(means=means, weight=0.3 * means, noise=0.0, counts=counts)
        data = mapped(data, lambda features: features + shift / D)
        data["bias_K"] = -0.3 * means @ np.full(D, shift / D)  # W mu_G + b is the same for all classes
        values = measured(data, convention=convention)
        wanted = values_at_collapse(convention=convention, num_classes=num_classes, num_features=D)
        if shift and convention in ("reported", "appendix"):
            # NC4 leaves the bias out, so that a common mean of the features moves the logits.
            values["NC4"] = wanted["NC4"]
        if shift and convention == "further":  # unit features of a shifted simplex are none
            values["GNC3"] = wanted["GNC3"]
        assert values == pytest.approx(wanted, abs=1e-12)


def test_jacot_has_its_own_collapse():
    """Class means that are orthogonal, not centred, and equal to the weight rows."""
    means = 2 * rotation(np.random.default_rng(2))[:K]
    values = measured(problem(means=means, weight=means, noise=0.0), convention="jacot")
    assert values == pytest.approx(values_at_collapse(convention="jacot", num_classes=K, num_features=D))


def test_nc3_bounds_nc0():
    """Why NC2 and NC3 zero force NC0 zero: M 1 = 0, so ||W^T 1|| <= sqrt(K) ||W||_F NC3."""
    for seed in range(20):
        data = problem(seed=seed)
        weight = data["weight_KD"] = data["weight_KD"] + seed * 0.1
        values = measured(data)
        assert 0 < values["NC0"] <= math.sqrt(K) * np.linalg.norm(weight) * values["NC3"]


def test_nc2w_zero_forces_nc0_zero_but_not_the_converse():
    rng = np.random.default_rng(3)
    tight = measured(problem(weight=simplex(rng)))
    assert tight["NC2W"] == pytest.approx(0, abs=1e-12) == tight["NC0"]
    centred = measured(problem(weight=rows_with_singular_values(rng, np.arange(1.0, K))))
    assert centred["NC0"] == pytest.approx(0, abs=1e-12)
    assert centred["NC2W"] > 0.1


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_a_rotation_of_feature_space_changes_nothing(convention):
    data = problem()
    turn = rotation(np.random.default_rng(4))
    turned = mapped(data, lambda features: features @ turn)
    turned["weight_KD"] = data["weight_KD"] @ turn
    before = measured(data, convention=convention)
    assert measured(turned, convention=convention) == pytest.approx(before, rel=1e-9)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_order_of_classes_and_samples_changes_nothing(convention):
    data, rng = problem(counts=tuple(range(4, 4 + K))), np.random.default_rng(5)
    order, renamed = rng.permutation(len(data["labels_N"])), rng.permutation(K)
    shuffled = data | {
        "features_ND": data["features_ND"][order],
        "labels_N": renamed[data["labels_N"]][order],
        "weight_KD": data["weight_KD"][np.argsort(renamed)],
        "bias_K": data["bias_K"][np.argsort(renamed)],
        "test_labels": renamed[data["test_labels"]],
    }
    before = measured(data, convention=convention)
    assert measured(shuffled, convention=convention) == pytest.approx(before, rel=1e-9)


def test_the_scale_of_features_changes_no_reported_metric():
    data = problem()
    for factor in (1e-3, 700.0):
        scaled = mapped(data, lambda features, factor=factor: factor * features)
        assert measured(scaled) == pytest.approx(measured(data), rel=1e-9)


def test_the_scale_of_weights_changes_nc0_in_proportion_and_nothing_else():
    data = problem()
    before = measured(data)
    after = measured(data | {"weight_KD": 7 * data["weight_KD"]})
    assert after.pop("NC0") == pytest.approx(7 * before.pop("NC0"))
    assert after == pytest.approx(before, rel=1e-9)


def test_papyans_nc4_sees_the_bias_and_so_the_scale():
    data = problem(noise=2.0)
    tiny = measured(data | {"weight_KD": 1e-3 * data["weight_KD"]}, convention="papyan")
    assert tiny["NC4"] > measured(data, convention="papyan")["NC4"]


def test_a_translation_of_features_changes_nc4_and_jacots_metrics_alone():
    data = problem()
    shifted = mapped(data, lambda features: features + 3.0)
    before, after = measured(data), measured(shifted)
    assert after.pop("NC4") != before.pop("NC4")
    assert after == pytest.approx(before, rel=1e-9)
    before, after = (measured(each, convention="jacot") for each in (data, shifted))
    assert after["NC1"] == pytest.approx(before["NC1"])
    assert after["NC2"] != pytest.approx(before["NC2"], rel=0.1)
    assert after["NC3"] != pytest.approx(before["NC3"], rel=0.1)


def test_nc1_is_the_square_of_the_noise():
    first = measured(problem(noise=0.5))["NC1"]
    for noise in (1e-6, 1e-3, 0.1, 2.0, 100.0):
        values = measured(problem(noise=noise))
        assert values["NC1"] == pytest.approx(first * (noise / 0.5) ** 2, rel=1e-8)


def test_distances_grow_with_the_distance_from_collapse():
    rng = np.random.default_rng(6)
    corner, away, other = simplex(rng), rng.normal(size=(K, D)), rng.normal(size=(K, D))
    steps = [
        measured(problem(means=corner + t * away, weight=corner + t * other))
        for t in (0.0, 0.03, 0.1, 0.3, 1.0)
    ]
    for name in set(COLUMNS) - {"NC1", "NC4"} | {"condition_number"}:
        values = [step[name] for step in steps]
        assert values == sorted(set(values)), name


def test_nc4_falls_as_test_features_blur():
    means = simplex(np.random.default_rng(7))
    weight = means + 0.8 * np.random.default_rng(8).normal(size=means.shape)
    shares = [measured(problem(means=means, weight=weight, noise=t))["NC4"] for t in (0, 0.1, 0.5)]
    assert shares[0] == 1 > shares[1] > shares[2] > 0


def gold_nc1(features, labels, *, rank):
    """(1/K) Tr(Sigma_W Sigma_B^+) in float64, Sigma_B^+ = K (M^+)^T M^+ at the given rank."""
    features = features.astype(np.float64)
    means = np.array([features[labels == k].mean(0) for k in range(K)])
    u, s, vt = np.linalg.svd((means - means.mean(0)).T, full_matrices=False)
    pseudo_inverse = (vt[:rank].T / s[:rank]) @ u[:, :rank].T
    return np.sum(((features - means[labels]) @ pseudo_inverse.T) ** 2) / len(features)


def float32_nc1(features, labels):
    """The usual implementation: float32 covariances and torch.linalg.pinv."""
    features, labels = torch.tensor(features, dtype=torch.float32), torch.tensor(labels)
    means = torch.stack([features[labels == k].mean(0) for k in range(K)])
    centred, residuals = means - means.mean(0), features - means[labels]
    within, between = residuals.T @ residuals / len(features), centred.T @ centred / K
    return torch.trace(within @ torch.linalg.pinv(between)).item() / K


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", ["ordinary", "shifted", "collapsed", "nearly rank one"])
def test_nc1_is_exact_where_float32_is_silently_wrong(case, dtype):
    rng, width = np.random.default_rng(9), 512
    spectrum = np.array([1000.0] + [1.0] * (K - 2))
    means, noise = {
        "ordinary": (3 * rng.normal(size=(K, width)), 1.0),
        "shifted": (3 * rng.normal(size=(K, width)) + 1000, 1.0),
        "collapsed": (simplex(rng, width=width), 1e-3),
        "nearly rank one": (rows_with_singular_values(rng, spectrum, width), 0.5),
    }[case]
    data = problem(means=means, noise=noise)
    data["features_ND"] = data["features_ND"].astype(dtype)
    expected = gold_nc1(data["features_ND"], data["labels_N"], rank=K - 1)
    values = measured(data)
    assert values["NC1"] == pytest.approx(expected, rel=1e-10)
    usual = float32_nc1(data["features_ND"], data["labels_N"])
    if case == "nearly rank one":
        assert values["condition_number"] == pytest.approx(1000, rel=1e-3)
        assert usual < expected / 1e5
    elif case != "shifted":
        assert usual == pytest.approx(expected, rel=1e-2)


def test_class_means_of_rank_one():
    rng = np.random.default_rng(10)
    means = np.outer(np.arange(K) - (K - 1) / 2, rng.normal(size=D))
    values = measured(problem(means=means, noise=0.1))
    assert values["NC2"] == pytest.approx(math.sqrt(2 - 2 / math.sqrt(K - 1)), rel=1e-9)
    assert values["NC2"] == pytest.approx(1.1547, abs=1e-4)
    assert values["effective_rank"] == pytest.approx(1, rel=1e-9)
    assert values["NC1"] == values["condition_number"] == math.inf


def test_lost_directions_make_nc1_infinite_and_tiny_ones_do_not():
    rng = np.random.default_rng(11)
    for smallest, infinite in ((0.0, True), (1e-16, True), (1e-10, False), (1e-6, False)):
        spectrum = np.array([1.0] * (K - 2) + [smallest])
        values = measured(problem(means=rows_with_singular_values(rng, spectrum), noise=1e-7))
        assert math.isinf(values["NC1"]) == math.isinf(values["condition_number"]) == infinite
        if not infinite:
            assert values["condition_number"] == pytest.approx(1 / smallest, rel=1e-4)


def test_diagnostics_of_a_given_spectrum():
    spectrum = np.array([8.0, 4.0, 2.0] + [1.0] * (K - 4))
    means = rows_with_singular_values(np.random.default_rng(12), spectrum)
    statistics = class_statistics(**problem(means=means + 4))
    values = measure_all(statistics, convention="reported")
    shares = spectrum / spectrum.sum()
    assert values["condition_number"] == pytest.approx(8)
    assert values["effective_rank"] == pytest.approx(math.exp(-shares @ np.log(shares)))
    np.testing.assert_allclose(singular_values_M(statistics), [*spectrum, 0], atol=1e-12)


def test_singular_values_are_k_and_descending_even_below_k_features():
    data = problem(means=np.random.default_rng(13).normal(size=(K, 4)))
    statistics = class_statistics(**data)
    for values in (singular_values_W(statistics), singular_values_M(statistics)):
        assert values.shape == (K,)
        assert list(values) == sorted(values, reverse=True)
        assert not values[4:].any()
    np.testing.assert_array_equal(singular_values(data["weight_KD"]), singular_values_W(statistics))
    values = measure_all(statistics, convention="reported")
    assert values["NC1"] == pytest.approx(gold_nc1(data["features_ND"], data["labels_N"], rank=4))
    assert math.isfinite(values["condition_number"])


def test_formulas_against_sums_written_out():
    data = problem(counts=tuple(range(4, 4 + K)))
    features, labels, weight = data["features_ND"], data["labels_N"], data["weight_KD"]
    raw = np.array([features[labels == k].mean(0) for k in range(K)])
    means = raw - raw.mean(0)
    values = measured(data)
    for rows, norms_name, angles_name in ((means, "NC2n", "NC2a"), (weight, "NC2Wn", "NC2Wa")):
        norms = [math.sqrt(row @ row) for row in rows]
        average = sum(norms) / K
        deviation = math.sqrt(sum((value - average) ** 2 for value in norms) / (K - 1))
        assert values[norms_name] == pytest.approx(deviation / average)
        angles = [
            abs(rows[i] @ rows[j] / norms[i] / norms[j] + 1 / (K - 1))
            for i in range(K)
            for j in range(K)
            if i != j
        ]
        assert values[angles_name] == pytest.approx(sum(angles) / len(angles))
    target = (np.eye(K) - np.ones((K, K)) / K) / math.sqrt(K - 1)
    assert np.linalg.norm(target) == pytest.approx(1)
    for name, gram in (("NC2", means @ means.T), ("NC2W", weight @ weight.T)):
        assert values[name] == pytest.approx(np.linalg.norm(gram / np.linalg.norm(gram) - target))
    product = weight @ means.T
    distance = np.linalg.norm(product / np.linalg.norm(product) - target)
    assert values["NC2M"] == pytest.approx(distance)
    gap = weight / np.linalg.norm(weight) - means / np.linalg.norm(means)
    assert values["NC3"] == pytest.approx(np.linalg.norm(gap))
    assert values["NC0"] == pytest.approx(np.linalg.norm(sum(weight)))
    ratio = values["NC0"] / np.linalg.norm(weight) / D
    assert values["NC0_normalised"] == pytest.approx(ratio)


def test_orthogonal_weights_and_means_have_nc3_of_root_two():
    axes = rotation(np.random.default_rng(14))
    means, weight = axes[:K] - axes[:K].mean(0), axes[K : 2 * K]
    values = measured(problem(means=means, weight=weight))
    assert values["NC3"] == pytest.approx(math.sqrt(2))


def test_the_appendix_has_factors_that_the_reported_numbers_lack():
    data = problem()
    reported, appendix = (measured(data, convention=name) for name in ("reported", "appendix"))
    factors = {"NC0": D, "NC2": K**2, "NC2W": K**2, "NC2M": K**2, "NC3": K * D}
    for name, value in reported.items():
        assert value == pytest.approx(appendix[name] * factors.get(name, 1)), name
    assert appendix["alpha"] == pytest.approx(reported["NC0"] ** 2 / K)
    assert alpha(data["weight_KD"]) == appendix["alpha"]


def test_other_conventions_in_terms_of_the_reported():
    data = problem(noise=1.5)
    reported, papyan, zhu = (measured(data, convention=c) for c in ("reported", "papyan", "zhu"))
    assert papyan["NC1"] == pytest.approx(K * reported["NC1"])
    assert papyan["NC3"] == pytest.approx(reported["NC3"] ** 2)
    for name in ("NC2n", "NC2a", "NC2Wn", "NC2Wa"):
        assert papyan[name] == reported[name]
    on_training_set = data | {"test_features": data["features_ND"], "test_labels": None}
    without_bias = on_training_set | {"bias_K": None}
    agreement = measured(without_bias)["NC4"]
    assert 0 < agreement < 1
    assert measured(without_bias, convention="papyan")["NC4"] == pytest.approx(1 - agreement)
    same = {"NC1": reported["NC1"], "NC2": reported["NC2W"], "NC3": reported["NC2M"]}
    assert {name: zhu[name] for name in same} == pytest.approx(same, rel=1e-12)


def test_jacot_and_cdnv_written_out():
    data = problem(counts=tuple(range(4, 4 + K)))
    features, labels, weight = data["features_ND"], data["labels_N"], data["weight_KD"]
    classes = [features[labels == k] for k in range(K)]
    means = np.array([rows.mean(0) for rows in classes])
    within = sum(((rows - rows.mean(0)) ** 2).sum() for rows in classes) / len(features)
    between = ((means - means.mean(0)) ** 2).sum() / K
    spectrum = np.linalg.svd(means, compute_uv=False)
    jacot = measured(data, convention="jacot")
    assert jacot["NC1"] == pytest.approx(within / between)
    assert jacot["NC2"] == pytest.approx(spectrum[0] / spectrum[-1])
    cosines = np.sum(features * weight[labels], axis=1) / (
        np.linalg.norm(features, axis=1) * np.linalg.norm(weight[labels], axis=1)
    )
    assert jacot["NC3"] == pytest.approx(cosines.mean())
    variance = [np.mean(np.sum((rows - rows.mean(0)) ** 2, axis=1)) for rows in classes]
    pairs = [
        (variance[i] + variance[j]) / (2 * np.sum((means[i] - means[j]) ** 2))
        for i in range(K)
        for j in range(K)
        if i != j
    ]
    assert measured(data, convention="cdnv")["CDNV"] == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nc0_of_weights_alone_is_nc0_of_the_statistics(dtype):
    data = problem()
    data["weight_KD"] = data["weight_KD"].astype(dtype)
    values = measured(data)
    assert nc0(data["weight_KD"]) == values["NC0"]
    assert nc0_normalised(data["weight_KD"]) == values["NC0_normalised"]


def test_metrics_of_weights_do_not_depend_on_features():
    first, second = problem(seed=1), problem(seed=2)
    second["weight_KD"] = first["weight_KD"]
    one, other = measured(first), measured(second)
    assert {name for name in one if one[name] == other[name]} == OF_WEIGHTS_ALONE


@pytest.mark.filterwarnings("error")
def test_zero_by_zero_is_nan_and_says_nothing():
    zero_weights = measured(problem(weight=np.zeros((K, D))))
    undefined = {name for name, value in zero_weights.items() if math.isnan(value)}
    assert undefined == {"NC0_normalised", "NC2W", "NC2M", "NC2Wn", "NC2Wa", "NC3"}
    assert zero_weights["NC0"] == 0
    one_point = problem(means=np.ones((K, D)), noise=0.0)
    values = measured(one_point)
    undefined = {name for name, value in values.items() if math.isnan(value)}
    assert undefined == {"NC2", "NC2M", "NC2n", "NC2a", "NC3", "effective_rank"}
    assert values["NC1"] == values["condition_number"] == math.inf
    assert math.isnan(measured(one_point, convention="jacot")["NC1"])
    assert measured(one_point, convention="cdnv")["CDNV"] == math.inf


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_every_convention_is_complete(convention):
    values = measured(problem(), convention=convention)
    assert list(values) == [*CONVENTIONS[convention], *DIAGNOSTICS]
    limits = values_at_collapse(convention=convention, num_classes=K, num_features=D)
    assert list(limits) == list(values)
    assert all(type(value) is float and math.isfinite(value) for value in values.values())
    for metric in CONVENTIONS[convention].values():
        one, other = (metric(class_statistics(**problem(), extended=True)) for _ in range(2))
        assert one == other


def test_an_unknown_convention_is_refused():
    with pytest.raises(KeyError):
        measured(problem(), convention="unknown")
