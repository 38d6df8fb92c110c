"""zhu_table_11: every statement holds, a wrong one is seen to fail, and the script writes what it makes."""

from __future__ import annotations

import runpy

import pytest
from as_job import as_job
from synthetic import SCRIPTS

from collapse.paper.ufm_theory_table import STATEMENTS, print_ufm_theory, ufm_theory_table
from collapse.theory import ufm_checks
from collapse.theory.ufm import row_norm

NAMES = ("num_classes", "samples_per_class", "num_features", "weight_decay", "feature_decay")
COLUMNS = ["statement", "model", "check", "predicted", "relation", "simulated", "deviation", "verdict"]


def model(*values, **more):
    return dict(zip(NAMES, values, strict=True)) | more


SETTINGS = {
    "minima": [
        model(3, 2, 4, 0.02, 0.03), model(4, 1, 2, 0.02, 0.03), model(3, 1, 3, 0.4, 0.3),
    ],
    "thresholds": [{"num_classes": 3, "samples_per_class": 1}],
    "saddles": [model(4, 1, 4, 0.02, 0.05, group_size=2), model(3, 1, 3, 0.05, 0.05, group_size=3)],
    "critical_points": [model(3, 1, 3, 0.05, 0.05)],
    "relatives": model(3, 2, 4, 0.02, 0.02, num_factors=[2, 3]),
    "bias_decay": 0.01, "starts": 2, "searches": 20, "seed": 3141,
}  # fmt: skip
SETTINGS["relatives"].pop("feature_decay")


@pytest.fixture(scope="module")
def table():
    return ufm_theory_table(**SETTINGS)


def test_every_check_of_every_statement_holds(table):
    assert list(table.columns) == COLUMNS
    assert list(dict.fromkeys(table["statement"])) == list(STATEMENTS)
    assert set(table["verdict"]) == {"holds"}
    equal = table["relation"] == "="
    assert table.loc[equal, "deviation"].notna().all() and table.loc[~equal, "deviation"].isna().all()
    at = table.set_index(["statement", "model", "check"])["simulated"]
    where = "Minimum", "K 3, n 2, D 4; lambda_W 0.02, lambda_H 0.03"
    assert at[(*where, "f*")] == pytest.approx(0.299800461181, abs=1e-10)
    assert at[(*where, "zero eigenvalues, the others positive")] == 5
    zero = "Saddle", "K 3, n 1, D 3; lambda_W 0.05, lambda_H 0.05; zero"
    assert at[(*zero, "smallest eigenvalue, by Lanczos")] == pytest.approx(-0.2833333333, abs=1e-9)


def test_a_wrong_closed_form_is_seen_to_fail(monkeypatch):
    monkeypatch.setattr(ufm_checks, "row_norm", lambda one: row_norm(one) * (1 + 1e-6))
    table = ufm_theory_table(**SETTINGS | {"starts": 1, "searches": 4})
    wrong = table[table["verdict"] == "fails"]
    assert {"||w_k||", "||W|| at lambda = 0.99/(K sqrt(n))"} <= set(wrong["check"])
    assert print_ufm_theory(wrong)["Verdict"].str.startswith("fails: ").all()


def test_it_prints_in_greek(table):
    printed = print_ufm_theory(table)
    assert set(printed["Verdict"]) == {"holds"} and (printed["Largest deviation"].str.len() > 0).all()
    words = " ".join(printed["Predicted, found"])
    assert "certificate: ‖grad g‖_op" in words and "‖W‖ at λ = 1.01" in words
    assert printed["Model"].str.contains("λ_W 0.05, λ_H 0.05; zero", regex=False).any()


def test_script_writes_the_table_and_repeats_it_bit_for_bit(tmp_path, table):
    output = {name: tmp_path / f"zhu_table_11.{name}" for name in ("csv", "markdown", "html")}
    params = {"settings": SETTINGS, "caption": "Minima and saddles.", "note": None}
    job = as_job(tmp_path, "tables/zhu_theory.py", output=output, params=params, config={"study": "demo"})
    runpy.run_path(str(SCRIPTS / "tables/zhu_theory.py"), init_globals={"snakemake": job})
    assert job.output.csv.read_text() == table.to_csv(index=False, lineterminator="\n")
    assert job.output.markdown.read_text(encoding="utf-8").startswith("**Minima and saddles.**")
