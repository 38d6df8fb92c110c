"""Metrics of other papers against sums written out, and what they say where there is nothing to say."""

import math

import numpy as np
import pytest
from reference_cases import case

from collapse.metrics.class_statistics import class_statistics
from collapse.metrics.conventions import measure_all, needs_extended
from collapse.metrics.further import gauge_share
from collapse.metrics.scatter import unexplained


def measured(data, convention="further", *, extended=True):
    return measure_all(class_statistics(**data, extended=extended), convention=convention)


def random_case(seed, *, num_classes=6, width=20, counts=None, noise=0.8):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_classes), counts or [15] * num_classes)
    means = rng.normal(size=(num_classes, width)) + 2
    mixing = np.linalg.qr(rng.normal(size=(width, width))).Q * rng.uniform(0.2, 2, width)
    test_labels = rng.integers(0, num_classes, 90)
    return {
        "features_ND": means[labels] + noise * rng.normal(size=(len(labels), width)) @ mixing,
        "labels_N": labels,
        "weight_KD": rng.normal(size=(num_classes, width)),
        "bias_K": rng.normal(size=num_classes),
        "test_features": means[test_labels] + rng.normal(size=(90, width)) @ mixing,
        "test_labels": test_labels,
    }


def plain_vci(features, labels, num_classes):
    """1 - Tr(Sigma_T^+ Sigma_B) / rank Sigma_B, with p x p matrices."""
    means = np.array([features[labels == k].mean(0) for k in range(num_classes)])
    about = means - features.mean(0)
    between = about.T @ about / num_classes
    residual = features - means[labels]
    total = residual.T @ residual / len(features) + between
    rank = np.linalg.matrix_rank(between)
    return 1 - np.trace(np.linalg.pinv(total, rcond=1e-12, hermitian=True) @ between) / rank


@pytest.mark.parametrize("counts", [None, [4, 9, 15, 22, 30, 40]])
@pytest.mark.parametrize("width", [3, 5, 6, 20, 70])
def test_vci_is_that_of_the_whole_matrices(width, counts):
    """Also where features are fewer than directions, and more than samples: the scatter is then singular."""
    data = random_case(1, width=width, counts=counts or [10] * 6)
    wanted = plain_vci(data["features_ND"], data["labels_N"], 6)
    assert measured(data)["VCI"] == pytest.approx(wanted, rel=1e-9, abs=1e-11)


def test_vci_sees_what_the_directions_beside_the_means_explain():
    """Noise along the means that a direction beside them repeats can be taken away by a linear map."""
    data = random_case(2, width=5)
    wide = data | {
        name: np.hstack([data[name], 3 * noise])
        for name, noise in (
            ("features_ND", data["features_ND"] - class_means(data)[data["labels_N"]]),
            ("test_features", np.zeros((90, 5))),
            ("weight_KD", np.zeros((6, 5))),
        )
    }
    assert measured(data)["VCI"] > 0.05 and measured(wide)["VCI"] < 1e-12


def class_means(data):
    return np.array([data["features_ND"][data["labels_N"] == k].mean(0) for k in range(6)])


def test_vci_of_near_collapse_has_all_its_digits():
    """It is as the square of the noise; 1 - 0.99999999999999 has no digit left to show that."""
    values = [
        measured(random_case(3, width=40, counts=[200] * 6, noise=noise))["VCI"]
        for noise in (1e-6, 1e-7, 1e-8)
    ]
    assert values[0] / values[1] == pytest.approx(100, rel=1e-5)
    assert values[1] / values[2] == pytest.approx(100, rel=1e-4) and 0 < values[2] < 1e-15


def test_zhu_with_classes_of_other_sizes_is_that_of_whole_matrices():
    data = random_case(4, counts=[4, 9, 15, 22, 30, 40])
    features, labels = data["features_ND"], data["labels_N"]
    means = class_means(data)
    about = means - features.mean(0)
    residual = features - means[labels]
    inverse = np.linalg.pinv(about.T @ about / 6, rcond=1e-12, hermitian=True)
    wanted = np.trace(residual.T @ residual / len(features) @ inverse) / 6
    zhu = measured(data, "zhu")
    assert zhu["NC1"] == pytest.approx(wanted, rel=1e-10)
    product = data["weight_KD"] @ about.T
    simplex = (np.eye(6) - 1 / 6) / math.sqrt(5)
    assert zhu["NC3"] == pytest.approx(np.linalg.norm(product / np.linalg.norm(product) - simplex), rel=1e-12)
    of_samples, of_means = (
        np.linalg.norm(data["weight_KD"] @ mean + data["bias_K"])
        for mean in (features.mean(0), means.mean(0))
    )
    assert zhu["NC4"] == pytest.approx(of_samples, rel=1e-12)
    assert abs(zhu["NC4"] / of_means - 1) > 0.01, "the mean over samples, not over classes"


