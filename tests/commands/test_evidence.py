"""`collapse evidence`: measured runs as small files for git, and the study that is made of them."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from bare_machine import BARE, refused
from conftest import ROOT
from tiny_study import CHECKOUT, planned_jobs, snakemake, write_parameters

from collapse.commands.evidence import FRACTIONS
from collapse.commands.main import main
from collapse.lineage.versions import tools, verbs
from collapse.measuring.collect import collect
from collapse.measuring.evidence_files import (
    ABOUT,
    RUNS,
    TABLES,
    EvidenceError,
    measured_experiments,
    same_runs,
)
from collapse.measuring.evidence_tables import Evidence, read_evidence, write_evidence
from collapse.measuring.results import (
    HISTORY_COLUMNS,
    MEASURES,
    RUN_COLUMNS,
    read_depth,
    read_results,
    read_runs,
)
from collapse.metrics.class_statistics import class_statistics, to_arrays
from collapse.records.provenance import read_record
from collapse.study.parameters import load_parameters
from collapse.study.runs import run_table
from collapse.training.pack_files import key_of, read_tensors, save_tensors

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]
PLACE = "evidence/tiny/table_2"
TABLE_2 = "results/taken/tables/table_2.csv"
SECOND_HALF = ("Adam", "AdamW")


def take(parameters):
    """Adds a study that takes table 2 of the tiny one from evidence."""
    tiny = parameters["studies"]["tiny"]
    experiments = {"table_2": tiny["experiments"]["table_2"]}
    parameters["studies"]["taken"] = {**tiny, "experiments": experiments, "evidence": "evidence/tiny"}


@pytest.fixture
def project(tmp_path):
    """A checkout with that study: evidence belongs to the project. Also the current folder."""
    for name in CHECKOUT:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    write_parameters(tmp_path, take)
    return tmp_path


@pytest.fixture
def results(finished, tmp_path, monkeypatch):
    """A copy of the tiny study's results; the current folder is above them."""
    shutil.copytree(finished / "results", tmp_path / "results")
    if not (tmp_path / "params.yaml").exists():
        write_parameters(tmp_path, take)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results/tiny"


def evidence(*arguments):
    """The command on table 2: its exit status."""
    return main(["evidence", "--study", "tiny", "--experiment", "table_2", *map(str, arguments)])


def without(results, *optimizers):
    """The results as they are where nothing was trained with some optimizers: what is left out."""
    left_out = results.parents[1] / "left_out"
    left_out.mkdir()
    for pack in results.glob("packs/*"):
        if pack.name.split("-")[2] in optimizers:
            shutil.move(pack, left_out / pack.name)
    return left_out


def files_of(folder):
    return {name: (folder / name).read_bytes() for name in (ABOUT, *TABLES)}


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def build(project, *arguments):
    return snakemake(project, *arguments, "--config", "study=taken", project=project)


def lineage(project, *arguments):
    """`collapse lineage` of the checkout."""
    command = [sys.executable, "-m", "collapse", "lineage", *arguments]
    environment = os.environ | {"PYTHONPATH": str(project / "src")}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)


