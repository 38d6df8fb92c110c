"""The closed forms against the paper's printed numbers (spec, sections 3.1 to 3.3)."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from collapse.study.schedules import step_learning_rates
from collapse.theory.closed_forms import sgd_nc0_ratio, sgdw_nc0_ratio

REPORTED = yaml.safe_load(
    (Path(__file__).parents[2] / "reference" / "reported.yaml").read_text(encoding="utf-8")
)
NC0_AT_INITIALISATION = 1.7538


def paper_rates(learning_rate):
    return list(
        step_learning_rates(
            learning_rate=learning_rate,
            schedule="thirds",
            epochs=200,
            num_samples=60_000,
            batch_size=128,
        )
    )


def test_all_56_nc0_cells_of_figure_5():
    heatmap = REPORTED["figure5"]
    rates = paper_rates(0.001)
    for momentum, row in zip(heatmap["momentum"], heatmap["NC0"], strict=True):
        for weight_decay, cell in zip(heatmap["weight_decay"], row, strict=True):
            ratio = sgd_nc0_ratio(rates, momentum=momentum, weight_decay=weight_decay)[-1]
            assert f"{NC0_AT_INITIALISATION * ratio:.2f}" == f"{cell:.2f}", (momentum, weight_decay)


def test_table_2_sgdw():
    ratio = sgdw_nc0_ratio(paper_rates(0.0679), momentum=0.9, weight_decay=5e-4)[-1]
    assert ratio == pytest.approx(0.3109, abs=5e-5)
    assert round(ratio - 1, 3) == REPORTED["table2"]["SGDW"]["change"]["NC0"]


def test_table_2_sgd_lies_below_the_floor_of_float32():
    ratio = sgd_nc0_ratio(paper_rates(0.0679), momentum=0.9, weight_decay=5e-4)[-1]
    assert NC0_AT_INITIALISATION * ratio == pytest.approx(1.4e-5, rel=0.05)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_without_weight_decay_nc0_never_moves(momentum):
    rates = paper_rates(0.01)[:1000]
    assert np.all(sgd_nc0_ratio(rates, momentum=momentum, weight_decay=0.0) == 1)
    assert np.all(sgdw_nc0_ratio(rates, momentum=momentum, weight_decay=0.0) == 1)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_bounds_of_theorems_3_1_and_3_2_are_sharp(momentum):
    rates = np.full(20_000, 0.1)
    inside, outside = 0.999, 1.001
    bound_3_2 = 2 * (1 + momentum) / 0.1
    assert sgd_nc0_ratio(rates, momentum=momentum, weight_decay=inside * bound_3_2)[-1] < 1e-3
    assert sgd_nc0_ratio(rates, momentum=momentum, weight_decay=outside * bound_3_2)[-1] > 1e3
    assert sgdw_nc0_ratio(rates, momentum=momentum, weight_decay=inside * 2 / 0.1)[-1] < 1e-3
    assert sgdw_nc0_ratio(rates, momentum=momentum, weight_decay=outside * 2 / 0.1)[-1] > 1e3
