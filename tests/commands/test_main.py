"""The `collapse` command."""

import io

import pandas as pd
import pytest
from conftest import ROOT

from collapse.commands.main import main


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_runs_as_csv_is_the_run_table(capsys):
    assert main(["runs", "paper", "--csv"]) == 0
    table = pd.read_csv(io.StringIO(capsys.readouterr().out), dtype={"key": str})
    assert table.columns[:3].tolist() == ["experiment", "key", "pack"]
    assert (table.experiment == "grid").sum() == 3888
    assert table.groupby("key").pack.nunique().eq(1).all()


def test_runs_prints_the_table_and_the_summary(capsys):
    assert main(["runs", "demo"]) == 0
    text = capsys.readouterr().out
    table = text.splitlines()
    assert sum(line.strip().startswith("table_2 ") for line in table) == 6 + 1
    assert "seed 3141" in text and "trainings; a run of two experiments is trained once" in text


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["runs", "dmeo"], "unknown study 'dmeo'"),
        (["runs", "demo", "--params", "absent.yaml"], "no such file"),
        (["runs", "demo", "--params", "."], "cannot be read"),
        (["measure", "absent.npz"], "absent.npz: no such file"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(arguments, wanted, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert wanted in error and error.count("\n") == 1
