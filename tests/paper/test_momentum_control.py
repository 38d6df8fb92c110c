"""Table 103 and claim C5c: momentum at equal learning_rate / (1 - momentum)."""

import numpy as np
import pytest
from claim_rows import both, table, value_of
from synthetic import fail, load_script

from collapse.architectures.initialisation import initial_network
from collapse.metrics.neural_collapse import nc0
from collapse.paper.claims.control import momentum_is_a_rate
from collapse.paper.claims.evidence import FAILS, HOLDS, NOT_TESTABLE
from collapse.paper.momentum_control import by_momentum, effective_rate, print_momentum_table
from collapse.study.known_nc0 import nc0_ratio_by_epoch
from collapse.study.runs import records, run_table

LIMITS = {"equivalence": 1.1, "most_momentum": 0.95, "level": 0.05}
JUDGED = LIMITS | {"least_seeds": 5}
HOW = {"margin": 1.1, "most_momentum": 0.95, "level": 0.05}
RATES = {0.0: 0.01, 0.5: 0.005, 0.7: 0.003, 0.9: 0.001, 0.95: 0.0005, 0.98: 0.0002}
SETTINGS = LIMITS | {
    "experiment": "momentum_control", "beside": "momentum_heatmap",
    "architecture": "ResNet9", "dataset": "FashionMNIST",
}  # fmt: skip
SPREAD = (-0.02, -0.01, 0.0, 0.01, 0.02)
FACTOR = "NC3 over that without momentum, equal learning rate / (1 - momentum)"


def control(factors, *, spread=SPREAD, of=table, **more):
    """Runs at one effective rate: NC3 is 0.2 without momentum, times a factor with; a seed a spread."""
    rows = [
        both(
            "SGD", 0.005, 0.31, 0.2 * factor * np.exp(away), momentum=momentum, learning_rate=RATES[momentum],
            seed=seed, NC0_closed_form=0.31, experiment="momentum_control",
        ) | more
        for momentum, factor in factors.items()
        for seed, away in enumerate(spread)
    ]  # fmt: skip
    return of(*rows)


@pytest.mark.parametrize(
    ("study", "initial", "wanted"),
    [
        ("paper", 1.7538, {0: 0.3139, 0.5: 0.3139, 0.7: 0.3138, 0.9: 0.3138, 0.95: 0.3137, 0.98: 0.3134}),
        ("core", 1.7538, {0: 0.3139, 0.5: 0.3139, 0.7: 0.3138, 0.9: 0.3138, 0.95: 0.3137, 0.98: 0.3134}),
        ("demo", None, {0: 0.2832, 0.5: 0.2826, 0.9: 0.2770, 0.98: 0.2476}),
    ],
)
def test_what_theory_says_of_nc0_before_any_training(parameters, study, initial, wanted):
    """One effective rate and decay, one end: to 0.2% with the paper's steps, to 13% with the demo's."""
    runs = run_table(parameters, study)
    runs = runs[(runs.experiment == "momentum_control") & (runs.seed == 3141)]
    assert effective_rate(runs).nunique() == 1 == runs.weight_decay.nunique()
    if initial is None:
        head = initial_network(records(runs)[0]).head
        initial = nc0(head.weight.detach().double().numpy())
    found = {run["momentum"]: initial * nc0_ratio_by_epoch(run)[-1] for run in records(runs)}
    assert {momentum: round(value, 4) for momentum, value in found.items()} == wanted


@pytest.mark.parametrize("study", ["mini", "core", "paper"])
def test_every_momentum_has_the_same_five_seeds(parameters, study):
    runs = run_table(parameters, study)
    runs = runs[runs.experiment == "momentum_control"]
    assert effective_rate(runs).nunique() == 1 == runs.weight_decay.nunique()
    seeds = runs.groupby("momentum").seed.apply(set)
    assert list(seeds.index) == list(RATES) and all(its == {3141, 1, 2, 3, 4} for its in seeds)


