"""The claims: on tables small enough to judge by hand each must hold, fail, and not be testable."""

from __future__ import annotations

import copy
import runpy

import numpy as np
import pandas as pd
import pytest
from as_job import as_job
from conftest import ROOT
from synthetic import SCRIPTS, fail, make_study

from collapse.claims import CRITERIA, STATEMENTS, changes_of_verdict, findings
from collapse.claims.decay import (
    ADAPTIVE,
    decay_is_needed,
    decoupled_stays_above,
    more_decay_is_lower,
    sgd_differs_little,
)
from collapse.claims.evidence import (
    FAILS,
    HOLDS,
    NOT_TESTABLE,
    interval,
    mean_estimate,
    paired,
    share_estimate,
    steps,
    usable,
)
from collapse.claims.geometry import (
    adamw_collapses_in_part,
    nc0_explains_nc3,
    nc4_follows_accuracy,
    theory_is_exact,
)
from collapse.claims.table import claims_table, judged_claims, print_claims, terminal_lines
from collapse.claims.training import (
    coupling_lowers,
    longer_changes_nothing,
    momentum_strengthens_decay,
    ufm_splits_too,
)
from collapse.cli import main
from collapse.parameters import ParameterError
from collapse.results import MEASURES, RUN_COLUMNS
from collapse.target_checks import check_targets
from collapse.targets import face_note, target_settings

BOOTSTRAP = {"resamples": 200, "confidence": 0.95, "seed": 3141}
OVER = {"floor": 0.001, "bootstrap": BOOTSTRAP}
ORDERED = OVER | {"least_share": 0.9, "tie": 0.02}
SETTING = {
    "architecture": "ResNet9", "width": 1.0, "dataset": "FashionMNIST", "image_size": 32, "train_size": 60000,
    "augmentation": "none", "learning_rate": 0.001, "momentum": 0.9, "weight_decay": 0.0,
    "coupled_fraction": np.nan, "beta2": 0.999, "epsilon": 1e-8, "schedule": "thirds", "epochs": 200,
    "batch_size": 128, "measure_every": 5, "seed": 3141,
}  # fmt: skip
THEOREMS = pd.DataFrame({"check": ["alpha", "as printed: limit"], "verdict": ["holds", "fails"]})


def table(*rows: dict) -> pd.DataFrame:
    """A row a dict of what differs from a valid run of Adam with metrics 1 and NC0 2 at the start."""
    every = []
    for place, row in enumerate(rows):
        run = dict.fromkeys(RUN_COLUMNS) | SETTING | dict.fromkeys(MEASURES, 1.0)
        run |= {f"{name}_init": 2.0 for name in MEASURES}
        run |= {
            "experiment": "grid",
            "key": f"run{place}",
            "pack": "p",
            "optimizer": "Adam",
            "status": "done",
        }
        run |= {"reason": "", "valid": True, "train_accuracy": 1.0, "test_accuracy": 0.9, "train_loss": 0.01}
        every.append(run | {"NC0_closed_form": np.nan} | row)
    return pd.DataFrame(every)


def both(name: str, decay: float, nc0: float, nc3: float, **more: object) -> dict:
    return {"optimizer": name, "weight_decay": decay, "NC0": nc0, "NC3": nc3} | more


def value_of(finding, quantity: str, part: str = "all") -> float:
    return next(
        row["value"] for row in finding.numbers if row["quantity"] == quantity and row["part"] == part
    )


# ---- What the claims are judged by -----------------------------------------------------------------


def test_pairs_differ_in_what_was_named_and_in_nothing_else():
    runs = table(
        both("Adam", 0.0, 1, 1),
        both("Adam", 0.1, 1, 1, measure_every=7),
        both("Adam", 0.1, 1, 1, momentum=0.5),
        both("Adam", 0.1, 1, 1, dataset="MNIST"),
    )
    pairs = paired(runs, runs, apart=["weight_decay"])
    pairs = pairs[pairs["weight_decay_a"] < pairs["weight_decay_b"]]
    assert list(zip(pairs["key_a"], pairs["key_b"], strict=True)) == [("run0", "run1")]
    assert paired(runs[:0], runs, apart=["momentum"]).empty


