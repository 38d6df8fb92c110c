"""The workflow as a user runs it: a tiny study from params.yaml to its tables and figures."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import ROOT

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]
SNAKEMAKE = Path(sys.executable).with_name("snakemake")

TINY = {
    "title": "tiny: for tests",
    "stand_ins": {"FashionMNIST": "Fake"},
    "pack_by": ["architecture", "dataset", "optimizer"],
    "defaults": {
        "architecture": "ResNet9", "dataset": "Fake", "width": 0.0625, "image_size": 8,
        "augmentation": "none", "schedule": "thirds", "epochs": 6, "batch_size": 16, "beta2": 0.999,
        "epsilon": 1e-8, "seed": 3141, "measure_every": 3, "momentum": 0.9,
    },
    "experiments": {
        "grid": {
            "rows": [
                {"optimizer": ["SGD", "SGDW"], "learning_rate": 0.05, "weight_decay": [0, 0.01, 0.1]},
                {"optimizer": ["Adam", "AdamW"], "learning_rate": 0.003, "weight_decay": [0, 0.01, 0.1]},
                {"optimizer": "SGD", "learning_rate": 1.0e+12, "weight_decay": 0},
            ]
        },
        "momentum_heatmap": {
            "rows": [
                {"optimizer": "SGD", "learning_rate": 0.05, "weight_decay": [0, 0.1], "momentum": [0, 0.9]}
            ]
        },
        "table_2": {
            "rows": [
                {"optimizer": ["SGD", "SGDW"], "learning_rate": 0.05, "weight_decay": 0.01},
                {"optimizer": ["Adam", "AdamW"], "learning_rate": 0.003, "weight_decay": 0.01},
            ]
        },
    },
}  # fmt: skip
DISTINCT_RUNS = 13 + 2


def snakemake(folder, *arguments):
    return subprocess.run(
        [SNAKEMAKE, "--snakefile", ROOT / "Snakefile", "--profile", ROOT / "profiles/default",
         "--directory", folder, *arguments],
        capture_output=True, text=True, timeout=600, cwd=folder,
    )  # fmt: skip


def jobs(folder, *arguments):
    """How many jobs of each rule a dry run lists."""
    result = snakemake(folder, "--dry-run", *arguments)
    assert result.returncode == 0, result.stderr
    counts = dict(re.findall(r"^(\w+) +(\d+)$", result.stdout + result.stderr, re.MULTILINE))
    return {rule: int(count) for rule, count in counts.items() if rule not in ("all", "total")}


def write_parameters(folder, change=lambda parameters: None):
    """The project's params.yaml with the tiny study in it, and a laxer bar for validity."""
    parameters = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    parameters["studies"]["tiny"] = yaml.safe_load(yaml.safe_dump(TINY))
    parameters |= {"study": "tiny", "valid_accuracy": 0.5}
    change(parameters)
    (folder / "params.yaml").write_text(yaml.safe_dump(parameters, sort_keys=False), encoding="utf-8")


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The tiny study, once from the beginning to its last figure."""
    folder = tmp_path_factory.mktemp("tiny")
    write_parameters(folder)
    result = snakemake(folder)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.fixture
def study(finished, tmp_path):
    """A copy of the finished study that a test may spoil, Snakemake's records included."""
    return Path(shutil.copytree(finished, tmp_path / "study"))


def test_every_table_and_figure_is_there(finished, parameters):
    results = finished / "results/tiny"
    for figure in parameters["figures"]:
        assert (results / f"figures/{figure}.pdf").read_bytes().startswith(b"%PDF")
        assert (results / f"figures/{figure}.png").stat().st_size > 10_000
    for table in parameters["tables"]:
        assert len(pd.read_csv(results / f"tables/{table}.csv"))
        assert "tiny study" in (results / f"tables/{table}.md").read_text(encoding="utf-8")


def test_the_two_tables(finished):
    runs = pd.read_parquet(finished / "results/tiny/runs.parquet")
    history = pd.read_parquet(finished / "results/tiny/history.parquet")
    assert runs.key.nunique() == DISTINCT_RUNS == history.key.nunique()
    assert runs.groupby("experiment").size().to_dict() == {
        "grid": 13, "momentum_heatmap": 4, "table_2": 4,
    }  # fmt: skip
    diverged = runs[runs.learning_rate == 1e12]
    assert diverged.status.tolist() == ["diverged"] and not diverged.valid.any()
    assert diverged.NC3.isna().all() and diverged.NC3_init.notna().all()
    done = runs[runs.status == "done"]
    assert (history[history.key.isin(done.key)].groupby("key").size() == 7).all()
    followed = history[history.NC0_closed_form.notna() & history.NC0.notna()]
    assert set(followed.merge(runs, on="key").optimizer) == {"SGD", "SGDW"}
    assert abs(followed.NC0 - followed.NC0_closed_form).max() < 1e-4


def test_nothing_is_done_twice(study):
    assert jobs(study) == {}


def test_a_progress_line_and_a_log_for_every_job(finished):
    logs = sorted((finished / "results/tiny/logs/train").glob("*.log"))
    assert len(logs) == 4
    text = "".join(log.read_text(encoding="utf-8") for log in logs)
    assert re.search(r"run 1/\d  SGD lr 0.05 .* epoch 6/6  loss [\d.e-]+  \d:\d\d:\d\d left", text)
    assert "diverged: " in text


def test_an_added_weight_decay_trains_its_runs_alone(study):
    before = pd.read_parquet(study / "results/tiny/runs.parquet").set_index(["experiment", "key"])

    def add(parameters):
        parameters["studies"]["tiny"]["experiments"]["grid"]["rows"][1]["weight_decay"].append(1.0)

    write_parameters(study, add)
    planned = jobs(study)
    assert planned["train"] == planned["extract_statistics"] == planned["measure"] == 2
    assert planned["collect"] == 1 and "prepare_dataset" not in planned
    result = snakemake(study, "results/tiny/runs.parquet")
    assert result.returncode == 0, result.stderr
    assert "4 runs, 3 of them trained before" in result.stderr
    after = pd.read_parquet(study / "results/tiny/runs.parquet").set_index(["experiment", "key"])
    assert len(after) == len(before) + 2
    pd.testing.assert_frame_equal(after.loc[before.index], before)


def test_a_changed_figure_setting_draws_that_figure(study):
    def recolour(parameters):
        parameters["figures"]["figure_7"]["settings"]["scale"] = "log"

    write_parameters(study, recolour)
    assert jobs(study) == {"figure_7": 1}


def test_reordered_parameters_change_nothing(study):
    def reorder(parameters):
        tiny = parameters["studies"]["tiny"]
        tiny["defaults"] = dict(reversed(tiny["defaults"].items()))

    write_parameters(study, reorder)
    assert jobs(study) == {}


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


def test_the_paper_lists_its_108_packs(tmp_path):
    write_parameters(tmp_path)
    planned = jobs(tmp_path, "--config", "study=paper")
    assert planned["train"] == planned["extract_statistics"] == planned["measure"] == 108
    assert planned["prepare_dataset"] == 3


def test_the_linter_is_content():
    result = snakemake(ROOT, "--lint")
    assert result.returncode == 0, result.stdout + result.stderr
