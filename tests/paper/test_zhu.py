"""Zhu et al. 2021: the table of fixed heads, the figures of unconstrained features, and claims Z-a to Z-e."""

import itertools

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from figure_parts import assert_nothing_is_cut_off, drawn_lines, words
from synthetic import load_script

from collapse.measuring.results import FURTHER, HISTORY_COLUMNS
from collapse.paper.claims.zhu import CRITERIA, STATEMENTS, findings
from collapse.paper.fixed_heads import fixed_head_rows, print_fixed_heads
from collapse.paper.unconstrained import nearest_at_vertex, norm_at_minimum, threshold
from collapse.study.parameters import load_parameters
from collapse.study.settings import UNSAID
from collapse.theory.ufm_descent import MEASURED, logged_training

PARAMETERS = load_parameters(ROOT / "params.yaml")
CLAIMS = PARAMETERS["analysis"]["zhu_claims"]["settings"]
MODEL = {"num_classes": 4, "samples_per_class": 2, "num_features": 6, "seed": 1}
RATES = {"SGD": 2, "SGDW": 2, "Adam": 0.05, "AdamW": 0.05, "Signum": 0.02, "SignumW": 0.02}
FORMS = [("learned", "p"), ("fixed_etf", "p"), ("learned", "K"), ("fixed_etf", "K")]


@pytest.fixture(scope="module")
def ufm():
    """Four classes, two samples each; coupled decay ends at its minimum. 1/(K sqrt(n)) is 0.177."""
    rows = []
    for name, rate in RATES.items():
        for decay in (0.02, 0.3):
            run = MODEL | {"optimizer": name, "learning_rate": rate, "momentum": 0.9, "weight_decay": decay}
            rows += [
                run | {"epsilon": 1e-8} | row for row in logged_training(**run, epsilon=1e-8, steps=2500)
            ]
    return pd.DataFrame(rows)[FURTHER["ufm"]]


