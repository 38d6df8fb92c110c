"""The schedule and the batch counts, exactly as the paper has them."""

import math
from itertools import pairwise

import pytest

from collapse.study import schedules


def test_milestones_of_200_epochs():
    assert schedules.milestones(200) == (66, 133)
    factors = [schedules.thirds(epoch, 200) for epoch in range(200)]
    assert factors[65] == 1.0
    assert factors[66] == factors[132] == 0.1
    assert factors[133] == factors[199] == pytest.approx(0.01)


@pytest.mark.parametrize(("samples", "batches"), [(60_000, 469), (50_000, 391), (128, 1), (129, 2)])
def test_last_smaller_batch_is_kept(samples, batches):
    assert schedules.batches_per_epoch(samples, 128) == batches


def test_sum_of_the_papers_schedule():
    paper = dict(schedule="thirds", epochs=200, num_samples=60_000, batch_size=128)
    total = schedules.sum_of_schedule(**paper)
    assert total == pytest.approx(469 * (66 + 67 * 0.1 + 67 * 0.01))
    rates = list(schedules.step_learning_rates(learning_rate=0.5, **paper))
    assert len(rates) == 200 * 469
    assert sum(rates) == pytest.approx(0.5 * total)


def test_features_are_looked_at_often_at_first():
    def seen(epochs, measure_every):
        when = {"epochs": epochs, "measure_every": measure_every}
        return [epoch for epoch in range(epochs + 1) if schedules.is_measured(epoch, **when)]

    assert seen(200, 10) == [0, 1, 2, 4, 8, *range(10, 201, 10)]
    assert seen(3, 1) == [0, 1, 2, 3]
    assert seen(7, 4) == [0, 1, 2, 4, 7]
    assert seen(1, 10) == [0, 1]


def test_cosine_with_warmup_over_a_twentieth_of_the_epochs():
    """The ViT's 200 epochs: ten of warm-up, then half a cosine that ends near 0."""
    factors = [schedules.cosine_warmup(epoch, 200) for epoch in range(200)]
    assert factors[:10] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert factors[10] == 1.0 and factors[105] == pytest.approx(0.5)
    assert factors[199] == pytest.approx((1 + math.cos(math.pi * 189 / 190)) / 2)
    assert all(later < earlier for earlier, later in pairwise(factors[10:]))


def test_the_schedules_of_related_works():
    """Zhu et al. divide by ten every 40 of 200 epochs, Jacot et al. once after four fifths."""
    assert [schedules.fifths(epoch, 200) for epoch in (0, 39, 40, 79, 80, 120, 160, 199)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.001, 1e-4, 1e-4], rel=1e-12
    )
    assert [schedules.last_fifth(epoch, 10) for epoch in range(10)] == [1.0] * 8 + [0.1] * 2
    size = {"num_samples": 50_000, "batch_size": 256, "epochs": 200}
    assert schedules.sum_of_schedule(schedule="fifths", **size) == pytest.approx(196 * 40 * 1.1111, rel=1e-12)