def test_nc1_test_is_nc1_of_the_test_set():
    data = random_case(5)
    of_test = data | {"features_ND": data["test_features"], "labels_N": data["test_labels"]}
    wanted = measured(of_test, "reported")["NC1"]
    assert measured(data)["NC1_test"] == pytest.approx(wanted, rel=1e-11)
    unlabelled = measured(data | {"test_labels": None})
    assert math.isnan(unlabelled["NC1_test"])
    few = data | {"test_features": data["test_features"][:7], "test_labels": data["test_labels"][:7]}
    assert math.isnan(measured(few)["NC1_test"])


def test_kernels_angles_and_ranks_written_out():
    data = random_case(6)
    means = class_means(data)
    units = [row / np.linalg.norm(row) for row in means - means.mean(0)]
    logs = [-math.log(np.linalg.norm(units[i] - units[j])) for i in range(6) for j in range(6) if i != j]
    values = measured(data)
    assert values["GNC2"] == pytest.approx(np.mean(logs))
    on_sphere = data["features_ND"] / np.linalg.norm(data["features_ND"], axis=1, keepdims=True)
    rows = class_means(data | {"features_ND": on_sphere})
    rows = rows - rows.mean(0)
    cosines = [
        row @ weight / np.linalg.norm(row) / np.linalg.norm(weight)
        for row, weight in zip(rows, data["weight_KD"], strict=True)
    ]
    assert values["GNC3"] == pytest.approx(1 - np.mean(cosines))
    spectrum = np.linalg.svd(data["weight_KD"], compute_uv=False)
    assert values["stable_rank_W"] == pytest.approx(np.sum(spectrum**2) / spectrum[0] ** 2)
    logits = data["weight_KD"] @ data["features_ND"].mean(0) + data["bias_K"]
    assert values["bias_collapse"] == pytest.approx(np.linalg.norm(logits))
    without = measured(data | {"bias_K": None})["bias_collapse"]
    assert without == pytest.approx(np.linalg.norm(logits - data["bias_K"]))


def test_a_zero_feature_counts_as_zero_among_unit_features():
    data = random_case(7)
    data["features_ND"][0] = 0
    assert math.isfinite(measured(data)["GNC3"])


def test_plain_statistics_give_nan_for_what_they_lack():
    values = measured(case("imbalanced32"), extended=False)
    assert {name for name, value in values.items() if math.isnan(value)} == {"NC1_test", "VCI", "GNC3"}
    assert math.isnan(measured(case("imbalanced32"), "zhu", extended=False)["NC1"])
    balanced = measured(case("random32"), "zhu", extended=False)
    assert balanced["NC1"] == pytest.approx(measured(case("random32"), "reported")["NC1"])
    wanting = {name for name in ("reported", "papyan", "zhu", "cdnv", "further") if needs_extended(name)}
    assert wanting == {"zhu", "further"}


@pytest.mark.filterwarnings("error")
def test_zero_weights_and_coinciding_means_are_nan_or_infinite_and_say_nothing():
    data = random_case(8)
    zero = measured(data | {"weight_KD": np.zeros((6, 20))})
    assert {name for name, value in zero.items() if math.isnan(value)} == {
        "gauge_share", "NC2W_centred", "NC3_centred", "stable_rank_W", "GNC3",
    }  # fmt: skip
    assert zero["bias_collapse"] == pytest.approx(np.linalg.norm(data["bias_K"]))
    one_point = measured(data | {"features_ND": np.ones((90, 20))})
    assert math.isnan(one_point["VCI"]) and math.isnan(one_point["GNC3"])
    line = data | {"features_ND": np.outer(data["labels_N"] + 1.0, np.ones(20))}
    assert measured(line)["GNC2"] == math.inf and math.isnan(measured(line)["VCI"])