def test_usable_runs_are_valid_trained_once_and_not_below_the_floor():
    runs = table(both("SGD", 0.1, 1e-6, 1), both("SGD", 0.2, 5.0, 1), both("SGD", 0.3, 1, 1, valid=False))
    twice = pd.concat([runs, runs.assign(experiment="table_2")])
    assert usable(twice, floor=0.001)["NC0"].tolist() == [0.001, 5.0]


def test_steps_within_the_tie_count_for_nothing():
    before, after = pd.Series([1.0, 1.0, 1.0, 1.0]), pd.Series([0.99, 0.97, 1.03, np.nan])
    assert steps(before, after, tie=0.02).fillna(9).tolist() == [0, -1, 1, 9]


def test_intervals_are_over_blocks_and_repeat():
    values, blocks = pd.Series([1.0, 3.0, 5.0, 7.0, 9.0, 11.0]), pd.Series([0, 1, 2, 3, 4, 5])
    estimate = mean_estimate(values, blocks, bootstrap=BOOTSTRAP)
    assert estimate["value"] == 6 and estimate["n"] == 6
    assert 2 < estimate["low"] < 5 < 7 < estimate["high"] < 10
    assert estimate == mean_estimate(values, blocks, bootstrap=BOOTSTRAP)
    one_block = mean_estimate(values, pd.Series([0] * 6), bootstrap=BOOTSTRAP)
    assert one_block["value"] == 6 and np.isnan(one_block["low"])
    nothing = mean_estimate(values[:0], blocks, bootstrap=BOOTSTRAP)
    assert np.isnan(nothing["value"]) and nothing["n"] == 0


def test_a_bootstrap_covers_the_mean_as_often_as_it_says():
    rng, inside = np.random.default_rng(0), 0
    for _ in range(300):
        sums = np.column_stack([rng.normal(1.0, 1.0, 40), np.ones(40)])
        low, high = interval(sums, lambda total: total[:, 0] / total[:, 1], **BOOTSTRAP)
        inside += low <= 1.0 <= high
    assert 0.89 < inside / 300 < 0.98


def test_where_all_agree_the_interval_is_the_exact_binomial_of_the_blocks():
    signs, blocks = pd.Series([-1.0, -1.0, -1.0, 0.0]), pd.Series([0, 1, 1, 2])
    estimate = share_estimate(signs, -1, blocks, bootstrap=BOOTSTRAP)
    assert (estimate["value"], estimate["n"], estimate["high"]) == (1.0, 3, 1.0)
    assert estimate["low"] == pytest.approx(0.025**0.5)  # two blocks
    none_so = share_estimate(signs, 1, blocks, bootstrap=BOOTSTRAP)
    assert (none_so["value"], none_so["low"]) == (0.0, 0.0)
    assert none_so["high"] == pytest.approx(1 - 0.025**0.5)


# ---- C1 to C4 --------------------------------------------------------------------------------------


def test_c1_compares_the_smallest_without_decay_to_the_smallest_with():
    runs = table(
        both("Adam", 0.0, 2.0, 0.9),
        both("Adam", 0.1, 1.0, 0.6),
        both("Adam", 0.2, 0.5, 0.3),
        both("SignumW", 0.0, 4.0, 0.8),
        both("SignumW", 0.5, 0.1, 0.1),  # decoupled: it does not stand for coupled decay
        both("Adam", 0.5, 0.01, 0.01, valid=False),
    )
    how = {"metrics": ["NC0", "NC3"], **OVER}
    found = decay_is_needed(runs, **how)
    assert found.verdict == HOLDS
    name = "NC3: smallest without / smallest with coupled decay"
    assert value_of(found, name, "ResNet9 FashionMNIST") == pytest.approx(0.8 / 0.3)
    assert found.effect["value"] == pytest.approx(0.9 / 0.3) and found.effect["n"] == 1
    reached = pd.concat([runs, table(both("SGD", 0.0, 9.0, 0.3, key="x"))])
    found = decay_is_needed(reached, **how)
    assert found.verdict == FAILS and "NC3 1 (ResNet9 FashionMNIST)" in found.words
    assert decay_is_needed(runs[runs["weight_decay"] > 0], **how).verdict == NOT_TESTABLE
    assert decay_is_needed(runs[:0], **how).verdict == NOT_TESTABLE