def test_a_study_is_made_of_evidence_and_traced_to_it(results, project, finished):
    assert evidence() == 0
    shutil.rmtree(results)
    wanted = ["table_2", "figure_6", "figure_7"]
    assert planned_jobs(project, *wanted, "--config", "study=taken", project=project) == {
        "collect": 1, **dict.fromkeys(wanted, 1),
    }  # fmt: skip
    done = build(project, *wanted)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (project / "results").iterdir()} == {"taken"}
    assert not any((project / "results/taken" / name).exists() for name in ("packs", "datasets"))

    ours, tiny = project / "results/taken", finished / "results/tiny"
    for name in ("tables/table_2.csv", "figures/figure_6.png", "figures/figure_7.png"):
        same = (ours / name).read_bytes() == (tiny / name).read_bytes()
        assert same or name.endswith("png"), name  # a figure's face names the study
    runs = read_runs(tiny / "runs.parquet")
    runs = runs[runs.experiment == "table_2"].reset_index(drop=True)
    pd.testing.assert_frame_equal(read_runs(ours / "runs.parquet"), runs)

    traced = lineage(project, TABLE_2, "--row", "Adam", "--column", "NC3")
    assert traced.returncode == 0, traced.stdout + traced.stderr
    labels = [line[:18].strip() for line in traced.stdout.splitlines() if line[:1].strip()]
    assert labels[:5] == ["cell", "table", "run table", "evidence", "run"]
    adam = runs[runs.optimizer == "Adam"].iloc[0]
    for words in (
        f"NC3; {adam.NC3} of this run. Convention reported",
        f"Adam at learning rate 0.003, momentum 0.9, weight decay 0.01, on cpu, torch {adam.torch_version}, "
        f"plain kernels, protocol {adam.protocol}, commit ",
        "its job ran from ", "commit ", "verified: all 6 files are as recorded",
    ):  # fmt: skip
        assert words in " ".join(traced.stdout.split()), words
    for what in ("results/taken/figures/figure_7.pdf", adam.key, f"{PLACE}/history.parquet"):
        assert lineage(project, what).returncode == 0, what

    flip(project / PLACE / RUNS)
    for what in (TABLE_2, f"{PLACE}/history.parquet"):
        traced = lineage(project, what)
        assert traced.returncode == 1 and "broken at evidence" in traced.stderr, traced.stdout
    refused_it = build(project, "table_2")
    assert refused_it.returncode != 0 and "Traceback" not in refused_it.stderr
    assert f"EvidenceError: {PLACE}/{RUNS} is not what `collapse evidence` wrote" in refused_it.stderr


def test_depth_is_kept_with_the_runs_it_was_measured_of(results, project, finished, capsys):
    """Without it the experiment is left out, though its runs are known as those of table 2."""
    tiny = load_parameters("params.yaml")["studies"]["tiny"]["experiments"]

    def take_depth(parameters):
        take(parameters)
        parameters["studies"]["taken"]["experiments"] = {name: tiny[name] for name in ("table_2", "depth")}

    write_parameters(project, take_depth)
    assert evidence() == 0
    kept = measured_experiments(load_parameters("params.yaml"), "taken")["experiments"]
    assert set(kept) == {"table_2"}
    left_out = without(results, "Adam")
    assert main(["evidence", "--study", "tiny", "--experiment", "depth"]) == 0
    assert "depth: 1 of 2 runs, " in capsys.readouterr().out
    shutil.rmtree(results / "packs")
    shutil.move(left_out, results / "packs")
    assert main(["evidence", "--study", "tiny", "--experiment", "depth"]) == 0
    assert "depth: 2 of 2 runs, " in capsys.readouterr().out
    shutil.rmtree(results)

    assert build(project, "figure_105").returncode == 0
    ours, theirs = (
        place / "depth.parquet" for place in (project / "results/taken", finished / "results/tiny")
    )
    order = ["key", "epoch", "view", "depth"]
    pd.testing.assert_frame_equal(
        *(read_depth(table).sort_values(order, ignore_index=True) for table in (ours, theirs))
    )
    figure = "results/taken/figures/figure_105.pdf"
    traced = lineage(project, figure)
    assert traced.returncode == 0, traced.stdout + traced.stderr
    assert "evidence/tiny/depth/depth.parquet" in traced.stdout
    damaged = project / "evidence/tiny/depth/depth.parquet"
    flip(damaged)
    assert lineage(project, figure).returncode == 1
    assert main(["evidence", "--study", "tiny", "--experiment", "depth"]) == 2
    refused_it = build(project, "figure_105")
    assert "EvidenceError: evidence/tiny/depth/depth.parquet is not what" in refused_it.stderr


