"""`collapse.CollapseMetrics` and `collapse.CollapseHistory`, and what all of them refuse in one line."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from small_models import data, loader, mlp, statistics_of
from torch import nn

import collapse
from collapse.files.errors import InputError
from collapse.metrics.conventions import CONVENTIONS, measure_all
from collapse.metrics.neural_collapse import nc0, singular_values


def updated(model, train, test=None, *, batch_size=32, one_hot=False):
    model.eval()
    metric = collapse.CollapseMetrics(model[-1])
    for features, labels in loader(model[:-1](train[0]).detach(), train[1], batch_size=batch_size):
        metric.update(features, nn.functional.one_hot(labels, 5) if one_hot else labels)
    if test is not None:
        for features, labels in loader(model[:-1](test[0]).detach(), test[1], batch_size=batch_size):
            metric.update_test(features, labels)
    return metric


@pytest.mark.parametrize("batch_size", [1, 17, 1000])
@pytest.mark.parametrize("one_hot", [False, True])
def test_updates_give_what_the_whole_matrix_gives(batch_size, one_hot):
    train, test, model = data(counts=[100, 60, 30, 8, 2]), data(80, seed=1), mlp()
    found = updated(model, train, test, batch_size=batch_size, one_hot=one_hot).compute()
    statistics = statistics_of(model[:-1], model[-1], train, test)
    for convention in CONVENTIONS:
        wanted, values = measure_all(statistics, convention=convention), found.under(convention)
        names = set(wanted) - ({"NC4"} if convention == "papyan" else set())
        for name in names:
            assert values[name] == pytest.approx(wanted[name], rel=1e-9, abs=1e-12), (convention, name)
    assert found.statistics.cosine_train == pytest.approx(statistics.cosine_train)
    assert found.statistics.accuracy_test == statistics.accuracy_test


@pytest.mark.parametrize("noise", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_one_pass_keeps_its_digits_near_collapse(noise, shift):
    """Sums of squares less squares of sums would have none left at 1e-9."""
    rng = np.random.default_rng(0)
    labels = torch.arange(500) % 5
    exact = noise * rng.normal(size=(500, 8))
    means = np.round(rng.normal(size=(5, 8)) * 2**10) / 2**10
    features = torch.from_numpy(means[labels] + exact) + shift
    head = nn.Linear(8, 5).double()
    metric = collapse.CollapseMetrics(head)
    for rows, classes in zip(features.split(50), labels.split(50), strict=True):
        metric.update(rows, classes)
    rows = features.numpy() - shift - means[labels]
    rows -= np.array([rows[labels == k].mean(0) for k in range(5)])[labels]
    trace = np.array([(rows[labels == k] ** 2).sum(1).mean() for k in range(5)])
    np.testing.assert_allclose(
        metric.compute().statistics.within_trace_K, trace, rtol=max(1e-10, 1e-15 / noise)
    )


def test_reset_forgets_and_weights_may_then_be_others():
    train, model = data(), mlp()
    metric = updated(model, train)
    first = dict(metric.compute())
    assert dict(metric.compute()) == pytest.approx(first, nan_ok=True)
    with torch.no_grad():
        model[-1].weight.mul_(2)
    with pytest.raises(ValueError, match="weights have changed between two batches; call reset"):
        metric.update(model[:-1](train[0]), train[1])
    metric.reset()
    with pytest.raises(ValueError, match="no batch was given"):
        metric.compute()
    metric.update(model[:-1](train[0]), train[1])
    assert metric.compute()["NC0"] == pytest.approx(2 * first["NC0"])
    metric.update_test(model[:-1](train[0]))
    with pytest.raises(ValueError, match="a training batch after a test batch"):
        metric.update(model[:-1](train[0]), train[1])
    assert not math.isnan(metric.compute()["NC4"])
    with pytest.raises(ValueError, match="no batch of the training set"):
        collapse.CollapseMetrics(model[-1]).update_test(model[:-1](train[0]))


def test_a_measurement_is_a_mapping_a_table_and_a_frame():
    train, model = data(), mlp()
    found = collapse.measure(model, loader(*train), loader(*train))
    assert list(found) == [*CONVENTIONS["reported"], "condition_number", "effective_rank"]
    assert len(found) == 14 and {**found} == dict(found)
    frame = found.to_frame()
    assert isinstance(frame, pd.DataFrame) and list(frame.columns) == ["value", "at_collapse", "meaning"]
    assert frame.value.to_dict() == dict(found) and frame.at_collapse.NC4 == 1
    assert frame.meaning.NC0.startswith("Zero row sum of the last layer's weights")
    header, *lines = repr(found).splitlines()
    assert header.split(maxsplit=2) == ["metric", "reported", "at perfect collapse"]
    assert [line.split()[0] for line in lines] == list(found)
    assert found.under("cdnv")["CDNV"] > 0 and found.under("cdnv").convention == "cdnv"
    for unknown in (lambda: found.under("mine"), lambda: collapse.measure(model, [], convention="mine")):
        with pytest.raises(ValueError, match="unknown convention 'mine'; one of reported, appendix, papyan"):
            unknown()


def test_the_history_has_weights_in_every_row_and_features_on_schedule():
    train, model = data(), mlp()
    history = collapse.CollapseHistory(model, loader(*train), loader(*train), at=[0, 2])
    with torch.no_grad():
        for epoch in range(4):
            row = history(epoch)
            weight = model[-1].weight.double().numpy()
            assert row["NC0"] == nc0(weight) and row["singular_values_W"] == singular_values(weight).tolist()
            assert ("NC1" in row) == (epoch in (0, 2))
            model[-1].weight.mul_(0.5)
    history(4, measured=True)
    frame = history.to_frame()
    assert frame.epoch.tolist() == [0, 1, 2, 3, 4]
    assert frame.NC1.notna().tolist() == [True, False, True, False, True]
    assert frame.NC0.notna().all() and frame.train_accuracy.notna().sum() == 3
    assert frame.NC0[1] == pytest.approx(frame.NC0[0] / 2)
    wanted = statistics_of(model[:-1], model[-1], train, train)
    assert frame.NC1[4] == pytest.approx(measure_all(wanted, convention="reported")["NC1"])
    assert len(frame.singular_values_M[0]) == 5
    usual = collapse.CollapseHistory(model, loader(*train))
    due = [epoch for epoch in range(35) if usual.is_due(epoch)]
    assert due == [0, 1, 2, 4, 8, 10, 20, 30]


def test_the_history_of_a_convention_is_in_its_units_throughout():
    model = mlp()
    history = collapse.CollapseHistory(
        model, loader(*data()), convention="appendix", at=lambda epoch: epoch == 1
    )
    rows = [history(0), history(1)]
    assert rows[0]["NC0"] == rows[1]["NC0"] == pytest.approx(nc0(model[-1].weight.detach().numpy()) / 16)
    papyan = collapse.CollapseHistory(model, loader(*data()), convention="papyan", at=())
    assert papyan(0).keys() >= {"NC0", "singular_values_W"}


CONVOLUTIONS = nn.Sequential(nn.Conv1d(1, 3, 1), nn.Flatten())
TWICE = nn.Linear(12, 12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: collapse.measure(CONVOLUTIONS, loader(x, y)), "Sequential has no nn.Linear; or take"),
        (
            lambda x, y: collapse.measure(mlp(), loader(x, y), head="fc"),
            "head 'fc' is not there; .* has 0, 4",
        ),
        (lambda x, y: collapse.measure(mlp(), loader(x, y), head="1"), "head '1' is no nn.Linear"),
        (lambda x, y: collapse.measure(nn.Sequential(TWICE, TWICE), loader(x, y)), "runs 2 times"),
        (lambda x, y: collapse.measure(mlp(), []), "train_loader gives no batch"),
        (lambda x, y: collapse.measure(mlp(), iter([])), "train_loader gives no batch"),
        (lambda x, y: collapse.measure(mlp(), [x]), r"train_loader: a batch is a Tensor; \(inputs, labels\)"),
        (
            lambda x, y: collapse.measure(mlp(), [{"image": x}]),
            r"a batch has the keys \['image'\]; one of labels",
        ),
        (lambda x, y: collapse.measure(mlp(), loader(x, y + 1)), "labels from 1 to 5; .* allow 0 to 4"),
        (lambda x, y: collapse.measure(mlp(), loader(x, y / 7)), "labels are torch.float32; integers"),
        (lambda x, y: collapse.measure(mlp(), loader(x, torch.rand(300, 5))), "soft labels are no classes"),
        (lambda x, y: collapse.measure(mlp(), [(x, y[:7])]), r"shape \(7,\); expected \(300,\)"),
        (
            lambda x, y: collapse.measure(mlp(), loader(x, y.clamp(max=3))),
            "missing classes: 4; each of the 5",
        ),
        (lambda x, y: collapse.measure(mlp(num_classes=1), loader(x, y > 2)), "head '4' has one output"),
        (lambda x, y: collapse.measure(mlp(), [(x, ["cat"] * 300)]), "labels: dtype <U3 does not hold"),
        (lambda x, y: collapse.measure(mlp().double(), loader(x.double() * 1e200, y)), "features: too large"),
        (
            lambda x, y: collapse.measure(mlp(), loader(x * math.nan, y)),
            "train_loader: features are not finite",
        ),
        (lambda x, y: collapse.measure(mlp(), loader(x, y), loader(x, y + 9)), "test_loader: labels from 9"),
        (lambda x, y: collapse.CollapseMetrics(nn.Conv1d(1, 1, 1)), "head is a Conv1d; the model's last"),
        (
            lambda x, y: collapse.CollapseMetrics(nn.Linear(9, 5)).update(x, y),
            r"update: .* \(300, 12\); .* B x 9",
        ),
        (
            lambda x, y: collapse.CollapseHistory(mlp(), iter([(x, y)])),
            "train_loader can be gone through once",
        ),
        (lambda x, y: collapse.CollapseHistory(mlp(), []), "train_loader gives no batch"),
    ],
)
def test_what_cannot_be_measured_is_one_line_that_says_what_to_do(call, message):
    with pytest.raises(ValueError, match=message) as refusal:
        call(*data())
    assert isinstance(refusal.value, InputError) and "\n" not in str(refusal.value)


def test_weights_that_are_not_finite_are_named():
    model = mlp()
    with torch.no_grad():
        model[-1].weight[0, 0] = math.inf
    with pytest.raises(ValueError, match="weight of the last layer: not finite"):
        collapse.measure(model, loader(*data()))


def test_the_note_on_one_pass_is_in_the_text():
    text = str(updated(mlp(), data()).compute().under("papyan"))
    assert "NC4: not measured, it needs a second pass over the training set" in text


def test_features_whose_squares_overflow_are_refused_in_one_pass_too():
    head, (inputs, labels) = nn.Linear(12, 5).double(), data()
    metric = collapse.CollapseMetrics(head)
    metric.update(inputs.double() * 1e170, labels)
    with pytest.raises(ValueError, match="features: too large, their squares overflow"):
        metric.compute()
