"""Table 7: the smallest metrics without and with weight decay, and words where there is no run."""

from __future__ import annotations

import runpy

import pandas as pd
import pytest
from as_job import as_job
from conftest import ROOT
from synthetic import SCRIPTS, fail, load_script, make_paper, undertrain

from collapse.paper.tables import print_smallest
from collapse.study.parameters import load_parameters

TARGET = load_parameters(ROOT / "params.yaml")["tables"]["table_7"]
SETTINGS = TARGET["settings"]
METRICS = SETTINGS["metrics"]


@pytest.fixture(scope="module")
def runs():
    return make_paper(seed=0)[0]


def make(runs):
    return load_script("tables/table_7.py").make(runs, **SETTINGS)


def test_each_number_is_the_smallest_of_the_valid_runs_and_names_its_run(runs):
    table = make(runs)
    assert list(table["weight_decay"]) == ["none", "none", "positive"]
    assert list(table["epochs"]) == [200, 2000, 200]
    assert list(table["runs"]) == list(table["valid"]) == [5, 2, 1]
    its = runs[runs["experiment"] == "zero_weight_decay"].set_index("key")
    for row in table.itertuples():
        same = its[
            ((its["weight_decay"] > 0) == (row.weight_decay == "positive")) & (its["epochs"] == row.epochs)
        ]
        for metric in METRICS:
            assert getattr(row, metric) == same[metric].min()
            assert getattr(row, f"{metric}_key") == same[metric].idxmin()
    printed = print_smallest(table, metrics=METRICS)
    assert table["NC3_key"][1] in printed["NC3 ↓"][1]
    assert list(printed["Note"]) == ["", "", ""]


def test_an_undertrained_run_is_not_the_smallest(runs):
    before = make(runs)
    after = make(undertrain(runs, runs["key"] == before["NC3_key"][0]))
    assert after["NC3"][0] > before["NC3"][0]
    assert after["valid"][0] == 4 and after["runs"][0] == 5


def test_what_is_missing_is_said(runs):
    lost = (runs["experiment"] == "zero_weight_decay") & (runs["epochs"] == 2000)
    table = make(fail(runs, lost, status="diverged", reason="x"))
    printed = print_smallest(table, metrics=METRICS)
    assert printed["NC1 ↓"][1] == "–"
    assert printed["Note"][1] == "no valid run here: 2 diverged"
    without = make(runs[(runs["experiment"] != "zero_weight_decay") | (runs["weight_decay"] > 0)])
    assert list(without["status"]) == ["no run in this study", "valid"]
    assert print_smallest(without, metrics=METRICS)["Epochs"][0] == "–"


def test_as_a_script_of_snakemake_it_writes_all_files(runs, tmp_path):
    runs.to_parquet(tmp_path / "runs")
    job = as_job(
        tmp_path,
        "tables/table_7.py",
        input={"runs": tmp_path / "runs"},
        output={"csv": tmp_path / "t.csv", "markdown": tmp_path / "t.md", "html": tmp_path / "t.html"},
        params={"settings": SETTINGS, "caption": TARGET["caption"], "note": None},
    )
    runpy.run_path(str(SCRIPTS / "tables" / "table_7.py"), init_globals={"snakemake": job})
    assert len(pd.read_csv(job.output.csv)) == 3
    assert TARGET["caption"] in job.output.markdown.read_text(encoding="utf-8")
    assert job.output.html.stat().st_size > 0
