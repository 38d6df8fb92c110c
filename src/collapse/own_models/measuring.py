"""`collapse.measure`: the metrics of a model on a loader, in two passes over it, or in one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from collapse.metrics.class_statistics import (
    ClassStatistics,
    assembled,
    new_scatter,
    second_sweep,
    test_sweep,
)
from collapse.metrics.scatter import ClassScatter
from collapse.metrics.sweeps import TooLarge
from collapse.own_models.batches import class_labels, is_repeatable, num_batches, split_batch
from collapse.own_models.errors import ModelError
from collapse.own_models.features import Features, unwrapped
from collapse.own_models.one_pass import (
    ONE_PASS,
    OnePass,
    feature_rows,
    layer_in_float64,
    means_of,
    one_pass_fields,
)
from collapse.own_models.progress import with_progress
from collapse.own_models.result import Measurement, require_convention
from collapse.own_models.undisturbed import undisturbed

Rows = Iterator[tuple[Tensor, Tensor]]
# Of the class means between two passes, beside their standard error: what is more comes of other samples.
SAME_MEANS = 0.01
ROUNDING = 1e-5  # of float32, in which other sizes of batches may be computed in another order


def measure(
    model: nn.Module,
    train_loader: Iterable[Any],
    test_loader: Iterable[Any] | None = None,
    *,
    head: str | None = None,
    device: torch.device | str | None = None,
    convention: str = "reported",
) -> Measurement:
    """The collapse metrics of a model's last layer.

    The features are the input of the last nn.Linear to run, or of the one that `head` names. The model runs
    in eval mode, on `device` if one is given, and is afterwards as it was. Class means and the deviations
    from them are summed in float64 in two passes over train_loader, whose features are never all in memory;
    in one pass where it cannot be repeated. test_loader is gone through once, for NC4.

    Loaders give (inputs, labels) or mappings with labels in them: integers, or one-hot. convention: whose
    definitions, see docs/metrics.md. Raises ModelError, in one line that names the remedy.
    """
    require_convention(convention)
    loaders = [train_loader] if test_loader is None else [train_loader, test_loader]
    model = unwrapped(model)
    with undisturbed(model, device=device, loaders=loaders):
        features = Features(model, head)
        try:
            statistics, notes = measured(features, train_loader, test_loader)
        except TooLarge as error:
            raise ModelError(str(error)) from None
    return Measurement(statistics, convention=convention, head=features.name, notes=notes)


def measured(
    features: Features, train_loader: Iterable[Any], test_loader: Iterable[Any] | None
) -> tuple[ClassStatistics, list[str]]:
    """Class statistics, and what has to be said of them."""
    if not is_repeatable(train_loader):
        return once_through(features, train_loader, test_loader), [ONE_PASS]
    parts = partial(feature_chunks, features, train_loader, name="train_loader")
    first = None
    for rows_BD, labels_B in parts(words="training set, pass 1 of 2"):
        if first is None:
            last_layer = layer_in_float64(features.layer)
            first = ClassScatter(len(last_layer[0]), rows_BD.mean(0), matrix=False)
        first.add(rows_BD, labels_B)
    if first is None:
        raise ModelError("train_loader gives no batch")
    known, notes = {"last_layer": last_layer, "means": means_of(first)}, []
    second = new_scatter(known["means"])
    found = second_sweep(parts(words="training set, pass 2 of 2"), **known, scatter=second)
    if not same_samples(first, second):
        known["means"] = means_of(second)
        found |= one_pass_fields(require_matrix(second), known["means"])
        notes = [f"train_loader gave other samples in its second pass, which alone counts; {ONE_PASS}"]
    tested = test_chunks(features, test_loader)
    found |= test_sweep(tested, **known, scatter=new_scatter(known["means"]))
    has_bias = features.layer.bias is not None
    return assembled(found, **known, counts_K=second.counts_K, has_bias=has_bias), notes


def once_through(
    features: Features, train_loader: Iterable[Any], test_loader: Iterable[Any] | None
) -> ClassStatistics:
    """Class statistics of a training set that is seen once."""
    sums = None
    for rows_BD, labels_B in feature_chunks(
        features, train_loader, name="train_loader", words="training set, in one pass"
    ):
        sums = OnePass(layer_in_float64(features.layer)) if sums is None else sums
        sums.add(rows_BD, labels_B)
    if sums is None:
        raise ModelError("train_loader gives no batch; an iterator can be gone through once")
    for rows_BD, labels_B in test_chunks(features, test_loader):
        sums.add_test(rows_BD, labels_B)
    return sums.statistics(has_bias=features.layer.bias is not None)


def same_samples(first: ClassScatter, second: ClassScatter) -> bool:
    """Whether two passes saw the same: as many of each class, with the same means up to rounding."""
    if not torch.equal(first.counts_K, second.counts_K):
        return False
    means = [each.origin_D + each.means_KD for each in (first, second)]
    moved_K = torch.linalg.vector_norm(means[0] - means[1], dim=1)
    error_K = second.trace_K.sqrt() / second.counts_K  # the standard error of the class means
    size_K = torch.linalg.vector_norm(means[1], dim=1)
    return bool((moved_K <= SAME_MEANS * error_K + ROUNDING * size_K).all())


def require_matrix(scatter: ClassScatter) -> ClassScatter:
    """That the second pass can stand alone. Raises ModelError."""
    if scatter.scatter_DD is None:
        raise ModelError(
            "train_loader gave other samples in its second pass; leave out random augmentation and sampling, "
            "or measure in one pass: iter(train_loader)"
        )
    return scatter


def test_chunks(features: Features, test_loader: Iterable[Any] | None) -> Rows:
    """The pass over the test set, of no batch where there is none."""
    if test_loader is not None:
        yield from feature_chunks(features, test_loader, name="test_loader", words="test set")


def feature_chunks(features: Features, loader: Iterable[Any], *, name: str, words: str) -> Rows:
    """One pass: the features of each batch in float64, and its labels. Raises ModelError."""
    for batch in with_progress(loader, total=num_batches(loader), words=words):
        inputs = split_batch(batch, name=name)
        raw = features.of(inputs, loader=name)
        rows_BD = feature_rows(raw, features.layer.weight, name=name)
        sizes = {"num_samples": len(rows_BD), "num_classes": features.layer.out_features}
        yield rows_BD, class_labels(inputs.labels, **sizes, name=name).to(rows_BD.device)