def test_unexplained_scatter_is_the_inverse_of_the_inverse():
    rng = np.random.default_rng(9)
    factor = rng.normal(size=(30, 12))
    scatter, basis = factor.T @ factor, np.linalg.qr(rng.normal(size=(12, 4))).Q.T
    wanted = np.linalg.inv(basis @ np.linalg.inv(scatter) @ basis.T)
    np.testing.assert_allclose(unexplained(scatter, basis), wanted, rtol=1e-9)
    whole = np.linalg.qr(rng.normal(size=(12, 12))).Q
    np.testing.assert_allclose(unexplained(scatter, whole), whole @ scatter @ whole.T, rtol=1e-9)


def with_row_sum(data, size, *, seed=0):
    """The same data, its weights shifted along 1: c times `size` on every row."""
    shift = size * np.random.default_rng(seed).normal(size=data["weight_KD"].shape[1])
    return data | {"weight_KD": data["weight_KD"] + shift}


def nc3_from_centred(values, *, of="NC3_centred"):
    return math.sqrt(2 - (2 - values[of] ** 2) * math.sqrt(1 - values["gauge_share"]))


@pytest.mark.parametrize("size", [0.0, 0.3, 3.0, 300.0])
@pytest.mark.parametrize("width", [3, 20, 70])
def test_nc3_follows_from_what_it_is_without_the_row_sum(size, width):
    """NC3^2 = 2 - (2 - NC3_centred^2) sqrt(1 - gauge_share), a third metric not being looked at."""
    for seed in range(5):
        data = with_row_sum(random_case(seed, width=width), size)
        values = measured(data) | {"NC3": measured(data, "reported")["NC3"]}
        assert nc3_from_centred(values) == pytest.approx(values["NC3"], abs=1e-9)
        assert 0 <= values["gauge_share"] < 1
        assert values["NC3"] >= math.sqrt(2 - 2 * math.sqrt(1 - values["gauge_share"])) - 1e-12


def test_metrics_of_centred_weights_do_not_see_the_row_sum():
    data = random_case(9)
    plain = measured(data)
    for size in (0.1, 10.0, 1e4):
        shifted = measured(with_row_sum(data, size))
        assert shifted["gauge_share"] != pytest.approx(plain["gauge_share"], rel=1e-3)
        for name in ("NC2W_centred", "NC3_centred"):
            assert shifted[name] == pytest.approx(plain[name], rel=1e-9)


def test_centred_metrics_are_the_reported_ones_of_centred_weights():
    data = with_row_sum(random_case(10), 2.0)
    centred = measured(data | {"weight_KD": data["weight_KD"] - data["weight_KD"].mean(0)}, "reported")
    values = measured(data)
    assert values["NC3_centred"] == pytest.approx(centred["NC3"], rel=1e-12)
    assert values["NC2W_centred"] == pytest.approx(centred["NC2W"], rel=1e-12)
    row_sum = np.linalg.norm(data["weight_KD"].sum(0))
    share = row_sum**2 / (6 * np.linalg.norm(data["weight_KD"]) ** 2)
    assert values["gauge_share"] == pytest.approx(share, rel=1e-12)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [1e-150, 1e-30, 1e30, 1e150, 1e305])
def test_metrics_of_centred_weights_depend_on_no_scale(scale):
    data = with_row_sum(random_case(11), 1.0)
    names = ("gauge_share", "NC2W_centred", "NC3_centred")
    plain = measured(data)
    # bias_collapse alone overflows there; it is no metric of these.
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = measured(data | {"weight_KD": data["weight_KD"] * scale, "bias_K": None})
    assert {name: scaled[name] for name in names} == pytest.approx(
        {name: plain[name] for name in names}, rel=1e-12
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [1.0, 0.1, 1e-120, 1e120])
def test_equal_rows_are_row_sum_alone(value):
    """What subtraction leaves of them is rounding, and has no direction."""
    row = value * np.random.default_rng(12).normal(size=20)
    values = measured(random_case(12) | {"weight_KD": np.tile(row, (6, 1)), "bias_K": None})
    assert values["gauge_share"] == pytest.approx(1, abs=1e-12) and values["gauge_share"] <= 1
    assert math.isnan(values["NC3_centred"]) and math.isnan(values["NC2W_centred"])
    nearly = np.tile(row, (6, 1)) + 1e-10 * value * np.random.default_rng(13).normal(size=(6, 20))
    values = measured(random_case(12) | {"weight_KD": nearly, "bias_K": None})
    assert 0 < values["NC3_centred"] < 2 and values["gauge_share"] == pytest.approx(1, abs=1e-12)


def test_weights_without_row_sum_have_no_share():
    weight = np.random.default_rng(14).normal(size=(6, 20))
    weight -= weight.mean(0)
    assert gauge_share(weight) < 1e-28
