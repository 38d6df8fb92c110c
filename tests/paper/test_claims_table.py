"""All claims together: the table, the command, what stands on its face."""

from __future__ import annotations

import copy
import runpy

import numpy as np
import pandas as pd
import pytest
from as_job import as_job
from claim_rows import BOOTSTRAP, NO_DEPTH, TABLE_102, THEOREMS, both, history_of, table
from conftest import ROOT
from synthetic import SCRIPTS, fail, make_study

from collapse.commands.main import main
from collapse.paper.claims import CRITERIA, STATEMENTS, changes_of_verdict, findings
from collapse.paper.claims.evidence import (
    FAILS,
    HOLDS,
    NOT_TESTABLE,
)
from collapse.paper.claims.table import claims_table, judged_claims, print_claims, terminal_lines
from collapse.paper.scale import face_note
from collapse.paper.target_checks import check_targets
from collapse.paper.targets import target_settings
from collapse.study.parameters import ParameterError

CLAIMS = [f"C{n}" for n in range(1, 13)]
CLAIMS.insert(5, "C5c")
CLAIMS += ["D1", "D2", *(f"O{n}" for n in range(1, 8))]


@pytest.fixture(scope="module")
def study():
    return make_study(seed=0)


@pytest.fixture
def settings(parameters):
    quick = {"bootstrap": BOOTSTRAP, "alternatives": {"least_share": [0.5]}}
    return target_settings(parameters, "mini", parameters["analysis"]["claims"]["settings"]) | quick


def test_every_claim_has_a_statement_a_criterion_and_a_finding(study, settings):
    settings.pop("alternatives")
    found = findings(*study, THEOREMS, NO_DEPTH, TABLE_102, **settings)
    assert list(found) == list(STATEMENTS) == list(CRITERIA) == CLAIMS
    verdicts = {name: finding.verdict for name, finding in found.items()}
    assert verdicts["C1"] == verdicts["C3"] == verdicts["C7"] == HOLDS  # as the made-up study was made
    assert verdicts["C5c"] == verdicts["C6"] == verdicts["C10"] == verdicts["C11"] == NOT_TESTABLE
    assert found["C6"].words == "this study has no run of interpolation"
    assert all(finding.effect for finding in found.values() if finding.verdict != NOT_TESTABLE)


@pytest.mark.parametrize("num_runs", [0, 1, 2, 5])
def test_few_valid_runs_never_crash(study, settings, num_runs):
    runs, history = study
    few = fail(runs, runs.index >= num_runs, status="diverged", reason="loss is not finite in epoch 1")
    table = judged_claims(few, history, THEOREMS, NO_DEPTH, TABLE_102, {"grid": None}, **settings)
    assert (table["row"] == "verdict").sum() == len(CLAIMS)
    verdicts = table[table["row"] == "verdict"].set_index("claim")
    assert verdicts.loc["C3", "verdict"] == NOT_TESTABLE
    if num_runs == 0:
        assert (
            verdicts.loc["C9", "words"].startswith("no valid run here: ")
            and "diverged" in verdicts.loc["C9", "words"]
        )
    assert len(print_claims(table)) == len(CLAIMS) and terminal_lines(table, note=None, details=True)


def test_a_study_without_runs_is_not_testable(study, settings):
    runs, history = study
    table = judged_claims(runs[:0], history[:0], THEOREMS, NO_DEPTH, TABLE_102, {}, **settings)
    table = table[table["row"] == "verdict"].set_index("claim")
    assert set(table["verdict"].drop("O7")) == {NOT_TESTABLE}
    assert table["verdict"]["O7"] == HOLDS, "a simulation"
    assert "of 1 theorem checks hold" in table["words"]["C12"]


def test_a_verdict_that_hangs_on_a_threshold_says_so(settings):
    rows = [both("SGD", 0.0, 2, 0.8), both("SGD", 0.1, 1, 0.4), both("SGD", 0.2, 0.5, 0.6)]  # 2 of 3 pairs
    data = table(*rows), history_of((1, 1)), THEOREMS, NO_DEPTH, TABLE_102
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
    assert set(settings["experiments"]) == set(STATEMENTS) - {"C12", "O7"}
    assert set(settings["alternatives"]) <= set(settings)


def test_no_cell_breaks_a_markdown_table(study, settings):
    printed = print_claims(judged_claims(*study, THEOREMS, NO_DEPTH, TABLE_102, {}, **settings))
    assert not printed.map(lambda cell: "|" in cell or "\n" in cell).any().any()


def test_the_scale_is_on_the_face_of_the_table(study, settings):
    notes = {"grid": "demo study, not the paper's scale: width 0.125", "table_2": None}
    table = judged_claims(*study, THEOREMS, NO_DEPTH, TABLE_102, notes, **settings)
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
    NO_DEPTH.to_parquet(tmp_path / "mini/depth.parquet")
    THEOREMS.to_csv(tmp_path / "table_1.csv")
    (tmp_path / "mini/tables").mkdir()
    table_102 = tmp_path / "mini/tables/table_102.csv"
    TABLE_102.to_csv(table_102)
    inputs = {name: tmp_path / f"mini/{name}.parquet" for name in ("runs", "history", "depth")}
    job = as_job(
        tmp_path,
        "tables/claims.py",
        input=inputs | {"table_1": tmp_path / "table_1.csv", "table_102": table_102},
        output={kind: tmp_path / kind for kind in ("csv", "markdown", "html")},
        params={"settings": settings, "caption": "Claims", "notes": {"grid": None}, "note": "its scale"},
    )
    runpy.run_path(str(SCRIPTS / "tables" / "claims.py"), init_globals={"snakemake": job})
    written = pd.read_csv(tmp_path / "csv")
    assert len(print_claims(written)) == len(CLAIMS)
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