def test_what_is_missing_says_so_and_comes_with_the_next_call(results, project, capsys):
    left_out = without(results, *SECOND_HALF)
    assert evidence() == 0
    printed = capsys.readouterr().out
    assert re.search(rf"^{PLACE}: 2 of 4 runs, 0\.\d\d MB; missing: ", printed)
    assert printed.count("\n") == 1
    assert "missing: Adam at learning rate 0.003, momentum 0.9, weight decay 0.01; AdamW at " in printed

    done = build(project, "all")
    assert done.returncode == 0, done.stderr
    assert "2 done, 2 missing" in done.stderr
    runs = read_runs(project / "results/taken/runs.parquet").set_index("optimizer")
    assert runs.status.to_dict() == {"SGD": "done", "SGDW": "done", "Adam": "missing", "AdamW": "missing"}
    assert set(runs.reason[runs.status == "missing"]) == {"not measured yet"} and not runs.valid["Adam"]
    assert runs.epochs_done["SGD"] == 6 and runs[MEASURES].loc["Adam"].isna().all()
    table = pd.read_csv(project / TABLE_2).set_index("optimizer")
    assert table.status["Adam"] == "Adam: not run yet" and table.NC3["SGD"] > 0
    page = (project / "results/taken/summary.html").read_text(encoding="utf-8")
    assert "Missing</th>" in page and "not recorded" not in page
    comparison = (project / "results/taken/tables/comparison.md").read_text(encoding="utf-8")
    assert "Adam: not run yet" in comparison
    claims = pd.read_csv(project / "results/taken/tables/claims.csv")
    assert claims.words[claims.claim == "C3"].iloc[0].endswith("; 2 of 4 runs not valid: 2 not run yet")
    assert lineage(project, TABLE_2, "--row", "Adam", "--column", "NC3").returncode == 0
    missing = lineage(project, runs.key["Adam"], "--study", "taken")
    assert missing.returncode == 0 and "missing: not measured yet" in missing.stdout

    first = files_of(project / PLACE)
    shutil.rmtree(results / "packs")
    shutil.move(left_out, results / "packs")
    assert evidence() == 0
    assert f"{PLACE}: 4 of 4 runs, " in capsys.readouterr().out
    assert files_of(project / PLACE) != first
    planned = planned_jobs(project, "--config", "study=taken", project=project)
    of_all = ["collect", "claims", "comparison", "key_numbers", "summary", "explorer"]
    assert planned == dict.fromkeys([*of_all, "table_2", "figure_6", "figure_7"], 1)
    assert build(project, "table_2").returncode == 0
    assert set(pd.read_csv(project / TABLE_2).status[:4]) == {"valid"}


def test_without_evidence_nothing_is_begun(project):
    refused_it = build(project)
    assert refused_it.returncode != 0 and "Traceback" not in refused_it.stderr
    [line] = [line for line in refused_it.stderr.splitlines() if "ParameterError" in line]
    assert "study taken is made of evidence in evidence/tiny, and there is none" in line
    assert "then `collapse evidence --study S --experiment E`" in line
    assert not (project / "results").exists()


