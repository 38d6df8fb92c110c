"""Claims O1 to O6: on tables small enough to judge by hand each must hold, fail, and not be testable."""

from __future__ import annotations

import numpy as np
import pytest
from claim_rows import both, table, value_of

from collapse.paper.claims.cells import (
    cautious_stays_above,
    centring_moves_nc0_alone,
    exact_p,
    head_rule_decides,
)
from collapse.paper.claims.evidence import FAILS, HOLDS, NOT_TESTABLE
from collapse.paper.claims.optimizers import coupled_lowers, keepers_follow, others_stay_above
from collapse.paper.optimizer_table import kept_nc0

DECAY = 0.034  # at rate 0.001 over 34,411: 0.31 of NC0(0)
KEPT = float(kept_nc0(table(both("MuonW", DECAY, 1, 1))).iloc[0])
EXACT = {"tolerance": 0.01, "soap_tolerance": 0.02, "floor": 0.001, "rounding": 1e-4}
ABOVE = {"least_ratio": 1.5, "least_share": 0.9, "most_left": 0.5, "floor": 0.001}
SHARE = {"least_share": 0.9, "floor": 0.001}
CELLS = {"least_seeds": 5, "significance": 0.05, "margin": 1.1}
SPREAD = np.array([0.98, 0.99, 1.0, 1.01, 1.02])


def seeds(name, nc0, nc3_centred=0.3):
    """Five seeds of an optimizer, some percent apart."""
    return [
        both(name, DECAY, nc0 * x, 0.4, NC3_centred=nc3_centred * x, seed=seed)
        for seed, x in enumerate(SPREAD)
    ]


def test_the_closed_form_by_hand():
    assert pytest.approx(2 * np.exp(-0.001 * DECAY * 34411), rel=1e-4) == KEPT
    assert np.isnan(kept_nc0(table(both("Muon", DECAY, 1, 1))).iloc[0])


def test_o1_allows_a_percent_and_soap_two():
    rows = [both("MuonW", DECAY, 1.005 * KEPT, 1), both("SOAPW", DECAY, 1.015 * KEPT, 1)]
    shown = [both("AdafactorW", DECAY, 1.3 * KEPT, 1), both("AdamW", DECAY, 9 * KEPT, 1)]
    found = keepers_follow(table(*rows, *shown), **EXACT)
    assert found.verdict == HOLDS and "AdafactorW, which nearly keeps it: 0.3" in found.words
    assert keepers_follow(table(both("MuonW", DECAY, 1.015 * KEPT, 1)), **EXACT).verdict == FAILS
    assert keepers_follow(table(both("SGDW", DECAY, KEPT, 1)), **EXACT).verdict == NOT_TESTABLE
    tiny = both("MuonW", 5.0, 5e-6, 1)  # the closed form is far below the floor
    assert keepers_follow(table(tiny), **EXACT).verdict == HOLDS
    assert keepers_follow(table(tiny | {"NC0": 0.1}), **EXACT).verdict == FAILS


def test_o2_is_judged_where_the_decay_has_acted():
    above = [both("AdamW", DECAY, 3 * KEPT, 1), both("LionW", DECAY, 2 * KEPT, 1)]
    weak = both("MARSW", 1e-5, 2.0, 1)
    found = others_stay_above(table(*above, weak), **ABOVE)
    assert found.verdict == HOLDS and found.effect["value"] == pytest.approx(2)
    assert others_stay_above(table(*above, both("MARSW", DECAY, KEPT, 1)), **ABOVE).verdict == FAILS
    assert others_stay_above(table(weak, both("MuonW", DECAY, KEPT, 1)), **ABOVE).verdict == NOT_TESTABLE
    invalid = both("AdamW", DECAY, 3 * KEPT, 1, valid=False)
    assert others_stay_above(table(invalid), **ABOVE).verdict == NOT_TESTABLE


def test_o3_asks_for_less_than_at_the_start():
    found = coupled_lowers(table(both("Muon", 0.1, 1.0, 1), both("Lion", 0, 3.0, 1)), **SHARE)
    assert found.verdict == HOLDS and value_of(found, "NC0(0) / NC0, geometric mean", "Muon") == 2
    assert coupled_lowers(table(both("Lion", 0.1, 3.0, 1)), **SHARE).verdict == FAILS
    assert coupled_lowers(table(both("LionW", 0.1, 3.0, 1)), **SHARE).verdict == NOT_TESTABLE


