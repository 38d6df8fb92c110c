"""The workflow as a user runs it: a tiny study from params.yaml to its tables and figures."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from tiny_study import planned_jobs, snakemake, write_parameters

from collapse.measuring.results import read_depth
from collapse.paper.targets import targets_of
from collapse.study.parameters import load_parameters

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]
DISTINCT_RUNS = 13 + 2


@pytest.fixture
def study(finished, tmp_path):
    """A copy of the finished study that a test may spoil, Snakemake's records included.

    At the same depth: Snakemake knows the project's own files by their relative places.
    """
    return Path(shutil.copytree(finished, tmp_path, dirs_exist_ok=True))


def test_every_table_and_figure_is_there(finished):
    results, parameters = finished / "results/tiny", load_parameters(finished / "params.yaml")
    figures, tables = (targets_of(parameters, "tiny", kind) for kind in ("figures", "tables"))
    assert len(figures) >= 15 and len(tables) == 5
    for figure in figures:
        assert (results / f"figures/{figure}.pdf").read_bytes().startswith(b"%PDF")
        assert (results / f"figures/{figure}.png").stat().st_size > 10_000
    for table in tables:
        assert len(pd.read_csv(results / f"tables/{table}.csv"))
        assert "tiny study" in (results / f"tables/{table}.md").read_text(encoding="utf-8")


def test_the_two_tables(finished):
    runs = pd.read_parquet(finished / "results/tiny/runs.parquet")
    history = pd.read_parquet(finished / "results/tiny/history.parquet")
    assert runs.key.nunique() == DISTINCT_RUNS == history.key.nunique()
    assert runs.groupby("experiment").size().to_dict() == {
        "grid": 13, "momentum_heatmap": 4, "table_2": 4, "depth": 2,
    }  # fmt: skip
    diverged = runs[runs.learning_rate == 1e12]
    assert diverged.status.tolist() == ["diverged"] and not diverged.valid.any()
    assert diverged.NC3.isna().all() and diverged.NC3_init.notna().all()
    done = runs[runs.status == "done"]
    assert (history[history.key.isin(done.key)].groupby("key").size() == 7).all()
    followed = history[history.NC0_closed_form.notna() & history.NC0.notna()]
    assert set(followed.merge(runs, on="key").optimizer) == {"SGD", "SGDW"}
    assert abs(followed.NC0 - followed.NC0_closed_form).max() < 1e-4
    for table in (done, history[history.NC3.notna()]):  # what the row sum does to NC3
        squared = 2 - (2 - table.NC3_centred**2) * np.sqrt(1 - table.gauge_share)
        np.testing.assert_allclose(table.NC3, np.sqrt(squared), atol=1e-9)


def test_the_table_of_depth(finished):
    """Every point of the trunk before and after training, of the runs of that experiment alone."""
    runs = pd.read_parquet(finished / "results/tiny/runs.parquet")
    depth = read_depth(finished / "results/tiny/depth.parquet")
    keys = runs[runs.experiment == "depth"].key
    assert set(depth.key) == set(keys) and len(keys) == 2
    assert (depth.groupby(["key", "epoch", "view"]).size() == 7).all() and set(depth.epoch) == {0, 6}
    first = depth[depth.epoch == 0].drop(columns="key")
    assert len(first.drop_duplicates()) == len(first) / 2, "one seed, one initialisation"
    assert depth.NCC_test.between(0, 1).all() and depth.within_over_between.notna().all()
    claims = pd.read_csv(finished / "results/tiny/tables/claims.csv").query("row == 'verdict'")
    claims = claims.set_index("claim")
    assert claims.verdict["D1"] != "not testable"
    assert claims.verdict["D2"] == "not testable" and "5 are needed" in claims.words["D2"], "one seed"


def test_an_architecture_without_points_is_refused_before_any_job(tmp_path):
    def of_mlp(parameters):
        row = {"architecture": "MLP", "optimizer": "SGD", "learning_rate": 0.05, "weight_decay": 0}
        parameters["studies"]["tiny"]["experiments"]["depth"]["rows"].append(row)

    write_parameters(tmp_path, of_mlp)
    result = snakemake(tmp_path)
    assert result.returncode != 0 and "Traceback" not in result.stderr
    assert "experiment depth: no points of a trunk are known for MLP" in result.stderr
    assert not (tmp_path / "results").exists()


def test_a_progress_line_and_a_log_for_every_job(finished):
    logs = sorted((finished / "results/tiny/logs/train").glob("*.log"))
    assert len(logs) == 4
    text = "".join(log.read_text(encoding="utf-8") for log in logs)
    assert re.search(r"run 1/\d  SGD lr 0.05 .* epoch 6/6  loss [\d.e-]+  \d:\d\d:\d\d left", text)
    assert "diverged: " in text


def test_other_packs_train_nothing_again(study):
    before = pd.read_parquet(study / "results/tiny/runs.parquet")
    result = snakemake(study, "results/tiny/runs.parquet", "--config", "pack_by=[architecture]")
    assert result.returncode == 0, result.stderr
    assert f"{DISTINCT_RUNS} runs, {DISTINCT_RUNS} of them trained before" in result.stderr
    after = pd.read_parquet(study / "results/tiny/runs.parquet")
    assert after.pack.nunique() == 1 and before.pack.nunique() == 4
    pd.testing.assert_frame_equal(after.drop(columns="pack"), before.drop(columns="pack"))


def test_bad_parameters_stop_before_any_job_with_one_line(tmp_path):
    def misspell(parameters):
        parameters["studies"]["tiny"]["defaults"]["momentun"] = 0.9

    write_parameters(tmp_path, misspell)
    result = snakemake(tmp_path)
    assert result.returncode != 0
    assert "studies.tiny.defaults: unknown key 'momentun'; did you mean 'momentum'?" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "results").exists()


def test_a_truncated_weights_file_is_named(study):
    weights = next((study / "results/tiny/packs").glob("*SGDW*/weights.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-64])
    (weights.parent / "class_statistics.safetensors").unlink()
    result = snakemake(study)
    assert result.returncode != 0
    line = next(line for line in result.stderr.splitlines() if "PackFileError" in line)
    assert str(weights.relative_to(study)) in line and "delete it and run again" in line
    assert "Traceback" not in result.stderr
    weights.unlink()
    assert snakemake(study).returncode == 0


def test_the_paper_lists_its_packs(tmp_path):
    """108 of the grid (table 2 and a part of the heatmap among them), 43 of the optimizers beyond the paper,
    and the other experiments'.
    """
    write_parameters(tmp_path)
    planned = planned_jobs(tmp_path, "--config", "study=paper", "pack_minutes=100000")
    assert planned["train"] == planned["extract_statistics"] == planned["measure"] == 180
    assert planned["prepare_dataset"] == 6
    assert planned["measure_depth"] == 7 and planned["collect_further"] == 1
    assert sum(name.startswith("figure_") for name in planned) == 63, (
        "57 of the paper, whose figure 10 is figure 2, and 101 to 106"
    )


def test_what_the_study_lacks_is_said_before_anything_runs(study):
    """ImageNet's figures: which runs are missing, and which study has them."""
    refused = snakemake(study, "figure_31")
    words = "study tiny has no run of experiment imagenet, ResNet50, ImageNet, of which figure_31 is made"
    assert refused.returncode != 0 and words in refused.stderr and "study=paper" in refused.stderr


def test_a_figure_printed_twice_is_one_target(study):
    shutil.rmtree(study / "results/tiny/figures")
    assert planned_jobs(study, "figure_10") == {"figure_2": 1, "figure_10": 1}


def test_the_linter_is_content():
    result = snakemake(ROOT, "--lint")
    assert result.returncode == 0, result.stdout + result.stderr
