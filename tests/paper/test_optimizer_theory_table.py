"""Table 102: every statement holds, and a wrong one is seen to fail."""

from __future__ import annotations

import runpy

import numpy as np
import pytest
from as_job import as_job
from synthetic import SCRIPTS

from collapse.optimizers import OPTIMIZERS
from collapse.paper import optimizer_theory_table as module
from collapse.paper.optimizer_theory_table import STATEMENTS, optimizer_theory_table, print_optimizer_theory
from collapse.theory.closed_forms import NC0_RATIOS

SETTINGS = {
    "optimizers": ["MuonW", "AdamW", "AdafactorW", "MuonCautious"], "learning_rate": 0.02, "exposure": 1.5,
    "weight_decay": 0.1, "epsilons": [0, 1e-2], "steps": 5000, "seed": 3141,
}  # fmt: skip
COLUMNS = [
    "statement", "optimizer", "check", "predicted", "relation", "simulated", "deviation", "verdict",
]  # fmt: skip


@pytest.fixture(scope="module")
def table():
    return optimizer_theory_table(**SETTINGS)


def test_every_check_of_every_statement_holds(table):
    assert list(table.columns) == COLUMNS
    assert list(dict.fromkeys(table["statement"])) == list(STATEMENTS)
    assert set(table["verdict"]) == {"holds"}
    equal = table["relation"] == "="
    assert table.loc[equal, "deviation"].notna().all() and table.loc[~equal, "deviation"].isna().all()
    at = table.set_index(["statement", "optimizer", "check"])["simulated"]
    assert at["Theorem 1", "MuonW", "moving data: NC0(T) / NC0(0)"] == pytest.approx(0.22106, abs=5e-6)
    assert at["Theorem 6, AdamW", "AdamW", "epsilon 0.01: lim alpha"] == pytest.approx(44.03, rel=1e-3)


def test_the_targets_optimizers_are_all_of_decoupled_or_cautious_decay(parameters):
    named = parameters["theory"]["table_102"]["settings"]["optimizers"]
    wanted = {name for name, one in OPTIMIZERS.items() if one.weight_decay_kind in ("decoupled", "cautious")}
    assert set(named) == wanted and set(NC0_RATIOS) - {"SGD"} <= wanted


def test_an_optimizer_that_is_said_to_keep_its_row_sums_and_does_not_fails(monkeypatch):
    monkeypatch.setattr(module, "NC0_RATIOS", {"AdamW": NC0_RATIOS["SGDW"]})
    table = optimizer_theory_table(**SETTINGS | {"steps": 300, "epsilons": [0]})
    wrong = table[table["verdict"] == "fails"]
    assert {"Theorem 1", "Theorem 1, converse", "Theorem 6, the others"} <= set(wrong["statement"])
    printed = print_optimizer_theory(wrong)
    assert printed["Verdict"].str.startswith("fails: ").all()


def test_coupled_decay_is_refused():
    with pytest.raises(ValueError, match="Muon: table 102 has optimizers of decoupled or cautious decay"):
        optimizer_theory_table(**SETTINGS | {"optimizers": ["MuonW", "Muon"]})


def test_it_prints_in_greek(table):
    printed = print_optimizer_theory(table).set_index(["Statement", "Optimizer"])
    words = printed.loc[(f"Theorem 1: {STATEMENTS['Theorem 1']}", "MuonW"), "Predicted, simulated"]
    assert words.count("NC0(T) / NC0(0): 0.22") == 2
    all_words = " ".join(printed["Predicted, simulated"])
    assert "‖1^T G‖ / ‖G‖ ≤ 1e-08" in all_words and "change of NC0 ≥ 0.01" in all_words
    assert "ε 0.01: lim α" in all_words
    assert set(printed["Verdict"]) == {"holds"}
    assert np.all(printed["Largest deviation"].str.len() > 0)


def test_script_writes_table_102_and_repeats_it_bit_for_bit(tmp_path, table):
    output = {name: tmp_path / f"table_102.{name}" for name in ("csv", "markdown", "html")}
    params = {"settings": SETTINGS, "caption": "The theory.", "note": None}
    job = as_job(
        tmp_path, "tables/theory_optimizers.py", output=output, params=params, config={"study": "demo"}
    )
    runpy.run_path(str(SCRIPTS / "tables/theory_optimizers.py"), init_globals={"snakemake": job})
    assert job.output.csv.read_text() == table.to_csv(index=False, lineterminator="\n")
    assert job.output.markdown.read_text(encoding="utf-8").startswith("**The theory.**")