def test_c2_counts_pairs_that_differ_in_their_coupled_decay_alone():
    falling = [
        both("SGD", decay, nc0, nc3) for decay, nc0, nc3 in ((0, 2, 0.8), (0.1, 1, 0.4), (0.2, 0.5, 0.2))
    ]
    found = more_decay_is_lower(table(*falling), **ORDERED)
    assert found.verdict == HOLDS
    assert found.words == "NC0 is lower in 3 of 3 pairs, NC3 in 3 of 3"
    assert found.effect["value"] == pytest.approx(0.5 ** (4 / 3))  # of 1/2, 1/2 and 1/4
    rising = table(*falling[:2], both("SGD", 0.2, 0.5, 0.6))
    found = more_decay_is_lower(rising, **ORDERED)
    assert found.verdict == FAILS and "NC3 in 2 of 3" in found.words
    tied = table(*falling[:2], both("SGD", 0.2, 0.5, 0.401))
    assert "NC3 in 2 of 2" in more_decay_is_lower(tied, **ORDERED).words
    floor = table(both("SGD", 0.1, 1e-6, 0.8), both("SGD", 0.2, 1e-5, 0.4))
    assert more_decay_is_lower(floor, **ORDERED).verdict == NOT_TESTABLE  # NC0 ties at the floor
    decoupled = table(both("AdamW", 0.1, 1, 0.8), both("AdamW", 0.2, 2, 0.9))
    assert more_decay_is_lower(decoupled, **ORDERED).verdict == NOT_TESTABLE


def test_c2_fails_where_one_optimizer_goes_the_other_way():
    down = [both("SGD", d / 10, 2.0 - d / 10, 0.9 - d / 20) for d in range(10)]  # 45 pairs
    up = [both("Adam", 0.1, 1.0, 0.4), both("Adam", 0.2, 0.5, 0.5)]
    found = more_decay_is_lower(table(*down, *up), **ORDERED)
    assert found.verdict == FAILS and "not in most of: ResNet9 FashionMNIST, Adam (NC3)" in found.words
    assert value_of(found, "NC3 lower, share of pairs") == pytest.approx(45 / 46)


def test_c3_takes_every_decoupled_decay_not_below_the_coupled():
    runs = table(
        both("Adam", 0.1, 1.0, 0.4),
        both("Adam", 1.0, 0.5, 0.2),
        both("AdamW", 0.1, 4.0, 0.8),
        both("AdamW", 1.0, 2.0, 0.8),
        both("AdamW", 0.01, 0.1, 0.1),  # less decay than Adam's: not compared
    )
    how = {"counterparts": ADAPTIVE, **ORDERED}
    found = decoupled_stays_above(runs, **how)
    assert found.verdict == HOLDS
    # (0.1, 0.1), (0.1, 1), (1, 1): NC3 2, 2, 4; NC0 4, 2, 4
    assert found.effect["value"] == pytest.approx(16 ** (1 / 3)) and found.effect["n"] == 3
    assert value_of(found, "NC0 decoupled / coupled") == pytest.approx(32 ** (1 / 3))
    assert value_of(found, "NC3 decoupled / coupled", "equal decay") == pytest.approx(8**0.5)
    assert value_of(found, "NC3 decoupled / coupled", "ten times the decay or more") == pytest.approx(2)
    assert "NC3 above in 3 of 3 pairs, 1 of them at ten times the decay or more" in found.words
    below = pd.concat([runs, table(both("AdamW", 10.0, 3.0, 0.1, key="x"))])
    found = decoupled_stays_above(below, **how)
    assert found.verdict == FAILS and "AdamW over Adam, 10" in found.words
    assert decoupled_stays_above(runs[runs["optimizer"] == "Adam"], **how).verdict == NOT_TESTABLE
    assert decoupled_stays_above(runs[:0], **how).verdict == NOT_TESTABLE


