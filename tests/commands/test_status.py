"""How far a study is, from files as jobs leave them in the middle of things."""

import os
import socket
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_study import write_parameters

from collapse.commands.main import main
from collapse.commands.status import run_counts, seconds_left, status_lines, study_status
from collapse.study.parameters import load_parameters
from collapse.study.runs import run_table, runs_by_pack, valid_accuracies
from collapse.training.pack_files import Pack, PackPaths, prefixed, write_pack


@pytest.fixture
def study(tmp_path):
    """The run table of the tiny study, its results' folder, and the packs' runs by optimizer."""
    write_parameters(tmp_path)
    parameters = load_parameters(tmp_path / "params.yaml")
    table = run_table(parameters, "tiny")
    packs = {runs[0]["optimizer"]: (pack, runs) for pack, runs in runs_by_pack(table).items()}
    return table, tmp_path / "results/tiny", packs, valid_accuracies(parameters, "tiny")


def ended(run, *, status="done", accuracy=1.0, seconds=10.0):
    """A run that has ended, as a pack of one."""
    key = run["key"]
    history = pd.DataFrame(
        {"key": key, "epoch": [0, run["epochs"]], "measured": True, "train_accuracy": [0.1, accuracy]}
    )
    outcome = {"key": key, "status": status, "reason": "" if status == "done" else "why", "seconds": seconds}
    return Pack(prefixed(key, {"w": torch.ones(1)}), {}, history, pd.DataFrame([outcome]))


def write_log(results, pack, text):
    log = results / f"logs/train/{pack}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(text, encoding="utf-8")


def hold(results, pack, process, host=None):
    lock = results / f"unfinished/{pack}/.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text(f"process {process} on {host or socket.gethostname()}, since 2026-01-01 00:00:00")


def joined_packs(*packs):
    return Pack(
        {name: t for pack in packs for name, t in pack.weights.items()}, {},
        pd.concat([pack.history for pack in packs]), pd.concat([pack.outcomes for pack in packs]),
    )  # fmt: skip


def test_done_running_stopped_and_waiting(study):
    table, results, packs, accuracies = study
    name, runs = packs["SGDW"]
    fates = [ended(runs[0]), ended(runs[1], accuracy=0.2), *(ended(run) for run in runs[2:])]
    write_pack(joined_packs(*fates), PackPaths.inside(results / "packs" / name))
    name, runs = packs["Adam"]
    write_pack(
        ended(runs[0], status="diverged"), PackPaths.inside(results / "unfinished" / name / runs[0]["key"])
    )
    write_log(results, name, "12:00:00  run 2/3  Adam  epoch 3/6  0:00:10 left\n\n")
    hold(results, name, os.getpid())
    name, _ = packs["SGD"]
    write_log(results, name, "12:00:00  DeviceError: no GPU here\n")
    found, trained = study_status(table, results=results)
    states = found.set_index("pack")
    assert states.loc[packs["SGDW"][0], "state"] == "done"
    assert states.loc[packs["Adam"][0], ["state", "trained", "runs"]].tolist() == ["running", 1, 3]
    assert states.loc[packs["SGD"][0], "state"] == "stopped"
    assert states.loc[packs["AdamW"][0], "state"] == "waiting"
    counts = run_counts(table, trained, accuracies).set_index("experiment")
    assert counts.loc["grid", ["planned", "valid", "undertrained", "diverged", "left"]].tolist() == [
        13,
        2,
        1,
        1,
        9,
    ]
    text = "\n".join(status_lines("tiny", found, counts, seconds=3600))
    assert "4 packs, 1 done, 1 running, 1 stopped, 1 waiting" in text
    assert "epoch 3/6  0:00:10 left" in text and "DeviceError: no GPU here" in text
    assert "left to train: 1:00:00, 1 at a time" in text


def test_a_job_whose_process_has_died_does_not_run(study):
    table, results, packs, _ = study
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    name, _ = packs["Adam"]
    write_log(results, name, "12:00:00  run 1/3\n")
    for process, host, age, state in (
        (gone.pid, None, 0, "stopped"),
        (os.getpid(), None, 3600, "running"),
        (gone.pid, "another-machine", 0, "running"),
        (gone.pid, "another-machine", 3600, "stopped"),
    ):
        hold(results, name, process, host)
        log = results / f"logs/train/{name}.log"
        os.utime(log, (log.stat().st_atime, log.stat().st_mtime))
        now = pd.Timestamp.now().timestamp()
        os.utime(log, (now - age, now - age))
        found, _ = study_status(table, results=results)
        assert found.set_index("pack").loc[name, "state"] == state, (host, age)


def test_the_time_left_follows_the_arithmetic_left(study):
    table, results, packs, _ = study
    found, trained = study_status(table, results=results)
    assert set(found.state) == {"waiting"} and np.isnan(seconds_left(table, trained))
    name, runs = packs["SGDW"]
    write_pack(joined_packs(*map(ended, runs)), PackPaths.inside(results / "packs" / name))
    _, trained = study_status(table, results=results)
    assert seconds_left(table, trained) == pytest.approx(10.0 * (table.key.nunique() - len(runs)))


def test_the_command(study, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["status", "tiny"]) == 0
    assert "4 packs, 4 waiting" in capsys.readouterr().out
    name, runs = study[2]["Adam"]
    write_pack(ended(runs[0]), PackPaths.inside(tmp_path / "results/tiny/packs" / name))
    (tmp_path / f"results/tiny/packs/{name}/outcomes.parquet").write_bytes(b"PAR1")
    assert main(["status", "tiny"]) == 2
    assert "outcomes.parquet" in capsys.readouterr().err
