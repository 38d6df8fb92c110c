"""Claims C5, C6, C10 and C11, each judged by hand on a few runs."""

from __future__ import annotations

import pytest
from claim_rows import ORDERED, both, table, value_of

from collapse.paper.claims.evidence import (
    FAILS,
    HOLDS,
    NOT_TESTABLE,
)
from collapse.paper.claims.training import (
    coupling_lowers,
    longer_changes_nothing,
    momentum_strengthens_decay,
    ufm_splits_too,
)


def test_c5_counts_what_decay_takes_off_so_that_momentum_alone_does_not_count():
    rows = []
    for momentum, start, end in ((0.0, 1.0, 0.9), (0.5, 0.5, 0.4), (0.9, 0.4, 0.2)):
        rows += [both("SGD", 0.0, 2.0, start, momentum=momentum)]
        rows += [both("SGD", 0.1, 2.0 - momentum, end, momentum=momentum)]
    how = ORDERED | {"equal_loss": 1.1}
    found = momentum_strengthens_decay(table(*rows), **how)
    # parts of NC3: 0.1, 0.2, 0.5; of NC0: 0, 0.25, 0.45
    assert found.verdict == HOLDS and "NC0 is taken off in 3 of 3 pairs, of NC3 in 3 of 3" in found.words
    assert found.effect["value"] == pytest.approx((0.1 + 0.4 + 0.3) / 3)
    assert "control, at equal learning rate / (1 - momentum): not testable" in found.words
    assert "equal training loss: NC3 x" in found.words  # all have the same loss here
    same_part = table(
        *rows[:4], both("SGD", 0.0, 2.0, 0.4, momentum=0.9), both("SGD", 0.1, 1.1, 0.36, momentum=0.9)
    )
    found = momentum_strengthens_decay(same_part, **how)  # 0.1, 0.2, 0.1: one up, one down, one tie
    assert found.verdict == FAILS and "of NC3 in 1 of 2" in found.words
    without_zero = table(*rows)[lambda runs: runs["weight_decay"] > 0]
    assert momentum_strengthens_decay(without_zero, **how).verdict == NOT_TESTABLE
    assert momentum_strengthens_decay(table(*rows)[:0], **how).verdict == NOT_TESTABLE


def test_c5_control_is_at_equal_learning_rate_over_one_minus_momentum():
    rows = []
    for rate, momentum, nc3 in ((0.01, 0.0, 0.5), (0.001, 0.9, 0.4), (0.01, 0.9, 0.3), (0.001, 0.0, 0.6)):
        rows += [
            both("SGD", d, 1.0 - d * (1 + momentum), n, momentum=momentum, learning_rate=rate)
            for d, n in ((0, 0.8), (0.1, nc3))
        ]
    found = momentum_strengthens_decay(table(*rows), equal_loss=1.1, **ORDERED)
    part = "equal learning rate / (1 - momentum)"
    assert value_of(found, "NC3 at larger / smaller momentum", part) == pytest.approx(0.4 / 0.5)
    assert "control, at equal learning rate / (1 - momentum): NC3 x 0.8, n 1" in found.words


def test_c6_wants_every_metric_to_fall_with_the_coupled_share_at_equal_accuracy():
    def share(fraction: float, nc3: float, accuracy: float = 0.9) -> dict:
        run = both("AdamInterpolated", 0.1, 3 - fraction, nc3, NC2=1 - fraction / 2, test_accuracy=accuracy)
        return run | {"coupled_fraction": fraction}

    how = ORDERED | {"equal_accuracy": 0.01}
    found = coupling_lowers(table(share(0.0, 0.8), share(0.5, 0.6), share(1.0, 0.2)), **how)
    part = "ResNet9 FashionMNIST"
    assert found.verdict == HOLDS
    assert value_of(found, "NC3 at the largest / smallest coupled share", part) == pytest.approx(0.25)
    assert value_of(found, "NC2: Kendall's tau with the coupled share", part) == pytest.approx(-1)
    assert value_of(found, "NC0 at the largest / smallest coupled share", part) == pytest.approx(2 / 3)
    up = coupling_lowers(table(share(0.0, 0.8), share(0.5, 0.2), share(1.0, 0.6)), **how)
    assert up.verdict == FAILS and value_of(
        up, "NC3: Kendall's tau with the coupled share", part
    ) == pytest.approx(-1 / 3)
    other = coupling_lowers(table(share(0.0, 0.8), share(0.5, 0.6), share(1.0, 0.2, 0.87)), **how)
    assert other.verdict == FAILS and value_of(other, "span of test accuracies", part) == pytest.approx(0.03)
    assert coupling_lowers(table(share(0.0, 0.8)), **how).verdict == NOT_TESTABLE
    assert coupling_lowers(table(both("Adam", 0.1, 1, 1)), **how).verdict == NOT_TESTABLE


def _lengths(name: str, decay: float, short: float, long: float) -> list[dict]:
    return [both(name, decay, nc * 2, nc, epochs=e) for e, nc in ((20, short), (200, long))]


def test_c10_asks_whether_the_order_of_runs_is_the_same_when_trained_longer():
    kept = table(
        *_lengths("Adam", 0.0, 0.9, 0.8), *_lengths("Adam", 0.1, 0.4, 0.3), *_lengths("AdamW", 0.1, 0.7, 0.6)
    )
    found = longer_changes_nothing(kept, **ORDERED)
    assert found.verdict == HOLDS
    assert "20 and 200 epochs: the order of NC0 is kept in 3 of 3 pairs, of NC3 in 3 of 3" in found.words
    assert value_of(found, "NC3 AdamW / Adam", "200 epochs") == pytest.approx(2)
    turned = table(
        *_lengths("Adam", 0.0, 0.9, 0.5), *_lengths("Adam", 0.1, 0.4, 0.3), *_lengths("AdamW", 0.1, 0.7, 0.6)
    )
    found = longer_changes_nothing(turned, **ORDERED)
    assert found.verdict == FAILS and "of NC3 in 2 of 3" in found.words
    overtaken = table(*_lengths("Adam", 0.1, 0.4, 0.5), *_lengths("AdamW", 0.1, 0.7, 0.45))
    assert longer_changes_nothing(overtaken, **ORDERED).verdict == FAILS
    assert longer_changes_nothing(kept[kept["epochs"] == 20], **ORDERED).verdict == NOT_TESTABLE
    assert longer_changes_nothing(kept[:0], **ORDERED).verdict == NOT_TESTABLE


def test_c11_is_c3_of_adam_in_the_ufm_with_sgdw_beside_it():
    ufm = {"architecture": "UFM", "dataset": "Indices"}
    runs = table(
        both("Adam", 0.1, 0.5, 0.2, **ufm),
        both("Adam", 0.2, 0.25, 0.1, **ufm),
        both("AdamW", 0.2, 5.0, 0.8, **ufm),
        both("SGDW", 0.2, 0.1, 0.1, **ufm),
    )
    found = ufm_splits_too(runs, **ORDERED)
    assert found.verdict == HOLDS and found.effect["value"] == pytest.approx(32**0.5)  # of 4 and 8
    assert "over SGDW NC3 x 8, n 1" in found.words and "NC3 in 1 of 1" in found.words
    swapped = runs.replace({"optimizer": {"Adam": "AdamW", "AdamW": "Adam"}}).assign(weight_decay=0.1)
    assert ufm_splits_too(swapped.drop(index=1), **ORDERED).verdict == FAILS
    assert ufm_splits_too(runs[runs["optimizer"] != "AdamW"], **ORDERED).verdict == NOT_TESTABLE
