"""Class statistics against a plain float64 two-pass computation, and what they refuse."""

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save

from collapse.metrics.class_statistics import (
    ClassStatistics,
    class_statistics,
    from_arrays,
    to_arrays,
)

K, D, SAMPLES = 10, 64, 50
FIELDS = list(ClassStatistics.__dataclass_fields__)


def rows_with_singular_values(rng, values, width):
    """Centred rows (K x width) whose K - 1 singular values are the given ones."""
    num_classes = len(values) + 1
    left = np.linalg.qr(np.hstack([np.ones((num_classes, 1)), rng.normal(size=(num_classes,) * 2)]))
    right = np.linalg.qr(rng.normal(size=(width, len(values))))
    return left.Q[:, 1:num_classes] * values @ right.Q.T


def geometry(name, rng):
    """Class means and noise of the cases that have gone wrong elsewhere."""
    means = 3 * rng.normal(size=(K, D))
    simplex = rows_with_singular_values(rng, np.full(K - 1, 3.0), D)
    thin = rows_with_singular_values(rng, np.array([1000.0] + [1.0] * (K - 2)), D)
    return {
        "ordinary": (means, 1.0),
        "shifted": (means + 1000, 1.0),
        "collapsed": (simplex, 1e-3),
        "nearly rank one": (thin, 0.1),
    }[name]


CASES = ["ordinary", "shifted", "collapsed", "nearly rank one"]


def example(name="ordinary", *, dtype=np.float64, seed=0, counts=(SAMPLES,) * K):
    rng = np.random.default_rng(seed)
    means, noise = geometry(name, rng)
    labels = rng.permutation(np.repeat(np.arange(K), counts))
    test_labels = rng.integers(0, K, 80)
    directions = means - means.mean(0)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return {
        "features_ND": (means[labels] + noise * rng.normal(size=(len(labels), D))).astype(dtype),
        "labels_N": labels,
        "weight_KD": (directions + 0.3 * rng.normal(size=(K, D))).astype(dtype),
        "bias_K": (5 * rng.normal(size=K)).astype(dtype),
        "test_features": (means[test_labels] + 3 * rng.normal(size=(80, D))).astype(dtype),
        "test_labels": test_labels,
    }