@pytest.mark.parametrize("study", ["mini", "core", "paper"])
def test_epsilon_changes_no_closed_form_of_equal_decay(parameters, study):
    """learning_rate * weight_decay is one: what decoupled decay alone would leave of NC0 is the same."""
    runs = run_table(parameters, study)
    runs = runs[runs.experiment == "epsilon"]
    assert set(runs.optimizer) == {"AdamW"} and sorted(runs.epsilon) == [1e-8, 1e-4, 1e-2]
    products = runs.learning_rate * runs.weight_decay
    assert products.max() == pytest.approx(products.min())


def test_c5c_holds_where_every_momentum_is_shown_to_be_equivalent():
    found = momentum_is_a_rate(control({0: 1, 0.5: 1.01, 0.9: 0.98, 0.98: 1.5}), **JUDGED)
    assert found.verdict == HOLDS and found.words.startswith("2 equivalent; farthest from 1: NC3 x 0.98")
    assert found.effect["value"] == pytest.approx(0.98) and found.effect["low"] < 0.98 < found.effect["high"]
    assert value_of(found, FACTOR, "ResNet9 FashionMNIST, momentum 0.5") == pytest.approx(1.01)
    above = [row for row in found.numbers if row["part"].endswith("0.98") and row["quantity"] == FACTOR]
    assert above[0]["value"] == pytest.approx(1.5) and above[0]["holds"] is None, "shown, not judged"
    assert value_of(found, "NC0 over its closed form", "ResNet9 FashionMNIST, momentum 0.9") == 1


def test_c5c_fails_where_one_is_shown_to_differ_and_is_undecided_between():
    different = momentum_is_a_rate(control({0: 1, 0.5: 1.0, 0.9: 0.8}), **JUDGED)
    assert different.verdict == FAILS and "1 equivalent, 1 different" in different.words
    between = momentum_is_a_rate(control({0: 1, 0.5: 1.0, 0.9: 1.1}), **JUDGED)
    assert between.verdict == NOT_TESTABLE and "1 equivalent, 1 undecided" in between.words
    wide = control({0: 1, 0.9: 1}, spread=(-0.3, -0.1, 0.0, 0.1, 0.3))
    assert momentum_is_a_rate(wide, **JUDGED).verdict == NOT_TESTABLE


def test_c5c_refuses_to_judge_one_seed():
    found = momentum_is_a_rate(control({0: 1, 0.5: 1.01, 0.9: 1.02}, spread=(0.0,)), **JUDGED)
    assert found.verdict == NOT_TESTABLE
    assert found.words.startswith("one seed of each momentum, which tells no equivalence; farthest from 1")
    assert found.effect["value"] == pytest.approx(1.02) and np.isnan(found.effect["low"])


def test_c5c_judges_nothing_where_a_momentum_is_lost_or_has_few_seeds():
    """What is left must not stand for a momentum that diverged; one above the limit is not asked for."""
    runs = control({0: 1, 0.5: 1.01, 0.95: 1.0, 0.98: 1.0})
    gone = {"status": "diverged", "reason": "the loss is not finite"}
    lost = momentum_is_a_rate(fail(runs, runs.momentum == 0.95, **gone), **JUDGED)
    assert lost.verdict == NOT_TESTABLE and "1 equivalent, 1 without a valid run" in lost.words
    assert momentum_is_a_rate(fail(runs, runs.momentum == 0.98, **gone), **JUDGED).verdict == HOLDS
    fewer = fail(runs, (runs.momentum == 0.95) & (runs.seed == 4), **gone)
    few = momentum_is_a_rate(fewer, **JUDGED)
    assert few.verdict == NOT_TESTABLE and "1 with too few seeds" in few.words
    different = control({0: 1, 0.5: 0.8, 0.95: 1.0})
    differs = momentum_is_a_rate(fail(different, different.momentum == 0.95, **gone), **JUDGED)
    assert differs.verdict == FAILS


def test_c5c_compares_with_holms_correction():
    """Alone each of four would do; together the least certain has to be as certain as the first of four."""
    runs = control({0: 1, 0.5: 1, 0.7: 1, 0.9: 1}, spread=(-0.08, -0.04, 0.0, 0.04, 0.08))
    alone = by_momentum(runs[runs.momentum.isin([0, 0.5])], **HOW)
    family = by_momentum(runs, **HOW)
    assert family.p_within[1] == pytest.approx(3 * alone.p_within[1])
    assert list(alone.result) == ["reference", "equivalent"]
    assert list(family.result) == ["reference", *["undecided"] * 3]