def test_c4_is_a_ratio_of_two_gaps_at_the_same_decay():
    runs = table(
        both("Adam", 0.1, 0.1, 0.2),
        both("AdamW", 0.1, 10.0, 0.8),
        both("SGD", 0.1, 0.1, 0.2),
        both("SGDW", 0.1, 0.2, 0.35),
        both("SGDW", 1.0, 0.1, 0.21),  # 0.1 / (1 - 0.9): the control
        both("SGD", 0.3, 0.001, 0.1),
        both("SGDW", 0.3, 1.0, 0.9),  # a decay at which Adam and AdamW were not run
    )
    found = sgd_differs_little(runs, little=0.5, **OVER)
    assert found.verdict == HOLDS and found.effect["value"] == pytest.approx(0.15 / 0.6)
    name = "log10_NC0: SGDW - SGD, absolute, / (decoupled - coupled, adaptive)"
    assert value_of(found, name) == pytest.approx(np.log10(2) / 2)
    assert value_of(found, "NC3: control, SGDW at decay / (1 - momentum) - SGD") == pytest.approx(0.01)
    assert sgd_differs_little(runs, little=0.2, **OVER).verdict == FAILS
    assert sgd_differs_little(runs[runs["optimizer"] != "SGDW"], little=0.5, **OVER).verdict == NOT_TESTABLE
    lowered = table(both("Adam", 0.1, 1, 0.8), both("AdamW", 0.1, 1, 0.2), *_sgd_pair())
    assert "does not raise" in sgd_differs_little(lowered, little=0.5, **OVER).words


def _sgd_pair() -> list[dict]:
    return [both("SGD", 0.1, 0.1, 0.2), both("SGDW", 0.1, 0.2, 0.35)]


# ---- C5, C6, C10, C11 ------------------------------------------------------------------------------


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


# ---- C7, C8, C9, C12 -------------------------------------------------------------------------------


def test_c7_is_the_r2_of_table_6_and_needs_enough_runs():
    line = [both("SGD", d, 10.0**d, 0.1 * d, NC0_closed_form=10.0**d) for d in range(-4, 6)]
    noise = [row | {"NC3": nc3} for row, nc3 in zip(line, [1, 0] * 5, strict=True)]
    how = {"architecture": "ResNet9", "dataset": "FashionMNIST", "least_r2": 0.7, "least_runs": 10, **OVER}
    found = nc0_explains_nc3(table(*line), **how)
    assert found.verdict == HOLDS and found.effect["value"] == pytest.approx(1.0)
    above = next(row for row in found.numbers if row["part"].endswith("floor of float32"))
    assert above["n"] == 9  # 1e-4 is left out
    fails = nc0_explains_nc3(table(*noise), **how)
    x, y = np.arange(10), np.array([1, 0] * 5)
    assert fails.verdict == FAILS and fails.effect["value"] == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2)
    assert nc0_explains_nc3(table(*line[:9]), **how).verdict == NOT_TESTABLE
    elsewhere = nc0_explains_nc3(table(*line), **(how | {"dataset": "MNIST"}))
    assert elsewhere.verdict == NOT_TESTABLE


def test_c8_needs_one_adamw_run_near_the_smallest_whose_nc0_rose():
    others = [both("SGD", 0.1, 0.1, 0.1, NC1=0.2, NC2=0.3), both("Adam", 0.1, 0.1, 0.1, NC1=0.4, NC2=0.2)]
    near = table(*others, both("AdamW", 1.0, 8.0, 0.5, NC1=0.21, NC2=0.21))
    found = adamw_collapses_in_part(near, near=0.1, floor=0.001)
    assert found.verdict == HOLDS and found.effect["value"] == pytest.approx(1.05)
    assert "NC0 4 times its initial value" in found.words
    assert adamw_collapses_in_part(near, near=0.04, floor=0.001).verdict == FAILS
    fell = near.assign(NC0_init=9.0)
    assert adamw_collapses_in_part(fell, near=0.1, floor=0.001).verdict == NOT_TESTABLE
    assert adamw_collapses_in_part(near[:2], near=0.1, floor=0.001).verdict == NOT_TESTABLE


def test_c9_is_a_share_of_the_valid_runs():
    runs = table(*({"NC4": 1.0} for _ in range(9)), {"NC4": 0.9}, {"NC4": 0.5, "valid": False})
    found = nc4_follows_accuracy(runs, least_nc4=0.99, least_share=0.9)
    assert found.verdict == HOLDS and (found.effect["value"], found.effect["n"]) == (0.9, 10)
    # Wilson's interval of 9 of 10
    assert (found.effect["low"], found.effect["high"]) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert value_of(found, "smallest NC4") == 0.9
    assert nc4_follows_accuracy(runs, least_nc4=0.99, least_share=0.95).verdict == FAILS
    assert (
        nc4_follows_accuracy(runs.assign(NC4=np.nan), least_nc4=0.99, least_share=0.9).verdict == NOT_TESTABLE
    )


