"""kill -9 at twenty random moments of one study: it ends as the undisturbed one, byte for byte.

Minutes, so apart from the others: pytest -m slow
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
from tiny_study import ROOT, SNAKEMAKE, snakemake, write_parameters

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workflow")]
TARGET = "results/tiny/runs.parquet"
KILLS = 20
STATES = "results/tiny/unfinished/*/*/state.safetensors"
FINISHED = "results/tiny/unfinished/*/*/outcomes.parquet"


def long_runs(parameters):
    """Runs that take seconds, their state saved after every epoch."""
    parameters["save_every_minutes"] = 0
    tiny = parameters["studies"]["tiny"]
    tiny["defaults"] |= {"epochs": 40, "measure_every": 10}
    del tiny["experiments"]["momentum_heatmap"], tiny["experiments"]["table_2"]


def start(folder):
    """Snakemake and its jobs, in a process group of their own."""
    command = [SNAKEMAKE, "--snakefile", ROOT / "Snakefile", "--profile", ROOT / "profiles/default"]
    log = open(folder / "log", "a")  # noqa: SIM115
    return subprocess.Popen(
        [*command, "--directory", folder, TARGET], stdout=log, stderr=log, start_new_session=True, cwd=folder
    )


def jobs_of(folder):
    """The processes of jobs: those that work in `folder` and run a script there as Snakemake wrote it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if os.readlink(process / "cwd") == str(folder) and b"/.snakemake/scripts/" in b"".join(
                words[1:2]
            ):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def trainers_of(folder):
    """Those of them that train at this moment: they hold the lock of a pack."""
    locks = folder.glob("results/tiny/unfinished/*/.lock")
    held = {int(words[1]) for lock in locks if len(words := lock.read_text().split()) > 1}
    return sorted(held.intersection(jobs_of(folder)))


def is_of(job, running):
    """Whether Snakemake began the job, not one before it, which the job has outlived."""
    while job > 1 and job != running.pid:
        try:
            job = int(Path(f"/proc/{job}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
    return job == running.pid


def kill(what, running, folder):
    """SIGKILL to a job, to Snakemake alone (its jobs go on), or to all at once. Returns what was killed."""
    if what == "everything":
        os.killpg(running.pid, signal.SIGKILL)
    elif what == "snakemake":
        running.kill()
    elif jobs := jobs_of(folder):
        what = "a job" if is_of(jobs[0], running) else "a job of an earlier Snakemake"
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(jobs[0], signal.SIGKILL)
    else:
        return None
    return what


def assert_ends_equal(one, other):
    """Every result file byte for byte; of the outcomes all but the seconds that training took."""
    for file in [*sorted(one.glob("results/tiny/packs/*/*")), one / "results/tiny/history.parquet"]:
        twin = other / file.relative_to(one)
        if file.name != "outcomes.parquet":
            assert file.read_bytes() == twin.read_bytes(), file
    for name in [
        TARGET,
        *(str(f.relative_to(one)) for f in one.glob("results/tiny/packs/*/outcomes.parquet")),
    ]:
        tables = [pd.read_parquet(folder / name).drop(columns="seconds") for folder in (one, other)]
        pd.testing.assert_frame_equal(*tables)


def test_twenty_kills(tmp_path):
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    for folder in (undisturbed, killed):
        folder.mkdir()
        write_parameters(folder, long_runs)
    assert snakemake(undisturbed, TARGET).returncode == 0
    dice, kills, attempts = random.Random(3141), 0, 0
    while kills < KILLS:
        attempts += 1
        assert attempts < 5 * KILLS, "the study ends before anything is killed"
        if (killed / TARGET).exists():  # ended too soon: once more, from its first step
            assert_ends_equal(undisturbed, killed)
            shutil.rmtree(killed / "results")
        running = start(killed)
        # Three of four moments lie in training, one anywhere, in Snakemake's own first seconds for instance.
        in_training = dice.random() < 0.75
        while in_training and running.poll() is None and not trainers_of(killed):
            time.sleep(0.05)
        pause, what = dice.uniform(0, 8), dice.choice(["a job", "snakemake", "everything"])
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(pause)
        trainers, seen = len(trainers_of(killed)), len(list(killed.glob(STATES)))
        if running.poll() is None and (struck := kill(what, running, killed)):
            kills += 1
            said = f"{trainers} training, {seen} states, {len(list(killed.glob(FINISHED)))} runs finished"
            print(f"kill {kills}: {struck}; {said}", flush=True)
        status = running.wait()
        # With 0 nothing lacks: what was killed was an earlier Snakemake's, or had ended when it was struck.
        assert status != 0 or (killed / TARGET).exists()
        print(f"    Snakemake ended with {status}", flush=True)
        if status == -signal.SIGKILL:
            assert snakemake(killed, "--unlock").returncode == 0
    while jobs_of(killed):
        time.sleep(0.5)
    result = snakemake(killed, TARGET)
    assert result.returncode == 0, result.stderr
    assert_ends_equal(undisturbed, killed)
    assert not list(killed.glob("results/tiny/unfinished/*"))