def test_c5c_needs_momenta_at_one_effective_rate():
    assert momentum_is_a_rate(control({0.5: 1, 0.9: 1}), **JUDGED).verdict == NOT_TESTABLE
    equal_rates = control({0: 1, 0.9: 1}).assign(learning_rate=0.01)
    assert momentum_is_a_rate(equal_rates, **JUDGED).verdict == NOT_TESTABLE
    undecayed = control({0: 1, 0.9: 1}).assign(weight_decay=0.0)
    assert momentum_is_a_rate(undecayed, **JUDGED).verdict == NOT_TESTABLE
    runs = control({0: 1, 0.9: 1})
    lost = fail(runs, runs.momentum == 0, status="diverged", reason="the loss is not finite")
    assert momentum_is_a_rate(lost, **JUDGED).verdict == NOT_TESTABLE


def with_heatmap(runs_of_control):
    """And figure 5's runs at one learning rate, one of which is of the control too."""
    rows = [
        both("SGD", decay, 0.31, nc3, momentum=momentum, learning_rate=0.001, experiment="momentum_heatmap")
        for decay in (0.0005, 0.005)
        for momentum, nc3 in ((0.0, 0.8), (0.98, 0.2))
    ]
    return control({0: 1, 0.5: 1.0, 0.9: 1.01}, of=lambda *first: table(*first, *rows))


def test_beside_it_stand_figure_5s_runs_of_one_learning_rate_and_its_decay():
    found = momentum_is_a_rate(with_heatmap(control), **JUDGED)
    equal_rate = [row for row in found.numbers if row["quantity"].endswith("equal learning rate")]
    wanted = {"ResNet9 FashionMNIST, momentum 0.9": 0.2525, "ResNet9 FashionMNIST, momentum 0.98": 0.25}
    assert {row["part"]: round(row["value"], 4) for row in equal_rate} == wanted
    assert all(row["holds"] is None for row in equal_rate)
    made = load_script("tables/momentum_control.py").make(with_heatmap(control), **SETTINGS)
    assert list(made["at_equal"]) == ["learning rate / (1 - momentum)"] * 3 + ["learning rate"] * 2
    assert list(made["momentum"]) == [0, 0.5, 0.9, 0, 0.98] and set(made["learning_rate"][3:]) == {0.001}
    assert list(made["seeds"]) == [5, 5, 5, 1, 1]
    assert made["NC3_ratio"][4] == pytest.approx(0.25) and made["p_within"][3:].isna().all()
    printed = print_momentum_table(made, level=0.05)
    assert list(printed["Result"]) == ["reference", "equivalent", "equivalent", "–", "–"]
    assert printed["NC3 / NC3 without momentum [90%]"][1].startswith("1 [0.98")
    assert printed["NC3 / NC3 without momentum [90%]"][0] == "1"


def test_the_table_says_what_is_missing():
    make = load_script("tables/momentum_control.py").make
    runs = control({0: 1, 0.5: 1.0, 0.9: 1.0})
    lost = (runs.momentum == 0.5) & (runs.seed > 1) | (runs.momentum == 0.9)
    made = make(fail(runs, lost, status="diverged", reason="the loss is not finite"), **SETTINGS)
    assert list(made["seeds"]) == [5, 2, 0]
    assert made["status"][1] == "2 of 5 runs valid" and "5 diverged" in made["status"][2]
    assert made["result"][2] == "not judged" and np.isnan(made["NC3"][2])
    empty = make(runs[:0], **SETTINGS)
    assert list(empty["status"]) == ["no run in this study"]
    assert len(print_momentum_table(empty, level=0.05)) == 1
    one = make(control({0: 1, 0.5: 1.0}, spread=(0.0,)), **SETTINGS)
    assert list(one["result"]) == ["reference", "one seed: not judged"] and one["NC3_low"].isna().all()