def _history(*pairs: tuple[float, float], key: str = "run0") -> pd.DataFrame:
    rows = [
        {"key": key, "epoch": e, "NC0": nc0, "NC0_closed_form": known} for e, (nc0, known) in enumerate(pairs)
    ]
    return pd.DataFrame(rows)


def test_c12_compares_every_epoch_with_the_closed_form_and_counts_the_theorem_checks():
    runs = table(both("SGD", 0.1, 1, 1, NC0_init=1.75381))
    how = {"tolerance": 0.01, "floor": 0.001, "initial_nc0": 1.7538}
    found = theory_is_exact(runs, _history((1.75381, 1.75381), (1.001, 1.0), (5e-5, 1e-9)), THEOREMS, **how)
    assert found.verdict == HOLDS and found.effect["value"] == pytest.approx(0.001)
    assert value_of(found, "largest NC0 at a closed form < 0.001", "SGD, 1 runs, 2 epochs") == 5e-5
    assert "NC0(0) off by 1e-05; 1 of 1 theorem checks hold" in found.words
    for wrong in ((1.02, 1.0), (0.002, 1e-9), (np.nan, 1.0)):
        assert theory_is_exact(runs, _history((1, 1), wrong), THEOREMS, **how).verdict == FAILS
    assert (
        theory_is_exact(runs.assign(NC0_init=1.76), _history((1, 1), (1, 1)), THEOREMS, **how).verdict
        == FAILS
    )
    broken = THEOREMS.assign(verdict="fails")
    assert theory_is_exact(runs, _history((1, 1), (1, 1)), broken, **how).verdict == FAILS
    narrow = theory_is_exact(
        runs.assign(width=0.125, NC0_init=1.59), _history((1, 1), (1, 1)), THEOREMS, **how
    )
    assert narrow.verdict == HOLDS and "no network of full size" in narrow.words
    adam = theory_is_exact(table({"width": 0.125}), _history((1, np.nan)), THEOREMS, **how)
    assert adam.verdict == HOLDS and "no SGD or SGDW run to compare" in adam.words


# ---- All together ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study():
    return make_study(seed=0)


@pytest.fixture
def settings(parameters):
    quick = {"bootstrap": BOOTSTRAP, "alternatives": {"least_share": [0.5]}}
    return target_settings(parameters, "mini", parameters["analysis"]["claims"]["settings"]) | quick


def test_every_claim_has_a_statement_a_criterion_and_a_finding(study, settings):
    settings.pop("alternatives")
    found = findings(*study, THEOREMS, **settings)
    assert list(found) == list(STATEMENTS) == list(CRITERIA) == [f"C{n}" for n in range(1, 13)]
    verdicts = {name: finding.verdict for name, finding in found.items()}
    assert verdicts["C1"] == verdicts["C3"] == verdicts["C7"] == HOLDS  # as the made-up study was made
    assert verdicts["C6"] == verdicts["C10"] == verdicts["C11"] == NOT_TESTABLE
    assert found["C6"].words == "this study has no run of interpolation"
    assert all(finding.effect for finding in found.values() if finding.verdict != NOT_TESTABLE)


@pytest.mark.parametrize("num_runs", [0, 1, 2, 5])
def test_few_valid_runs_never_crash(study, settings, num_runs):
    runs, history = study
    few = fail(runs, runs.index >= num_runs, status="diverged", reason="loss is not finite in epoch 1")
    table = judged_claims(few, history, THEOREMS, {"grid": None}, **settings)
    assert (table["row"] == "verdict").sum() == 12
    verdicts = table[table["row"] == "verdict"].set_index("claim")
    assert verdicts.loc["C3", "verdict"] == NOT_TESTABLE
    if num_runs == 0:
        assert (
            verdicts.loc["C9", "words"].startswith("no valid run here: ")
            and "diverged" in verdicts.loc["C9", "words"]
        )
    assert len(print_claims(table)) == 12 and terminal_lines(table, note=None, details=True)


def test_a_study_without_runs_is_not_testable_but_for_the_theorems(study, settings):
    runs, history = study
    table = judged_claims(runs[:0], history[:0], THEOREMS, {}, **settings).query("row == 'verdict'")
    assert set(table["verdict"][:-1]) == {NOT_TESTABLE}
    assert table["verdict"].iloc[-1] == HOLDS