def gold(features_ND, labels_N, weight_KD, bias_K, test_features, test_labels):
    """The definitions, a class and a sample at a time."""
    features, weight, test = (array.astype(np.float64) for array in (features_ND, weight_KD, test_features))
    classes = [features[labels_N == k] for k in range(K)]
    means = np.array([rows.mean(0) for rows in classes])
    centred = means - means.mean(0)
    residuals = features - means[labels_N]
    basis = np.linalg.svd(centred.T, full_matrices=False).U[:, : K - 1]

    def nearest(h):
        return np.argmin([np.linalg.norm(h - mean) for mean in means])

    chosen = np.argmax(features @ weight.T + bias_K, axis=1)
    cosines = [
        weight[k] @ h / np.linalg.norm(weight[k]) / np.linalg.norm(h)
        for h, k in zip(features, labels_N, strict=True)
    ]
    return {
        "counts_K": [len(rows) for rows in classes],
        "global_mean_D": means.mean(0),
        "centred_means_KD": centred,
        "within_trace_K": [
            np.mean(np.sum((rows - mean) ** 2, axis=1)) for rows, mean in zip(classes, means, strict=True)
        ],
        "within_variance_R": np.mean((residuals @ basis) ** 2, axis=0),
        "cosine_train": np.mean(cosines),
        "mismatch_train": np.mean(chosen != [nearest(h) for h in features]),
        "accuracy_train": np.mean(chosen == labels_N),
        "agreement_test": np.mean(np.argmax(test @ weight.T, 1) == [nearest(h) for h in test]),
        "accuracy_test": np.mean(np.argmax(test @ weight.T + bias_K, 1) == test_labels),
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
def test_statistics_are_those_of_two_plain_passes(case, dtype):
    data = example(case, dtype=dtype)
    statistics, expected = class_statistics(**data), gold(**data)
    # Directions of equal singular values are arbitrary; what they hold together is not.
    variance_R, wanted_R = statistics.within_variance_R, expected.pop("within_variance_R")
    np.testing.assert_allclose(variance_R.sum(), wanted_R.sum(), rtol=1e-10)
    if case in ("ordinary", "shifted"):
        np.testing.assert_allclose(variance_R, wanted_R, rtol=1e-10)
    for name, value in expected.items():
        scale = np.abs(value).max()
        np.testing.assert_allclose(
            getattr(statistics, name), value, rtol=1e-10, atol=1e-12 * scale, err_msg=name
        )


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("chunk_size", [1, 7, 499, 10**6])
def test_chunks_equal_the_whole(case, chunk_size):
    data = example(case)
    whole = class_statistics(**data, chunk_size=len(data["labels_N"]))
    chunked = class_statistics(**data, chunk_size=chunk_size)
    for name in FIELDS:
        one, other = getattr(chunked, name), getattr(whole, name)
        if other is None:
            assert one is None
        else:
            np.testing.assert_allclose(one, other, rtol=1e-12, err_msg=name)


def test_tensors_and_arrays_of_any_layout_give_the_same():
    data = example(dtype=np.float32)
    expected = class_statistics(**data)
    tensors = {name: torch.from_numpy(array) for name, array in data.items()}
    tensors["weight_KD"].requires_grad_()
    foreign = dict(data, features_ND=np.asfortranarray(data["features_ND"]).astype(">f4"))
    foreign["labels_N"] = data["labels_N"].astype(np.uint8)
    foreign["weight_KD"] = data["weight_KD"][::-1][::-1]
    foreign["bias_K"].setflags(write=False)
    for variant in (tensors, foreign):
        for name in FIELDS:
            value = getattr(class_statistics(**variant), name)
            np.testing.assert_array_equal(value, getattr(expected, name), err_msg=name)


def test_everything_is_float64_and_the_inputs_are_left_alone():
    data = example(dtype=np.float64)
    before = {name: array.copy() for name, array in data.items()}
    statistics = class_statistics(**data)
    for name, array in before.items():
        np.testing.assert_array_equal(data[name], array)
    for name in ("global_mean_D", "centred_means_KD", "weight_KD", "within_variance_R"):
        assert getattr(statistics, name).dtype == np.float64
    assert statistics.num_classes == K
    assert statistics.num_features == D
    np.testing.assert_array_equal(statistics.means_KD, statistics.global_mean_D + statistics.centred_means_KD)


def test_a_common_shift_changes_nothing_but_the_mean():
    # Multiples of 2^-20 stay exact beside 2^30, so both data sets are the same up to the shift.
    data = example()
    for name in ("features_ND", "test_features"):
        data[name] = np.round(data[name] * 2**20) / 2**20
    data["weight_KD"][:, 0] = 0  # or the shift would change the logits
    here = class_statistics(**data)
    shift = np.eye(D)[0] * 2.0**30
    far = class_statistics(
        **data
        | {
            "features_ND": data["features_ND"] + shift,
            "test_features": data["test_features"] + shift,
        }
    )
    for name in to_arrays(here).keys() - {"global_mean_D", "cosine_train"}:
        one, other = getattr(far, name), getattr(here, name)
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-13, err_msg=name)
    np.testing.assert_allclose(far.global_mean_D - shift, here.global_mean_D, atol=1e-6)


def test_unbalanced_classes_weigh_equally_in_the_mean_and_by_size_in_the_scatter():
    counts = [4 * k + 4 for k in range(K)]
    data = example(counts=counts)
    statistics, expected = class_statistics(**data), gold(**data)
    np.testing.assert_array_equal(statistics.counts_K, counts)
    np.testing.assert_allclose(statistics.global_mean_D, expected["global_mean_D"])
    np.testing.assert_allclose(statistics.within_variance_R, expected["within_variance_R"])
    np.testing.assert_allclose(statistics.centred_means_KD.sum(0), 0, atol=1e-12)
    assert np.abs(statistics.global_mean_D - data["features_ND"].mean(0)).max() > 0.1


