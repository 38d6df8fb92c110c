"""The two tables: what is valid, and what a run that did not end may not show."""

import numpy as np
import pandas as pd
import pytest

from collapse.measuring.collect import last_measured, with_validity


def test_valid_is_done_with_at_least_the_accuracy():
    runs = pd.DataFrame(
        {
            "experiment": "grid",
            "loss": "cross_entropy",
            "train_loss": 0.01,
            "status": ["done", "done", "done", "done", "diverged", "failed"],
            "train_accuracy": [0.9899, 0.99, 0.9901, np.nan, 1.0, np.nan],
            "reason": ["", "", "", "", "loss is not finite at epoch 3", "out of memory"],
        }
    )
    judged = with_validity(runs, {"grid": 0.99})
    assert judged.valid.tolist() == [False, True, True, False, False, False]
    assert judged.reason.tolist() == [
        "undertrained: training accuracy 0.9899 < 0.99", "", "",
        "undertrained: training accuracy nan < 0.99",
        "loss is not finite at epoch 3", "out of memory",
    ]  # fmt: skip


def test_each_experiment_has_its_own_bar():
    """The paper keeps ViT runs from 50% on; a run of two experiments may be valid in one alone."""
    runs = pd.DataFrame(
        {"experiment": ["grid", "vit"], "status": "done", "train_accuracy": 0.6, "reason": "",
         "loss": "cross_entropy", "train_loss": 0.6}
    )  # fmt: skip
    judged = with_validity(runs, {"grid": 0.99, "vit": 0.5})
    assert judged.valid.tolist() == [False, True]
    assert judged.reason.tolist() == ["undertrained: training accuracy 0.6000 < 0.99", ""]


def test_a_run_whose_outputs_went_to_zero_under_squared_loss_is_not_valid():
    runs = pd.DataFrame(
        {
            "experiment": "a",
            "status": "done",
            "loss": ["squared", "squared", "squared", "cross_entropy"],
            "train_loss": [0.01, 0.5, np.nan, 0.5],
            "train_accuracy": 1.0,
            "reason": "",
        }
    )
    judged = with_validity(runs, {"a": 0.9})
    assert judged.valid.tolist() == [True, False, False, True]
    assert judged.reason[1] == "collapsed to zero: training loss 0.5000"


def test_the_end_is_one_row_of_the_history_not_the_last_number_of_each_column():
    history = pd.DataFrame(
        {
            "key": ["a", "a", "a", "b"],
            "epoch": [0, 1, 2, 0],
            "measured": [True, True, False, True],
            "train_loss": [2.3, np.nan, np.nan, 2.2],
            "train_accuracy": [0.1, 0.5, np.nan, 0.2],
        }
    )
    last = last_measured(history)
    assert np.isnan(last.loc["a", "train_loss"]) and last.loc["a", "train_accuracy"] == 0.5
    assert last.loc["b", "train_loss"] == pytest.approx(2.2)
