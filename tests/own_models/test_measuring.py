"""`collapse.measure` against class statistics of all features at once, on models of many kinds."""

import math
import weakref

import numpy as np
import pytest
import torch
from small_models import data, loader, mlp, statistics_of
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

import collapse
from collapse.datasets.torchvision_import import torchvision
from collapse.metrics.conventions import CONVENTIONS, measure_all

TOLERANCE = 1e-9


def assert_same(found, statistics, *, rel=TOLERANCE, but=()):
    """Every metric of every convention."""
    for convention in CONVENTIONS:
        wanted = measure_all(statistics, convention=convention)
        values = found.under(convention)
        for name in set(wanted) - ({"NC4"} if convention in but else set()):
            assert values[name] == pytest.approx(wanted[name], rel=rel, abs=1e-12, nan_ok=True), (
                convention,
                name,
            )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch_size", [7, 64, 1000])
def test_batches_give_what_the_whole_matrix_gives(batch_size, bias):
    train, test, model = data(), data(80, seed=1), mlp(bias=bias).double()
    found = collapse.measure(
        model, loader(*train, batch_size=batch_size, shuffle=True), loader(*test, batch_size=batch_size)
    )
    assert found.head == "4" and found.notes == []
    assert_same(found, statistics_of(model[:-1], model[-1], train, test))


def test_without_a_test_set():
    train, model = data(), mlp()
    found = collapse.measure(model, loader(*train))
    assert math.isnan(found["NC4"]) and "needs test_features" in found.reasons()["NC4"]
    assert_same(found, statistics_of(model[:-1], model[-1], train))


@pytest.mark.parametrize(
    ("counts", "features"),
    [
        ([200, 50, 20, 5, 2], 16),  # imbalanced
        ([60, 40], 16),  # two classes
        ([12] * 30, 6),  # fewer features than classes
        ([3] * 1000, 24),  # a thousand classes
    ],
)
def test_numbers_of_classes_and_samples(counts, features):
    train = data(counts=counts)
    model = mlp(num_classes=len(counts), features=features).double()
    found = collapse.measure(model, loader(*train, batch_size=50), loader(*train, batch_size=50))
    assert_same(found, statistics_of(model[:-1], model[-1], train, train))
    assert any("no simplex" in note for note in found.notes) == (len(counts) > features + 1)


def test_more_classes_than_a_simplex_has_name_what_is_attainable():
    model = mlp(num_classes=30, features=6)
    text = str(collapse.measure(model, loader(*data(counts=[12] * 30))))
    assert "best attainable" in text and "K = 30 > p + 1 = 7" in text
    row = next(line for line in text.splitlines() if line.startswith("NC2 "))
    assert float(row.split()[-1]) == pytest.approx(math.sqrt(2 - 2 * math.sqrt(6 / 29)), rel=1e-4)
    assert next(line for line in text.splitlines() if line.startswith("NC2a")).endswith("–")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_models_in_other_precisions_take_float32_images(dtype):
    train, model = data(), mlp().to(dtype)
    found = collapse.measure(model, loader(*train))
    statistics = statistics_of(model[:-1], model[-1], train)
    # In bfloat16 batches of other sizes may be computed in another order.
    assert_same(found, statistics, rel=0.02 if dtype == torch.bfloat16 else TOLERANCE)
    assert found.statistics.centred_means_KD.dtype == np.float64


def test_one_hot_labels_are_classes():
    train, model = data(), mlp()
    one_hot = nn.functional.one_hot(train[1], 5)
    wanted = dict(collapse.measure(model, loader(*train)))
    for labels in (one_hot, one_hot.float(), one_hot.bool()):
        assert dict(collapse.measure(model, loader(train[0], labels))) == pytest.approx(wanted, nan_ok=True)


def test_a_torchvision_resnet():
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=5)
    train = torch.randn(60, 3, 32, 32), torch.arange(60) % 5
    found = collapse.measure(model, loader(*train, batch_size=16), loader(*train, batch_size=16))
    assert found.head == "fc"
    body = nn.Sequential(*list(model.children())[:-1])
    assert_same(found, statistics_of(body, model.fc, train, train), rel=1e-4)


class Text(nn.Module):
    """A transformer with a head on the mean of its tokens, or on every one of them."""

    def __init__(self, *, pooled=True):
        super().__init__()
        torch.manual_seed(0)
        self.pooled = pooled
        self.embedding = nn.Embedding(30, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.classifier = nn.Linear(16, 4)

    def forward(self, input_ids, attention_mask):
        hidden = self.encoder(self.embedding(input_ids), src_key_padding_mask=attention_mask == 0)
        if not self.pooled:
            return {"logits": self.classifier(hidden).mean(1)}
        weights = attention_mask[..., None] / attention_mask.sum(1)[:, None, None]
        return {"logits": self.classifier((weights * hidden).sum(1))}


def text_batches(num_batches=6):
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "input_ids": torch.randint(0, 30, (20, 9), generator=generator),
            "attention_mask": torch.arange(9).expand(20, 9)
            < torch.randint(1, 10, (20, 1), generator=generator),
            "labels": torch.arange(20) % 4,
        }
        for _ in range(num_batches)
    ]