def test_a_zero_feature_or_weight_row_has_cosine_zero():
    data = example()
    data["features_ND"][:] = data["weight_KD"][data["labels_N"]]
    data["features_ND"][0] = 0
    assert class_statistics(**data).cosine_train == pytest.approx(1 - 1 / (K * SAMPLES))
    data["weight_KD"][:] = 0
    assert class_statistics(**data).cosine_train == 0


def test_fewer_features_than_directions():
    data = example()
    for name in ("features_ND", "weight_KD", "test_features"):
        data[name] = data[name][:, :3]
    assert class_statistics(**data).within_variance_R.shape == (3,)


def test_without_test_set_or_bias():
    data = example()
    with_bias = class_statistics(**data)
    zero_bias = class_statistics(**data | {"bias_K": np.zeros(K)})
    without = class_statistics(**data | {"bias_K": None, "test_features": None, "test_labels": None})
    assert without.bias_K is None
    assert without.mismatch_train == zero_bias.mismatch_train != with_bias.mismatch_train
    assert np.isnan(without.agreement_test) and np.isnan(without.accuracy_test)
    unlabelled = class_statistics(**data | {"test_labels": None})
    assert unlabelled.agreement_test == with_bias.agreement_test
    assert np.isnan(unlabelled.accuracy_test)


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("bias", [None, np.arange(K, dtype=np.float64)])
def test_a_file_keeps_everything(bias, extended):
    labels = {} if extended else {"test_labels": None}
    statistics = class_statistics(**example() | {"bias_K": bias} | labels, extended=extended)
    assert (statistics.test_centred_means_KD is not None) == extended
    kept = from_arrays(load(save(to_arrays(statistics))))
    for name in FIELDS:
        one, other = getattr(kept, name), getattr(statistics, name)
        assert type(one) is type(other), name
        if other is not None:
            np.testing.assert_array_equal(one, other, err_msg=name)


def test_a_file_of_other_arrays_is_refused():
    arrays = to_arrays(class_statistics(**example()))
    with pytest.raises(ValueError, match="surplus"):
        from_arrays(arrays | {"surplus": np.zeros(1)})
    del arrays["counts_K"]
    with pytest.raises(ValueError, match="counts_K"):
        from_arrays(arrays)


def test_plain_statistics_have_the_names_of_every_earlier_version_and_extended_ones_more():
    """So files of before are read, and files that are written now have the same names and bytes."""
    plain, extended = (to_arrays(class_statistics(**example(), extended=each)) for each in (False, True))
    assert list(plain) == [
        "counts_K", "global_mean_D", "centred_means_KD", "weight_KD", "bias_K", "within_trace_K",
        "within_variance_R", "cosine_train", "mismatch_train", "accuracy_train", "agreement_test",
        "accuracy_test",
    ]  # fmt: skip
    assert len(extended) == len(plain) + 6
    for name, array in plain.items():
        np.testing.assert_array_equal(array, extended[name], err_msg=name)
    assert from_arrays(plain).within_RR is None


def changed(name, index, value):
    def change(data):
        data[name] = data[name].copy()
        data[name][index] = value

    return change


