"""jacot_table_11: every statement has its checks, and all hold."""

import runpy

import pytest
from as_job import as_job
from synthetic import SCRIPTS

from collapse.paper import balance_theory_table as module
from collapse.paper.balance_theory_table import STATEMENTS, balance_theory_table, print_balance_theory

SETTINGS = {
    "dataset": "Digits", "num_samples": 100, "units": 24, "relu_layers": 2, "linear_layers": 3,
    "trainings": [{"learning_rate": 0.05, "momentum": 0.0}], "weight_decay": 0.01, "measured": [3000, 6500],
    "optimizers": {
        "Signum": {"learning_rate": 0.001, "weight_decay": 0.005},
        "AdamW": {"learning_rate": 0.003, "weight_decay": 1.0},
    },
    "momentum": 0.9, "steps": 2000, "seed": 3141,
}  # fmt: skip


@pytest.fixture(scope="module")
def table():
    return balance_theory_table(**SETTINGS)


def test_every_check_of_every_statement_holds(table):
    assert list(table.columns) == [
        "statement", "training", "check", "predicted", "relation", "simulated", "deviation", "verdict",
    ]  # fmt: skip
    assert list(dict.fromkeys(table["statement"])) == list(STATEMENTS)
    assert set(table["verdict"]) == {"holds"}
    relations = table[table["statement"] == "Coupled decay"].set_index("training")["relation"]
    assert relations.to_dict() == {"Signum": "<=", "AdamW": ">="}


def test_it_is_printed_a_row_a_statement_and_training_in_greek(table):
    printed = print_balance_theory(table)
    assert len(printed) == len(table.groupby(["statement", "training"]))
    assert printed["Statement"].str.contains("η λ").any() and (printed["Verdict"] == "holds").all()


def test_the_target_is_made_of_its_settings(parameters):
    target = parameters["theory"]["jacot_table_11"]
    assert target["script"] == "jacot_theory"
    assert set(target["settings"]) == set(SETTINGS)
    assert set(target["settings"]["optimizers"]) >= {"SGD", "SGDW", "Adam", "AdamW", "Signum", "SignumW"}


def test_the_script_writes_the_table(table, tmp_path, monkeypatch):
    output = {name: tmp_path / f"jacot_table_11.{name}" for name in ("csv", "markdown", "html")}
    params = {"settings": SETTINGS, "caption": "Balanced layers.", "note": None}
    job = as_job(
        tmp_path, "tables/jacot_theory.py", output=output, params=params, config={"study": "jacot_demo"}
    )
    monkeypatch.setattr(module, "balance_theory_table", lambda **settings: table)
    runpy.run_path(str(SCRIPTS / "tables/jacot_theory.py"), init_globals={"snakemake": job})
    assert job.output.csv.read_text() == table.to_csv(index=False, lineterminator="\n")
    assert job.output.markdown.read_text(encoding="utf-8").startswith("**Balanced layers.**")