def test_a_transformers_pooled_head_and_batches_that_are_mappings():
    model = Text()
    found = collapse.measure(model, text_batches())
    assert found.head == "classifier" and found.statistics.counts_K.tolist() == [30] * 4
    assert 0 < found["NC1"] < math.inf
    pairs = [({k: v for k, v in batch.items() if k != "labels"}, batch["labels"]) for batch in text_batches()]
    assert dict(collapse.measure(model, pairs)) == pytest.approx(dict(found), nan_ok=True)
    inputs = [(batch["input_ids"], batch["attention_mask"], batch["labels"]) for batch in text_batches()]
    assert dict(collapse.measure(model, inputs)) == pytest.approx(dict(found), nan_ok=True)
    with pytest.raises(ValueError, match=r"head 'classifier' gets inputs of shape \(20, 9, 16\) .* pooling"):
        collapse.measure(Text(pooled=False), text_batches())


def test_a_head_that_is_named():
    model, train = mlp(), data()
    named = nn.ModuleDict(
        {"body": model[:-1], "old": nn.Linear(16, 9), "new": model[-1], "late": nn.Linear(5, 5)}
    )
    named.forward = lambda x: named["late"](named["new"](named["body"](x)))
    assert collapse.measure(named, loader(*train)).head == "late"
    found = collapse.measure(named, loader(*train), head="new")
    assert_same(found, statistics_of(model[:-1], model[-1], train))


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
def test_models_in_a_wrapping(wrap):
    model, train = mlp(), data()
    found = collapse.measure(wrap(model), loader(*train))
    assert_same(found, statistics_of(model[:-1], model[-1], train))


class Stream(IterableDataset):
    def __init__(self, pairs):
        self.pairs = pairs

    def __iter__(self):
        return iter(self.pairs)


def generator_of(batches):
    yield from batches


@pytest.mark.parametrize("kind", ["generator", "iterator", "stream"])
def test_what_cannot_be_repeated_is_gone_through_once(kind):
    train, test, model = data(counts=[100, 60, 30, 8, 2]), data(80, seed=1), mlp().double()

    def once(inputs, labels):
        batches = loader(inputs, labels, batch_size=32)
        pairs = list(zip(inputs, labels, strict=True))
        return {
            "generator": lambda: generator_of(batches),
            "iterator": lambda: iter(batches),
            "stream": lambda: DataLoader(Stream(pairs), batch_size=32),
        }[kind]()

    found = collapse.measure(model, once(*train), once(*test))
    statistics = statistics_of(model[:-1], model[-1], train, test)
    assert_same(found, statistics, but=["papyan"])
    assert math.isnan(found.under("papyan")["NC4"])
    assert "one pass over the training set" in found.notes[0]
    assert found.statistics.accuracy_train == pytest.approx(statistics.accuracy_train)
    assert found.statistics.cosine_train == pytest.approx(statistics.cosine_train)


class Augmented:
    """A loader of other images in every pass."""

    def __init__(self, inputs, labels, *, noise):
        self.inputs, self.labels, self.noise, self.passes = inputs, labels, noise, []

    def __iter__(self):
        noisy = self.inputs + self.noise * torch.randn(self.inputs.shape)
        self.passes.append(noisy)
        return iter(loader(noisy, self.labels))


def test_random_augmentation_is_noticed_and_the_second_pass_counts():
    train, model = data(), mlp().double()
    batches = Augmented(*train, noise=0.3)
    found = collapse.measure(model, batches)
    assert "other samples in its second pass" in found.notes[0] and len(batches.passes) == 2
    statistics = statistics_of(model[:-1], model[-1], (batches.passes[1], train[1]))
    assert_same(found, statistics, but=["papyan"])
    assert found.statistics.accuracy_train == pytest.approx(statistics.accuracy_train)
    steady = collapse.measure(model, Augmented(*train, noise=0.0))
    assert steady.notes == []
    assert_same(steady, statistics_of(model[:-1], model[-1], train))


def test_a_shuffled_loader_that_drops_the_rest_is_noticed():
    train, model = data(counts=[60] * 5), mlp()
    found = collapse.measure(model, loader(*train, batch_size=64, shuffle=True, drop_last=True))
    assert "other samples" in found.notes[0] and found.statistics.counts_K.sum() == 256


def test_only_a_batch_of_features_is_in_memory():
    """However many there are: what the body gives is gone when the next but one runs."""
    alive = []

    class Body(nn.Linear):
        def forward(self, x):
            features = super().forward(x)
            assert sum(reference() is not None for reference in alive) <= 1
            alive.append(weakref.ref(features))
            return features

    torch.manual_seed(0)
    model = nn.Sequential(Body(12, 16), nn.Linear(16, 5))
    collapse.measure(model, loader(*data(), batch_size=10))
    assert len(alive) > 60


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu():
    train, model = data(), mlp()
    before = statistics_of(model[:-1], model[-1], train)
    found = collapse.measure(model, loader(*train), device="cuda")
    assert_same(found, before, rel=1e-3)
    assert next(model.parameters()).device.type == "cpu"
    assert_same(collapse.measure(model.cuda(), loader(*train)), before, rel=1e-3)