def replaced(name, function):
    return lambda data: data.update({name: function(data[name])})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replaced("features_ND", lambda x: x[0]), r"features: shape is \(64,\); expected N x p"),
        (replaced("features_ND", lambda x: x[:0]), r"features: shape is \(0, 64\)"),
        (replaced("features_ND", lambda x: x.astype(complex)), "features: dtype is complex128"),
        (replaced("features_ND", lambda x: x.astype(np.longdouble)), "features: dtype .* plain numbers"),
        (replaced("features_ND", lambda x: x.astype(int)), "features: dtype is int64; convert"),
        (replaced("features_ND", lambda x: x.astype(str)), "features: dtype <U32 does not hold"),
        (changed("features_ND", (3, 5), np.nan), r"features: not finite .* index \(3, 5\)"),
        (changed("features_ND", (499, 0), -np.inf), "features: not finite"),
        (replaced("features_ND", lambda x: x * 1e307), "features: too large, their sums"),
        (replaced("features_ND", lambda x: x * 1e160), "features: too large, their squares"),
        (replaced("features_ND", lambda x: x * 1e-160), "features: too small, their squares vanish"),
        (replaced("test_features", lambda x: x * 1e307), "test_features: too large"),
        (replaced("weight_KD", lambda x: x[:, 1:]), r"weight: shape is \(10, 63\); expected K x 64"),
        (replaced("weight_KD", lambda x: x[:0]), "weight: shape"),
        (changed("weight_KD", (0, 0), np.inf), "weight: not finite"),
        (replaced("bias_K", lambda x: x[1:]), r"bias: shape is \(9,\); expected 10"),
        (replaced("bias_K", lambda x: x[:, None]), "bias: shape"),
        (changed("bias_K", 2, np.nan), r"bias: not finite .* index \(2,\)"),
        (replaced("labels_N", lambda x: x[1:]), r"labels: shape is \(499,\); expected \(500,\)"),
        (replaced("labels_N", lambda x: x.astype(float)), "labels: dtype is float64; convert"),
        (replaced("labels_N", lambda x: x > 3), "labels: missing classes: 2, 3"),
        (replaced("labels_N", lambda x: np.eye(K)[x]), r"labels: one-hot, of shape .* labels.argmax\(1\)"),
        (replaced("test_labels", lambda x: np.eye(K, dtype=bool)[x]), "test_labels: one-hot, of shape"),
        (replaced("labels_N", lambda x: np.ones((len(x), K), int)), r"labels: shape is \(500, 10\)"),
        (replaced("labels_N", lambda x: x + 1), "labels: from 1 to 10; allowed is 0 to 9"),
        (replaced("labels_N", lambda x: x - 1), "labels: from -1 to 8"),
        (replaced("labels_N", lambda x: np.minimum(x, 7)), "labels: missing classes: 8, 9"),
        (
            replaced("labels_N", lambda x: np.where(np.cumsum(x == 4) > 1, x % 4, x)),
            "labels: .*classes: .*needs two samples",
        ),
        (replaced("test_features", lambda x: x[:, 1:]), "test_features: shape .* expected T x 64"),
        (replaced("test_features", lambda x: x[:0]), "test_features: shape"),
        (changed("test_features", (1, 1), np.nan), "test_features: not finite"),
        (replaced("test_features", lambda x: None), "test_labels: given without test_features"),
        (replaced("test_labels", lambda x: x[1:]), "test_labels: shape"),
        (replaced("test_labels", lambda x: x + K), "test_labels: from"),
    ],
)
def test_bad_input_is_refused_by_name(change, message):
    data = example()
    change(data)
    with pytest.raises(ValueError, match=message) as refusal:
        class_statistics(**data)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32]
)
def test_what_float64_holds_without_loss_is_taken(dtype):
    data = {name: torch.from_numpy(array) for name, array in example().items()}
    real = ("features_ND", "weight_KD", "bias_K", "test_features")
    narrow = data | {name: (4 * data[name]).clamp(0, 100).to(dtype) for name in real}
    wide = narrow | {name: narrow[name].double() for name in real}
    one, other = class_statistics(**narrow), class_statistics(**wide)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_two_classes_may_have_labels_that_are_true_or_false():
    data = example()
    two = data | {"labels_N": data["labels_N"] > 4, "weight_KD": data["weight_KD"][:2]}
    two |= {"bias_K": data["bias_K"][:2], "test_labels": None}
    one, other = class_statistics(**two), class_statistics(**two | {"labels_N": two["labels_N"].astype(int)})
    assert one.accuracy_train == other.accuracy_train
    np.testing.assert_array_equal(one.counts_K, [250, 250])


def test_many_missing_classes_are_counted():
    data = example()
    data["weight_KD"] = np.zeros((1000, D))
    with pytest.raises(ValueError, match=r"missing classes: 10, .*, 19 and 980 more; each of the 1000"):
        class_statistics(**data | {"bias_K": None})


def test_a_single_sample_class_and_a_single_class_are_refused():
    data = example(counts=(1, *[SAMPLES] * (K - 1)))
    with pytest.raises(ValueError, match="single-sample classes: 0; each of the 10 classes"):
        class_statistics(**data)
    data["weight_KD"], data["bias_K"] = data["weight_KD"][:1], None
    data["labels_N"] = np.zeros_like(data["labels_N"])
    with pytest.raises(ValueError, match="weight: has one row"):
        class_statistics(**data)