def test_a_verdict_that_hangs_on_a_threshold_says_so(settings):
    rows = [both("SGD", 0.0, 2, 0.8), both("SGD", 0.1, 1, 0.4), both("SGD", 0.2, 0.5, 0.6)]  # 2 of 3 pairs
    data = table(*rows), _history((1, 1)), THEOREMS
    settings = settings | {"alternatives": {"least_share": [0.6], "near": [0.5]}}
    fixed = {name: value for name, value in settings.items() if name != "alternatives"}
    found = findings(*data, **fixed)
    changes = changes_of_verdict(found, *data, **settings)
    assert found["C2"].verdict == FAILS and changes["C2"] == "holds with least_share = 0.6"
    assert changes["C8"] == ""
    assert "C2" in claims_table(found, changes, settings=fixed, notes={})["claim"].unique()


def test_misspelt_settings_are_refused_before_any_job(parameters):
    check_targets(parameters)
    changed = copy.deepcopy(parameters)
    changed["analysis"]["claims"]["settings"]["experiments"]["C6"] = ["interpolaton"]
    with pytest.raises(
        ParameterError, match="unknown experiment 'interpolaton'; did you mean 'interpolation'"
    ):
        check_targets(changed)
    changed = copy.deepcopy(parameters)
    changed["analysis"]["claims"]["settings"]["ties"] = changed["analysis"]["claims"]["settings"].pop("tie")
    with pytest.raises(
        ParameterError, match=r"analysis\.claims\.settings: unknown key 'ties'; did you mean 'tie'"
    ):
        check_targets(changed)
    settings = parameters["analysis"]["claims"]["settings"]
    assert set(settings["experiments"]) == set(STATEMENTS) - {"C12"}
    assert set(settings["alternatives"]) <= set(settings)


def test_no_cell_breaks_a_markdown_table(study, settings):
    printed = print_claims(judged_claims(*study, THEOREMS, {}, **settings))
    assert not printed.map(lambda cell: "|" in cell or "\n" in cell).any().any()


def test_the_scale_is_on_the_face_of_the_table(study, settings):
    notes = {"grid": "demo study, not the paper's scale: width 0.125", "table_2": None}
    table = judged_claims(*study, THEOREMS, notes, **settings)
    verdicts = table[table["row"] == "verdict"].set_index("claim")
    assert verdicts.loc["C7", "scale"] == notes["grid"]
    assert verdicts.loc["C3", "scale"] == f"{notes['grid']}; the paper's scale"
    assert face_note(notes) == "demo study, not the paper's scale: grid: width 0.125 | table_2: as the paper"
    assert face_note({"grid": notes["grid"]}) == notes["grid"] and face_note({"grid": None}) is None
    assert "90%" in verdicts.loc["C2", "criterion"]


def test_the_script_and_the_command_write_the_same_table(
    study, settings, parameters, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(ROOT)
    (tmp_path / "mini").mkdir()
    runs, history = study
    runs = runs[runs["experiment"] != "grid"]  # the fewer the faster
    history = history.assign(**dict.fromkeys(("running_loss", "test_loss"), np.nan))
    runs.to_parquet(tmp_path / "mini/runs.parquet")
    history.to_parquet(tmp_path / "mini/history.parquet")
    THEOREMS.to_csv(tmp_path / "table_1.csv")
    inputs = {name: tmp_path / f"mini/{name}.parquet" for name in ("runs", "history")}
    job = as_job(
        tmp_path,
        "tables/claims.py",
        input=inputs | {"theorems": tmp_path / "table_1.csv"},
        output={kind: tmp_path / kind for kind in ("csv", "markdown", "html")},
        params={"settings": settings, "caption": "Claims", "notes": {"grid": None}, "note": "its scale"},
    )
    runpy.run_path(str(SCRIPTS / "tables" / "claims.py"), init_globals={"snakemake": job})
    written = pd.read_csv(tmp_path / "csv")
    assert len(print_claims(written)) == 12
    assert (
        (tmp_path / "markdown").read_text(encoding="utf-8").startswith("**Claims**\n\n*its scale*\n\n| Claim")
    )
    assert "C12" in (tmp_path / "html").read_text(encoding="utf-8")
    assert main(["claims", "mini", "--results", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert text.startswith("mini study, not the paper's scale") and "C1   " in text and "holds if: " in text
    assert main(["claims", "demo", "--results", str(tmp_path)]) == 2
    assert "runs.parquet: no such file; run make study STUDY=demo first" in capsys.readouterr().err
    assert main(["claims", "dmeo"]) == 2