@pytest.fixture
def heads():
    """Two seeds of each form under three optimizers; the fixed head with d = K has less than half of NC3."""
    rows = []
    for optimizer in ("SGD", "AdamW", "SignumW"):
        for head, dimension in FORMS:
            for seed in (1, 2):
                nc3 = 0.15 if (head, dimension) == ("fixed_etf", "K") else 0.5
                rows.append(
                    UNSAID
                    | {
                        "experiment": "heads", "key": f"{len(rows):012x}", "architecture": "ResNet9",
                        "width": 0.125, "dataset": "Digits", "image_size": 8, "train_size": 1500,
                        "augmentation": "none", "optimizer": optimizer, "learning_rate": 0.003,
                        "momentum": 0.9, "weight_decay": 0.04, "coupled_fraction": np.nan, "beta2": 0.999,
                        "epsilon": 1e-8, "schedule": "thirds", "epochs": 24, "batch_size": 32,
                        "measure_every": 4, "precision": "tf32", "seed": seed, "head": head,
                        "feature_dimension": dimension,
                        "status": "done", "valid": True, "reason": "", "epochs_done": 24, "seconds": 11.28,
                        "test_accuracy": 0.995 + 0.001 * seed, "NC0": 0.1, "NC1": 0.02, "NC2": 0.3,
                        "NC3": nc3,
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def history_of(runs):
    rows = [
        dict.fromkeys(HISTORY_COLUMNS)
        | {"key": key, "epoch": 24, "measured": True, "singular_values_M": values}
        for key, values in zip(runs.key, [[4.0] + [2.0] * 8 + [1e-9]] * len(runs), strict=True)
    ]
    return pd.DataFrame(rows)


def test_the_table_of_heads_counts_what_is_trained(heads):
    """Bytes are of parameters, gradients and the optimizer's state, of which SGD has one vector."""
    table = fixed_head_rows(heads, history_of(heads), optimizers=["SGD", "AdamW", "SignumW"])
    assert table.groupby(["head", "feature_dimension"]).parameters.first().to_dict() == {
        ("learned", "p"): 104_090, ("fixed_etf", "p"): 103_450, ("learned", "K"): 72_944,
        ("fixed_etf", "K"): 72_844,
    }  # fmt: skip
    learned = table[(table["head"] == "learned") & (table.feature_dimension == "p")].set_index("optimizer")
    assert learned.bytes["SGD"] == 1_249_080 and learned.bytes["AdamW"] == 1_665_440
    assert learned.condition["SGD"] == pytest.approx(2.0)
    assert learned.seconds_a_step["SGD"] == pytest.approx(11.28 / (24 * 47))
    assert learned.test_accuracy["SGD"] == pytest.approx(0.9965) and learned.seeds["SGD"] == 2
    printed = print_fixed_heads(table)
    assert len(printed) == 12 and set(printed["Head"]) == {"learned", "fixed ETF"}
    lost = heads.assign(valid=False, status="diverged")
    assert (fixed_head_rows(lost, history_of(heads), optimizers=["SGD"]).status == "2 diverged").all()


def judge(runs, ufm, theory=None):
    theory = theory if theory is not None else pd.DataFrame({"statement": ["Saddle"] * 2, "verdict": "holds"})
    return findings(runs, ufm, theory, **CLAIMS | {"thresholds": CLAIMS["thresholds"] | {"zero": 1e-3}})


def test_the_claims_hold_where_they_should(heads, ufm):
    found = judge(heads, ufm)
    assert {name: finding.verdict for name, finding in found.items()} == dict.fromkeys(STATEMENTS, "holds")
    assert set(CRITERIA) == set(STATEMENTS)
    assert found["Z-d"].effect["value"] == pytest.approx(0.5 / 0.15)


def test_the_claims_fail_where_they_should(heads, ufm):
    stand_in = ufm[ufm.optimizer != "SignumW"]
    signum = ufm[ufm.optimizer == "Signum"].assign(optimizer="SignumW", objective=np.nan, minimum=np.nan)
    assert judge(heads, pd.concat([stand_in, signum]))["Z-a"].verdict == "fails", "Signum in SignumW's place"
    assert judge(heads, ufm.assign(objective=ufm.objective + 1e-6))["Z-a"].verdict == "fails"
    theory = pd.DataFrame({"statement": ["Saddle"] * 2, "verdict": ["holds", "fails"]})
    assert judge(heads, ufm, theory)["Z-b"].verdict == "fails"
    worse = heads.assign(test_accuracy=heads.test_accuracy - 0.05 * (heads["head"] == "fixed_etf"))
    assert judge(worse, ufm)["Z-c"].verdict == "fails"
    elsewhere = heads.assign(architecture="ResNet50", key="b" + heads.key.str[1:])
    elsewhere["test_accuracy"] += 0.05 * (elsewhere["head"] == "learned")
    found = judge(pd.concat([heads, elsewhere]), ufm)["Z-c"]
    assert found.verdict == "fails" and "on ResNet50" in found.words, "networks are not averaged"
    none = (heads.optimizer == "AdamW") & (heads.feature_dimension == "K") & (heads["head"] == "learned")
    found = judge(heads.assign(valid=~none), ufm)["Z-c"]
    assert found.verdict == "fails" and found.words.endswith("; 1 without a valid pair")
    assert judge(heads.assign(NC3=0.5), ufm)["Z-d"].verdict == "fails"
    assert judge(heads, ufm.assign(norm_W=1.0))["Z-e"].verdict == "fails"
    lost = (ufm.optimizer == "Adam") & (ufm.weight_decay == 0.3)
    diverged = ufm.assign(norm_W=ufm.norm_W.mask(lost), objective=ufm.objective.mask(lost))
    found = judge(heads, diverged)
    assert found["Z-a"].verdict == found["Z-e"].verdict == "fails", "a run that diverged holds for nothing"
    lost = ufm.optimizer == "AdamW"
    assert judge(heads, ufm.assign(imbalance=ufm.imbalance.mask(lost)))["Z-a"].verdict == "fails"


def test_the_claims_say_nothing_of_what_was_not_run(heads, ufm):
    found = judge(heads[:0], ufm[:0], pd.DataFrame({"statement": [], "verdict": []}))
    assert {finding.verdict for finding in found.values()} == {"not testable"}


def test_the_minimum_and_its_threshold_are_those_of_theory(ufm):
    assert threshold(ufm) == pytest.approx(1 / (4 * 2**0.5))
    ends = ufm[(ufm.optimizer == "Adam") & (ufm.step == 2500)].set_index("weight_decay")
    assert ends.norm_W[0.02] == pytest.approx(norm_at_minimum(ufm, 0.02), rel=1e-9)
    assert norm_at_minimum(ufm, 0.3) == 0 and ends.norm_W[0.3] < 1e-6


def test_what_vertices_can_give():
    """By all sign matrices of a size: column sums of K = 2, 3 rows and D = 2 columns."""
    for K, can_be in ((2, {0, 4, 8}), (3, {2, 10, 18})):
        sums = [sum(signs) for signs in itertools.product((-1, 1), repeat=K)]
        assert {a**2 + b**2 for a in sums for b in sums} == can_be
        size = {"num_classes": K, "num_features": 2}
        assert [nearest_at_vertex(value + 0.4, **size) for value in can_be] == list(can_be)
    assert nearest_at_vertex(0.0, num_classes=3, num_features=6) == 6, "odd K: at least D"


@pytest.mark.parametrize("name", ["zhu_figure_11", "zhu_figure_12"])
def test_the_figures_of_unconstrained_features(ufm, name):
    target = PARAMETERS["figures"][name]
    settings = target["settings"]
    if name == "zhu_figure_12":
        decays = {optimizer: 0.3 if optimizer.endswith("W") else 0.02 for optimizer in RATES}
        settings = settings | {"weight_decays": decays}
    script = load_script(f"figures/{target['script']}.py")
    figure = script.draw(ufm, **settings)
    assert all(drawn_lines(axis) or not axis.get_visible() for axis in figure.axes)
    assert_nothing_is_cut_off(figure)
    said = words(figure)
    assert "no objective of their own" in said if name == "zhu_figure_11" else "SignumW 0.3" in said
    lost = ufm.assign(**{name: ufm[name].mask(ufm.optimizer == "SignumW") for name in MEASURED})
    assert "diverged" in words(script.draw(lost, **settings))
    empty = script.draw(ufm[:0], **settings)
    assert "nothing was trained" in words(empty)
