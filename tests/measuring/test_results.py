"""What is read of results of before a column was there."""

import pandas as pd
from conftest import ROOT

from collapse.lineage.audit.cells import run_facts
from collapse.lineage.audit.evidence import made_on
from collapse.measuring.evidence_tables import read_evidence
from collapse.measuring.results import with_kernels
from collapse.study.settings import SETTINGS


def test_runs_of_before_there_was_a_choice_had_plain_kernels():
    """A run that is missing has none; what is recorded stays."""
    table = pd.DataFrame({"status": ["done", "diverged", "missing", None]})
    assert with_kernels(table).kernels.fillna("").tolist() == ["plain", "plain", "", ""]
    known = pd.DataFrame({"status": ["done", "done"], "kernels": ["fused", None]})
    assert with_kernels(known).kernels.tolist() == ["fused", "plain"]
    whole = pd.DataFrame({"status": ["done", "done"], "kernels": ["fused", "plain"]})
    assert with_kernels(whole) is whole


def test_the_first_evidence_is_of_plain_kernels():
    """Its files were written without the column."""
    found = read_evidence(ROOT / "evidence/core/table_2")
    assert set(found.runs.kernels) == {"plain"}
    assert all("plain kernels" in made_on(its) for its in found.made.values())


def test_lineage_says_what_trained_a_run():
    row = dict.fromkeys(SETTINGS) | {"key": "a", "status": "done", "device": "cpu", "reason": ""}
    old, new = pd.DataFrame([row]), pd.DataFrame([row | {"kernels": "fused"}])
    assert run_facts(old, "a", outcomes=None)["kernels"] == "plain"
    assert run_facts(old, "a", outcomes=new)["kernels"] == "fused"
    assert run_facts(pd.DataFrame([row | {"device": None}]), "a", outcomes=None)["kernels"] is None
