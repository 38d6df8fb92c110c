"""`collapse train` on a machine with PyTorch and little else, and the workflow that takes over from it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from bare_machine import BARE, refused
from conftest import ROOT
from tiny_study import snakemake, write_parameters

from collapse.commands.main import main
from collapse.records.interruption import Interrupted
from collapse.study.parameters import load_parameters
from collapse.study.runs import chosen_runs, run_table, runs_by_pack
from collapse.training import packs

SAME = [
    "weights.safetensors", "trajectory.safetensors", "history.parquet", "class_statistics.safetensors",
    "metrics.parquet", "history_metrics.parquet",
]  # fmt: skip


def bare(folder, *arguments):
    """collapse train as such a machine would run it."""
    environment = os.environ | {"REFUSED": json.dumps(refused()), "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        [sys.executable, "-c", BARE, "train", "--study", "tiny", "--device", "cpu", *arguments],
        capture_output=True, text=True, timeout=600, cwd=folder, env=environment,
    )  # fmt: skip


def test_what_is_refused():
    """The test tests something."""
    assert {"snakemake", "dvc", "torchvision", "jsonschema", "PIL", "sklearn", "matplotlib"} <= set(refused())


def packs_of(folder):
    return {path.name: path for path in (folder / "results/tiny/packs").iterdir()}


def without_seconds(file):
    return pd.read_parquet(file).drop(columns="seconds")


@pytest.mark.workflow
@pytest.mark.xdist_group("workflow")
def test_the_workflow_goes_on_from_bare_training(finished, tmp_path):
    """Stopped by its budget, gone on by experiment; Snakemake trains what is left, and no byte differs."""
    write_parameters(tmp_path)
    results = tmp_path / "results/tiny"
    stopped = bare(tmp_path, "--experiment", "table_2", "grid", "--hours", "0.0002")
    assert stopped.returncode == 3, stopped.stderr
    assert "the time is up; the same command goes on from here" in stopped.stdout
    assert "of 13 runs are trained; results/tiny holds" in stopped.stdout
    assert "params.yaml is not checked against its schema: jsonschema" in stopped.stderr

    first = bare(tmp_path, "--experiment", "table_2")
    assert first.returncode == 0 and "4 of 4 runs are trained" in first.stdout, first.stderr
    assert len(packs_of(tmp_path)) == 4 and all(name.endswith("-table_2") for name in packs_of(tmp_path))
    second = bare(tmp_path, "--experiment", "grid")
    assert second.returncode == 0 and "13 of 13 runs are trained" in second.stdout, second.stderr
    assert "taken over from" in second.stderr
    whole = [name for name in packs_of(finished) if name in packs_of(tmp_path)]
    assert sorted(name.split("-")[2] for name in whole) == ["Adam", "AdamW", "SGDW"]
    before = {file: file.stat().st_mtime_ns for name in whole for file in packs_of(tmp_path)[name].iterdir()}
    again = bare(tmp_path, "--experiment", "grid")
    assert again.returncode == 0 and "trained before" not in again.stderr

    result = snakemake(tmp_path, "results/tiny/runs.parquet")
    assert result.returncode == 0, result.stderr
    assert [line[10:] for line in result.stderr.splitlines() if "trained before" in line] == [
        "6 runs, 4 of them trained before"
    ]
    assert len(list(results.glob("benchmarks/*/*.tsv"))) == 2  # train and extract_statistics of that pack
    assert before == {file: file.stat().st_mtime_ns for file in before}
    for pack, folder in packs_of(finished).items():
        for name in SAME:
            assert (folder / name).read_bytes() == (results / "packs" / pack / name).read_bytes(), (
                pack,
                name,
            )
        pd.testing.assert_frame_equal(
            *(without_seconds(f / "outcomes.parquet") for f in (folder, results / "packs" / pack))
        )
    for name in ("datasets/Fake.safetensors", "history.parquet"):
        assert (finished / "results/tiny" / name).read_bytes() == (results / name).read_bytes(), name
    pd.testing.assert_frame_equal(
        *(without_seconds(f / "runs.parquet") for f in (finished / "results/tiny", results))
    )
    assert main(["lineage", str(results / "runs.parquet"), "--results", str(results.parent)]) == 0

    # Without its checkpoints, which may be too large to bring back, it is as good for all that follows.
    for file in results.glob("packs/*/weights.safetensors"):
        file.unlink()
    plan = snakemake(tmp_path, "--dry-run", "results/tiny/runs.parquet")
    assert plan.returncode == 0 and "Nothing to be done" in plan.stdout + plan.stderr, plan.stderr
    (results / "datasets/Fake.safetensors").unlink()
    whole = bare(tmp_path)
    assert not (results / "datasets/Fake.safetensors").exists(), "nothing is left to measure with it"
    assert whole.returncode == 0 and whole.stdout.count("has no checkpoints: depth is not measured") == 2
    assert not list(results.glob("packs/*/weights.safetensors"))


@pytest.mark.workflow
@pytest.mark.xdist_group("workflow")
def test_depth_is_measured_where_it_is_asked_for(finished, tmp_path, monkeypatch):
    """Its runs are of table 2 too; what training without the workflow leaves is what the workflow has."""
    write_parameters(tmp_path)
    packs = tmp_path / "results/tiny/packs"
    assert bare(tmp_path, "--experiment", "table_2").returncode == 0
    monkeypatch.chdir(tmp_path)
    assert main(["evidence", "--study", "tiny", "--experiment", "table_2"]) == 0
    assert not list(packs.glob("*/depth.parquet"))
    asked = bare(tmp_path, "--experiment", "depth", "--not-in", "evidence/tiny")
    assert asked.returncode == 0 and asked.stderr.count("1 runs taken over from") == 2, asked.stderr
    tables = sorted(packs.glob("*-depth/depth.parquet"))
    assert len(tables) == 2
    for table in tables:
        ours = packs_of(finished)[table.parent.name.removesuffix("-depth")] / "depth.parquet"
        assert table.read_bytes() == ours.read_bytes()
    before = [table.stat().st_mtime_ns for table in tables]
    assert main(["evidence", "--study", "tiny", "--experiment", "depth"]) == 0
    known = bare(tmp_path, "--experiment", "depth", "--not-in", "evidence/tiny")
    assert "nothing to train" in known.stdout
    assert bare(tmp_path, "--experiment", "depth").returncode == 0
    assert before == [table.stat().st_mtime_ns for table in tables]
    tables[0].unlink()
    assert bare(tmp_path, "--experiment", "depth").returncode == 0
    assert tables[0].exists() and tables[1].stat().st_mtime_ns == before[1]


@pytest.mark.parametrize("experiments", [["momentum_heatmap"], []])
def test_what_has_ended_is_measured_when_the_time_is_up(experiments, tmp_path, monkeypatch):
    """Two runs of a pack, the third under way: these two can be brought home; the next call goes on."""
    monkeypatch.chdir(tmp_path)
    write_parameters(tmp_path)
    arguments = ["train", "--study", "tiny", "--device", "cpu"]
    arguments += ["--experiment", *experiments] if experiments else []
    train_one, ended = packs.train_one, []

    def until_the_alarm(run, *rest):
        if len(ended) == 2:
            raise Interrupted(signal.SIGALRM)
        ended.append(run["key"])
        return train_one(run, *rest)

    monkeypatch.setattr(packs, "train_one", until_the_alarm)
    assert main(arguments) == 3
    [folder] = (tmp_path / "results/tiny/packs").iterdir()
    assert folder.name.endswith(f"-{'-'.join(experiments) or 'ended'}")
    assert pd.read_parquet(folder / "metrics.parquet").key.tolist() == ended
    assert set(pd.read_parquet(folder / "history_metrics.parquet").key) == set(ended)
    states = len(list((tmp_path / "results/tiny/unfinished").glob("*/*/outcomes.parquet")))
    assert states == 2, "what the pack goes on from is still there"

    monkeypatch.setattr(packs, "train_one", train_one)
    seconds = pd.read_parquet(folder / "outcomes.parquet").set_index("key").seconds
    assert main(arguments) == 0
    place = folder if experiments else folder.with_name(folder.name.removesuffix("-ended"))
    outcomes = pd.read_parquet(place / "outcomes.parquet").set_index("key")
    assert len(outcomes) > 2 and outcomes.seconds[ended].to_dict() == seconds.to_dict(), "not trained again"
    assert set(pd.read_parquet(place / "history_metrics.parquet").key) == set(outcomes.index)


def test_chosen_runs_are_those_of_the_experiments(tmp_path):
    write_parameters(tmp_path)
    table = run_table(load_parameters(tmp_path / "params.yaml"), "tiny")
    assert chosen_runs(table, []) == runs_by_pack(table)
    chosen = chosen_runs(table, ["momentum_heatmap"])
    assert [len(runs) for runs in chosen.values()] == [4]
    assert {run["key"] for runs in chosen.values() for run in runs} == set(
        table[table.experiment == "momentum_heatmap"].key
    )


MISTAKES = [
    (["--study", "dmeo"], "unknown study 'dmeo'"),
    (["--study", "tiny", "--experiment", "table2"], "unknown experiment 'table2'; did you mean 'table_2'?"),
    (["--study", "tiny", "--out", "params.yaml"], "--out: params.yaml/tiny cannot be made"),
    (["--study", "tiny", "--device", "cuda"], "torch sees no GPU here; set device to auto or cpu"),
    (["--study", "core", "--experiment", "table_2"], "FashionMNIST is not complete under empty"),
    (["--study", "tiny", "--data", "typo"], "typo: no such folder"),
    (["--study", "tiny", "--not-in", "evidence/typo"], "evidence/typo: no such folder"),
    (["--study", "tiny", "--not-in", "empty"], "empty: no evidence there; name evidence/ or a study of it"),
]


@pytest.mark.parametrize(("arguments", "wanted"), MISTAKES)
def test_a_mistake_is_one_line_and_status_2(arguments, wanted, tmp_path, monkeypatch, capsys):
    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    write_parameters(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "collapse.datasets.torchvision_import", None)  # which would download
    (tmp_path / "empty").mkdir()
    assert main(["train", "--data", "empty", *arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "downloading" not in line]
    assert wanted in "".join(lines) and len(lines) == 1


def test_a_missing_schema_says_what_to_copy(tmp_path, monkeypatch, capsys):
    write_parameters(tmp_path)
    monkeypatch.setattr("collapse.study.parameters.PROJECT_ROOT", Path("absent"))
    assert main(["runs", "tiny", "--params", str(tmp_path / "params.yaml")]) == 2
    assert "copy the project's folder workflow as well" in capsys.readouterr().err