def test_o4_needs_five_seeds_and_a_ratio():
    found = head_rule_decides(
        table(*seeds("MuonW", 0.5), *seeds("MuonHiddenW", 1.2)), least_ratio=1.5, cells=CELLS, floor=0.001
    )
    assert found.verdict == HOLDS and found.effect["value"] == pytest.approx(2.4)
    assert found.effect["low"] < 2.4 < found.effect["high"] and "p 0.0079" in found.words
    how = {"least_ratio": 1.5, "cells": CELLS, "floor": 0.001}
    near = table(*seeds("MuonW", 0.5), *seeds("MuonHiddenW", 0.7))
    assert head_rule_decides(near, **how).verdict == FAILS
    few = table(*seeds("MuonW", 0.5), *seeds("MuonHiddenW", 1.2)[:1])
    found = head_rule_decides(few, **how)
    assert found.verdict == NOT_TESTABLE and "1 seed a cell, 5 are needed" in found.words
    assert head_rule_decides(few[:5], **how).verdict == NOT_TESTABLE
    same = table(*seeds("MuonW", 0.5), *seeds("MuonHiddenW", 0.5))
    assert head_rule_decides(same, **how).verdict == FAILS, "shown to be equal"


def test_o4_is_not_judged_without_a_cell_that_was_to_be_compared():
    how = {"least_ratio": 1.5, "cells": CELLS, "floor": 0.001}
    other = [row | {"weight_decay": 0.1} for row in [*seeds("MuonW", 0.5), *seeds("MuonHiddenW", 0.4)]]
    runs = table(*seeds("MuonW", 0.5), *seeds("MuonHiddenW", 1.2), *other)
    assert head_rule_decides(runs, **how).verdict == FAILS
    runs.loc[runs.index[-1], ["valid", "status"]] = False, "diverged"
    found = head_rule_decides(runs, **how)
    assert found.verdict == NOT_TESTABLE and "decay 0.1, 4 valid seeds of 5" in found.words


def test_o5_needs_equivalence_and_not_a_large_p():
    def judge(nc0, nc3_centred):
        runs = table(*seeds("AdamW", 1.4), *seeds("AdamCentredW", nc0, nc3_centred))
        return centring_moves_nc0_alone(runs, cells=CELLS, floor=0.001)

    assert judge(0.5, 0.3).verdict == HOLDS
    assert judge(1.4, 0.3).verdict == FAILS, "NC0 the same"
    assert judge(0.5, 0.4).verdict == FAILS, "NC3 another"
    assert judge(0.5, 0.325).verdict == NOT_TESTABLE, "neither shown to be the same nor to differ"


def test_o6_compares_cautious_with_decoupled_decay_over_seeds():
    def judge(*rows):
        return cautious_stays_above(table(*rows), cells=CELLS, floor=0.001)

    adams = [*seeds("AdamW", 1.0), *seeds("AdamCautious", 1.2)]
    found = judge(*adams)
    assert found.verdict == HOLDS and found.effect["value"] == pytest.approx(1.2)
    assert judge(*adams, *seeds("MuonW", 1.0), *seeds("MuonCautious", 0.8)).verdict == FAILS
    undecided = judge(*adams, *seeds("MuonW", 1.0), *seeds("MuonCautious", 1.005))
    assert undecided.verdict == NOT_TESTABLE and "MuonCautious 1 [" in undecided.words
    one = judge(seeds("AdamW", 1.0)[0], seeds("AdamCautious", 1.2)[0])
    assert one.verdict == NOT_TESTABLE and "1 seed a cell, 5 are needed" in one.words
    assert judge(*seeds("AdamW", 1.0)).verdict == NOT_TESTABLE


def test_optimizers_without_a_run_to_judge_are_named():
    broken = {"status": "diverged", "valid": False}
    lost = [both("LionW", DECAY, np.nan, 1, **broken), both("ShampooW", DECAY, np.nan, 1, **broken)]
    lost += [both("Lion", DECAY, 1.0, 1, valid=False, reason="undertrained: 0.9")]
    runs = table(
        both("AdamW", DECAY, 3 * KEPT, 1), both("MuonW", DECAY, KEPT, 1), both("Adam", 0.1, 1, 1), *lost
    )
    for judge, how, name in (
        (keepers_follow, EXACT, "ShampooW at weight decay 0.034 (1 diverged)"),
        (others_stay_above, ABOVE, "LionW at weight decay 0.034 (1 diverged)"),
        (coupled_lowers, SHARE, "Lion at weight decay 0.034 (1 undertrained)"),
    ):
        found = judge(runs, **how)
        assert found.verdict == HOLDS and found.words.endswith(f"; not judged: {name}"), found.words


def test_the_exact_p_of_groups_that_do_not_overlap():
    assert exact_p(np.arange(5.0), np.arange(5.0) + 9) == pytest.approx(2 / 252)
