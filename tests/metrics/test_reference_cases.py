"""The digits of two cases with which the definitions of the literature were told apart."""

import tracemalloc

import numpy as np
import pytest
from reference_cases import case, in_float64

from collapse.metrics.class_statistics import class_statistics
from collapse.metrics.conventions import CONVENTIONS, cdnv, measure_all
from collapse.metrics.further import bias_collapse
from collapse.metrics.neural_collapse import gram, power_of_two, scaled

# Digits as given; the last may be rounded.
RIGHT = {
    ("random32", "further", "bias_collapse"): "3.28292008934",
    ("imbalanced32", "further", "bias_collapse"): "3.85989616446",
    ("random32", "further", "NC2W_centred"): "0.350195988925",
    ("random32", "further", "VCI"): "0.147947176398",
    ("imbalanced32", "further", "VCI"): "0.141962961162",
    ("random32", "further", "stable_rank_W"): "5.86124604442",
    ("random32", "further", "NC1_test"): "0.159192292063",
    ("imbalanced32", "further", "NC1_test"): "0.177604985866",
    ("random32", "further", "GNC2"): "-0.396009857292",
    ("random32", "further", "GNC3"): "0.978515382927",
    ("random32", "reported", "NC2n"): "0.0733962731",
    ("random32", "reported", "NC2Wn"): "0.0614750514",
    ("random32", "appendix", "NC2n"): "0.0733962731",
    ("random32", "papyan", "NC2Wn"): "0.0614750514",
    ("random32", "reported", "NC2"): "0.3581851571",
    ("imbalanced32", "zhu", "NC1"): "0.1600989203",
    ("imbalanced32", "zhu", "NC3"): "1.3577051945",
    ("random32", "zhu", "NC4"): "3.28292008934",
    ("imbalanced32", "zhu", "NC4"): "3.85989616446",
}
WITH_THE_WEIGHTS = {"NC0", "alpha"}  # whose scale they have, as has ||W mu_S + b||


def logits_of_the_mean(convention):
    """The names of ||W mu_S + b||: the one metric with the scale of the features."""
    return {name for name, metric in CONVENTIONS[convention].items() if metric is bias_collapse}


def measured(data, convention):
    return measure_all(class_statistics(**data, extended=True), convention=convention)


@pytest.mark.parametrize(("name", "convention", "metric"), RIGHT)
def test_the_metric_has_the_right_digits(name, convention, metric):
    digits = RIGHT[name, convention, metric]
    value = measured(case(name), convention)[metric]
    assert f"{value:.{len(digits.partition('.')[2])}f}" == digits


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("factor", [1e100, 1e-100, 1e140, 1e-130])
def test_features_of_any_size_give_the_same(convention, factor):
    """Where squares of squares overflow or vanish too; NC2 was 1 at 1e100 and NaN at 1e-100."""
    data = in_float64(case("random32"))
    data["bias_K"][:] = 0  # or the bias would weigh otherwise beside the logits
    before = measured(data, convention)
    after = measured(in_float64(data, features_ND=factor, test_features=factor), convention)
    for name in logits_of_the_mean(convention):
        assert after.pop(name) == pytest.approx(factor * before.pop(name))
    for name in before:
        assert after[name] == pytest.approx(before[name], rel=1e-11, abs=1e-12), name


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("factor", [1e100, 1e-100, 1e200, 1e-200])
def test_weights_of_any_size_give_the_same(convention, factor):
    data = case("imbalanced32")
    before = measured(in_float64(data), convention)
    after = measured(in_float64(data, weight_KD=factor, bias_K=factor), convention)
    for name in before.keys() & ({"NC0"} | logits_of_the_mean(convention)):
        assert after.pop(name) == pytest.approx(factor * before.pop(name), rel=1e-11)
    if "alpha" in before and abs(np.log10(factor)) < 150:  # beyond, float64 does not hold its square
        assert after["alpha"] == pytest.approx(factor**2 * before["alpha"], rel=1e-11)
    for name in before.keys() - WITH_THE_WEIGHTS:
        assert after[name] == pytest.approx(before[name], rel=1e-11, abs=1e-12), name


@pytest.mark.parametrize("factor", [1e-320, 3e-300, 1.0, 7e8, 1.5e308])
def test_scaling_loses_no_digit(factor):
    values = factor * np.array([[1.0, -1 / 3], [0.1, 0.0]])
    scale = power_of_two(values)
    assert 1 <= np.abs(scaled(values)).max() < 2 and np.log2(scale) == np.round(np.log2(scale))
    np.testing.assert_array_equal(scaled(values) * scale, values)
    assert np.isfinite(gram(values)).all()
    np.testing.assert_array_equal(power_of_two(np.zeros((2, 2))), 1)


def test_cdnv_of_many_classes_takes_no_memory_of_all_pairs():
    """1,000 classes of 512 features: all differences at once are 2 GB."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(1000), 2)
    statistics = class_statistics(
        features_ND=rng.normal(size=(2000, 512)), labels_N=labels, weight_KD=rng.normal(size=(1000, 512)),
        bias_K=None, test_features=None, test_labels=None,
    )  # fmt: skip
    tracemalloc.start()
    value = cdnv(statistics)
    assert tracemalloc.get_traced_memory()[1] < 60e6
    tracemalloc.stop()
    means, trace = statistics.centred_means_KD, statistics.within_trace_K
    pairs = [
        (trace[k] + trace) / (2 * np.maximum(np.sum((means[k] - means) ** 2, axis=1), 1e-300))
        for k in range(1000)
    ]
    wanted = sum(np.delete(row, k).sum() for k, row in enumerate(pairs)) / (1000 * 999)
    assert value == pytest.approx(wanted, rel=1e-12)