def test_on_a_machine_with_pytorch_and_little_else(results):
    arguments = ["evidence", "--study", "tiny", "--experiment", "table_2", "grid", "--out", "bare"]
    done = subprocess.run(
        [sys.executable, "-c", BARE, *arguments],
        capture_output=True, text=True, timeout=600,
        env=os.environ | {"REFUSED": json.dumps(refused()), "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "bare/tiny/table_2: 4 of 4 runs" in done.stdout and "bare/tiny/grid: 13 of 13" in done.stdout
    assert evidence() == 0
    assert files_of(Path("bare/tiny/table_2")) == files_of(Path(PLACE))


def test_the_files_and_what_they_say(results):
    assert evidence() == 0 and sorted(path.name for path in Path(PLACE).iterdir()) == sorted([ABOUT, *TABLES])
    once = files_of(Path(PLACE))
    assert evidence() == 0 and files_of(Path(PLACE)) == once
    for unneeded in ("weights", "trajectory"):
        for file in results.glob(f"packs/*/{unneeded}.safetensors"):
            file.unlink()
    assert evidence() == 0 and files_of(Path(PLACE)) == once
    found, about = read_evidence(Path(PLACE)), read_record(Path(PLACE) / ABOUT)
    assert list(found.runs) == RUN_COLUMNS and list(found.history) == HISTORY_COLUMNS
    assert set(found.history.key) == set(found.runs.key) == set(found.made)
    assert about["missing"] == {} and about["study"] == "tiny" and about["experiment"] == "table_2"
    for row in found.runs.itertuples():
        its = found.made[row.key]
        assert its["settings"].startswith(f"{row.optimizer} at learning rate ")
        assert (its["device"], its["threads"], its["torch_version"]) == ("cpu", 1, row.torch_version)
        assert its["commit"] and its["code"] and its["job"]["environment"]["packages"]["torch"]
        assert its["job"]["started"] <= its["job"]["ended"]


def test_packs_of_a_part_of_the_runs_and_records_that_are_not_there(results):
    assert evidence() == 0
    before = read_evidence(Path(PLACE))
    shutil.rmtree(results / "lineage")
    for pack in results.glob("packs/*"):
        pack.rename(f"{pack}-table_2")
    assert evidence() == 0
    after = read_evidence(Path(PLACE))
    pd.testing.assert_frame_equal(after.runs, before.runs)
    assert all(its["job"] is None and its["commit"] for its in after.made.values())


def test_a_run_trained_anew_takes_the_place_of_the_older_one(results):
    assert evidence() == 0
    before = read_evidence(Path(PLACE))
    without(results, "SGD", "AdamW", "SGDW")
    shutil.rmtree(results / "lineage")
    [pack] = results.glob("packs/*")
    outcomes = pd.read_parquet(pack / "outcomes.parquet").assign(device="a GPU", seconds=1.0)
    outcomes.to_parquet(pack / "outcomes.parquet")
    assert evidence() == 0
    after = read_evidence(Path(PLACE))
    assert list(after.runs.key) == list(before.runs.key) and list(after.statistics) == list(before.statistics)
    adam = after.runs.optimizer == "Adam"
    assert set(after.runs.device[adam]) == {"a GPU"} and set(after.runs.device[~adam]) == {"cpu"}
    pd.testing.assert_frame_equal(after.runs[~adam], before.runs[~adam])
    pd.testing.assert_frame_equal(after.history, before.history)


def test_a_run_that_the_experiment_has_no_more_is_dropped_with_a_line(results, tmp_path, capsys):
    assert evidence() == 0

    def drop(parameters):
        parameters["studies"]["tiny"]["experiments"]["table_2"]["rows"][0]["optimizer"] = ["SGD"]

    write_parameters(tmp_path, drop)
    capsys.readouterr()
    assert evidence() == 0
    dropped, summary = capsys.readouterr().out.splitlines()
    assert dropped.startswith(f"{PLACE}: no longer runs of the experiment, dropped: SGDW at ")
    assert "3 of 3 runs" in summary and "SGDW" not in set(read_evidence(Path(PLACE)).runs.optimizer)


@pytest.mark.parametrize("name", [ABOUT, *TABLES])
def test_damaged_evidence_is_named_and_left_alone(results, capsys, name):
    assert evidence() == 0
    flip(Path(PLACE) / name)
    damaged = files_of(Path(PLACE))
    capsys.readouterr()
    assert evidence() == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"`git checkout {PLACE}/{name}` brings back what git has" in error
    assert files_of(Path(PLACE)) == damaged
    (Path(PLACE) / name).unlink()
    assert evidence() == 2 and f"{PLACE}/{name} is not" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spoil", "files", "wanted"),
    [
        (shutil.rmtree, "packs", "no run of table_2 is trained and measured in results/tiny; "),
        (Path.unlink, "packs/*/metrics.parquet", "no run of table_2 is trained and measured"),
        (flip, "packs/*-AdamW-*/outcomes.parquet", "outcomes.parquet: its bytes are not those recorded"),
        (flip, "lineage/measure/*-AdamW-*", "the record itself is not as it was written"),
    ],
)
def test_what_cannot_be_evidence_is_one_line_and_nothing_is_written(results, capsys, spoil, files, wanted):
    for file in results.glob(files):
        spoil(file)
    assert evidence() == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and wanted in error
    assert not Path("evidence").exists()


def test_mistakes_are_one_line_and_status_2(results, capsys):
    for arguments, wanted in (
        (["--study", "tiny", "--experiment", "table2"], "unknown experiment 'table2'; did you mean"),
        (["--study", "tniy", "--experiment", "table_2"], "unknown study 'tniy'"),
        (["--study", "taken", "--experiment", "table_2"], "study taken trains nothing"),
        (["--study", "tiny", "--experiment", "table_2", "--out", "params.yaml"], "cannot be written"),
    ):  # fmt: skip
        assert main(["evidence", *arguments]) == 2
        error = capsys.readouterr().err
        assert wanted in error and error.count("\n") == 1
    for command in (["train", "--study", "taken"], ["status", "taken"]):
        assert main(command) == 2
        assert "its runs are taken from evidence/tiny; name the study" in capsys.readouterr().err


def test_a_metric_that_its_class_statistics_do_not_give_is_refused(results, tmp_path):
    assert evidence() == 0
    found = read_evidence(Path(PLACE))
    other = found._replace(runs=found.runs.assign(NC2=found.runs.NC2 * (1 + 1e-5)))
    write_evidence(other, Path(PLACE), study="tiny", experiment="table_2", missing={})
    with pytest.raises(EvidenceError, match=f"NC2 of run {found.runs.key[0]} is .* by its class statistics"):
        collected("taken", "table_2", folder=tmp_path)


def collected(study, *experiments, folder):
    """The two tables of a study's runs from the evidence of experiments, as rule collect makes them."""
    table = run_table(load_parameters("params.yaml"), study).astype(FRACTIONS)
    files = {"runs_file": folder / RUNS, "history_file": folder / "history.parquet"}
    collect(
        table[table.experiment.isin(experiments)], histories=[], outcomes=[], metrics=[], history_metrics=[],
        evidence=[Path("evidence/tiny") / name / file for name in experiments for file in (ABOUT, *TABLES)],
        valid_accuracies=dict.fromkeys(experiments, 0.5), **files,
    )  # fmt: skip
    return read_results(*files.values())


def test_experiments_that_share_runs_share_their_history(results, tmp_path):
    """All of table 2 is in the grid; one of the grid's runs diverged, which is not missing."""
    assert main(["evidence", "--study", "tiny", "--experiment", "grid", "table_2"]) == 0
    runs, history = collected("tiny", "grid", "table_2", folder=tmp_path)
    every, logged = read_results(results / RUNS, results / "history.parquet")
    every = every[every.experiment.isin(["grid", "table_2"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(runs, every)
    assert runs.status.value_counts().to_dict() == {"done": 16, "diverged": 1}
    assert not history.duplicated(["key", "epoch"]).any()
    order = ["key", "epoch"]
    logged = logged[logged.key.isin(every.key)].sort_values(order, ignore_index=True)
    pd.testing.assert_frame_equal(history.sort_values(order, ignore_index=True), logged)


def test_runs_of_an_earlier_protocol_stay_valid(results, tmp_path, monkeypatch, capsys):
    """They are found by their settings, keep their keys, and say of which protocol they are."""
    assert evidence() == 0
    before = read_evidence(Path(PLACE))
    monkeypatch.setattr("collapse.study.runs.PROTOCOL", int(before.runs.protocol.iloc[0]) + 1)
    assert not set(run_table(load_parameters("params.yaml"), "taken").key) & set(before.runs.key)
    found, logged = collected("taken", "table_2", folder=tmp_path)
    pd.testing.assert_frame_equal(found, before.runs)
    assert set(logged.key) == set(before.runs.key)
    assert main(["train", "--study", "tiny", "--experiment", "table_2", "--not-in", "evidence/tiny"]) == 0
    assert "nothing to train" in capsys.readouterr().out


def test_new_runs_join_those_of_an_earlier_protocol(results, monkeypatch):
    assert evidence() == 0
    before = read_evidence(Path(PLACE))
    without(results, "SGD", "SGDW", "AdamW")
    monkeypatch.setattr("collapse.study.runs.PROTOCOL", int(before.runs.protocol.iloc[0]) + 1)
    table = run_table(load_parameters("params.yaml"), "tiny")
    [pack] = results.glob("packs/*")
    shutil.rmtree(results / "lineage")
    new_keys = {old: new for new, old in same_runs(table, read_runs(results / RUNS)).items()}
    rename_keys(pack, new_keys)
    assert evidence() == 0
    after = read_evidence(Path(PLACE))
    assert list(after.runs.optimizer) == list(before.runs.optimizer)
    kept = after.runs.key.isin(before.runs.key)
    assert list(after.runs.optimizer[~kept]) == ["Adam"]
    assert read_record(Path(PLACE) / ABOUT)["missing"] == {}


def rename_keys(pack, new_keys):
    """The files of a pack with its runs under other keys."""
    for file in pack.glob("*.parquet"):
        table = pd.read_parquet(file)
        table.assign(key=table.key.replace(new_keys)).to_parquet(file)
    tensors = read_tensors(pack / "class_statistics.safetensors")
    renamed = {f"{new_keys[key_of(name)]}/{name.split('/', 1)[1]}": x for name, x in tensors.items()}
    save_tensors(renamed, pack / "class_statistics.safetensors")


def test_six_runs_of_full_width_are_far_below_a_mebibyte(tmp_path):
    rng = np.random.default_rng(0)
    features = {"features_ND": rng.normal(size=(60, 512)), "labels_N": np.arange(60) % 10}
    last_layer = {"weight_KD": rng.normal(size=(10, 512)), "bias_K": rng.normal(size=10)}
    found = class_statistics(**features, **last_layer, test_features=None, test_labels=None)
    keys = [f"{number:012x}" for number in range(6)]
    numbers = [name for name in HISTORY_COLUMNS if name not in ("key", "epoch", "measured")]
    history = pd.DataFrame(rng.normal(size=(6 * 201, len(numbers))), columns=numbers, dtype=object)
    for name in ("singular_values_W", "singular_values_M"):
        history[name] = [list(rng.normal(size=10)) for _ in history.index]
    history = history.assign(key=np.repeat(keys, 201), epoch=list(range(201)) * 6, measured=True)
    runs = pd.DataFrame({name: rng.normal(size=6) for name in RUN_COLUMNS}).assign(key=keys)
    made = {key: {"settings": "SignumW at learning rate 0.001"} for key in keys}
    arrays = to_arrays(found)
    statistics = {f"{key}/{name}": torch.tensor(array) for key in keys for name, array in arrays.items()}
    write_evidence(
        Evidence(runs, history, statistics, made), tmp_path, study="core", experiment="table_2", missing={}
    )
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) == {ABOUT, *TABLES} and max(sizes.values()) < 0.7 * 2**20, sizes


def test_the_study_evidence_is_of_the_runs_of_core_and_of_the_grid(parameters):
    ours = run_table(parameters, "evidence")
    core, paper = (run_table(parameters, study) for study in ("core", "paper"))
    assert parameters["studies"]["evidence"]["evidence"] == "evidence"
    assert set(ours.experiment) == {*core.experiment, "grid"}
    for experiment, its in ours.groupby("experiment"):
        if experiment == "grid":
            assert len(its) == 648 and set(its.key) < set(paper.key[paper.experiment == "grid"])
        else:
            assert list(its.key) == list(core.key[core.experiment == experiment])


def test_a_study_of_evidence_is_not_for_dvc(tmp_path, monkeypatch, capsys):
    write_parameters(tmp_path, take)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tools, "planned_jobs", lambda study: {})
    assert verbs.record("taken") == 0
    assert "made of evidence/tiny, which git has: nothing for DVC to keep" in capsys.readouterr().out
    assert not (tmp_path / "workflow").exists()
