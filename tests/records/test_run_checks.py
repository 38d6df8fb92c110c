"""A run of Snakemake that ends with 0 has made every target, whatever was killed or deleted on the way."""

import os
import signal
import subprocess
import time
from types import SimpleNamespace

import pytest
from conftest import ROOT
from tiny_study import SNAKEMAKE

from collapse.records.run_checks import RunError, require_slurm, require_targets

# Two jobs in a row, of which the second waits for the file `go`; and the workflow's own last check.
SNAKEFILE = """
from snakemake.exceptions import WorkflowError
from collapse.records.run_checks import RunError, require_targets

rule first:
    output: "first"
    shell: "touch {output}"

rule second:
    input: "first"
    output: "second"
    shell: "echo $$ > pid; until [ -e go ]; do sleep 0.05; done; touch {output}"

"""


@pytest.fixture
def start(tmp_path):
    """Starts Snakemake on the two jobs and waits until the second is at work."""
    rules = (ROOT / "workflow/rules/common.smk").read_text(encoding="utf-8")
    text = SNAKEFILE + rules[rules.index("onsuccess:") :]
    (tmp_path / "Snakefile").write_text(text, encoding="utf-8")
    log = (tmp_path / "log").open("a")

    def begin():
        (tmp_path / "pid").unlink(missing_ok=True)
        running = subprocess.Popen(
            [SNAKEMAKE, "--cores", "2", "--keep-going", "--rerun-incomplete", "--nolock", "first", "second"],
            cwd=tmp_path, stdout=log, stderr=log, start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        )  # fmt: skip
        pid = tmp_path / "pid"
        while not (pid.exists() and pid.read_text() and (tmp_path / "first").exists()):
            assert running.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.05)
        return running, int(pid.read_text())

    yield begin
    log.close()


def test_a_target_that_is_gone_at_the_end_is_named(start, tmp_path):
    running, _ = start()
    (tmp_path / "first").unlink()
    (tmp_path / "go").touch()
    assert running.wait() == 1
    said = (tmp_path / "log").read_text()
    assert "Snakemake has ended without first; run the same command again" in said
    assert "Traceback" not in said


def test_a_killed_job_of_another_snakemake_is_no_loss(start, tmp_path):
    """Of two such kills in twenty Snakemake ended with 0: the job had outlived the Snakemake before it.

    Only a job of its own that is killed is its failure; with 0 it has all targets.
    """
    running, orphan = start()
    running.kill()
    assert running.wait() == -signal.SIGKILL
    running, own = start()
    assert orphan != own
    os.kill(orphan, signal.SIGKILL)
    (tmp_path / "go").touch()
    assert running.wait() == 0, (tmp_path / "log").read_text()
    assert (tmp_path / "first").exists() and (tmp_path / "second").exists()
    for file in ("go", "second"):
        (tmp_path / file).unlink()
    running, own = start()
    os.kill(own, signal.SIGKILL)
    assert running.wait() == 1 and not (tmp_path / "second").exists()


def job(*output, input=()):
    return SimpleNamespace(output=output, input=input)


def test_a_job_that_did_not_end_is_named_whatever_files_there_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        (tmp_path / name).touch()
    every = job(input=("a", "b"))
    require_targets(SimpleNamespace(needrun_jobs=lambda: [], targetjobs=[every, job("c")]))
    with pytest.raises(RunError, match=r"without a; run"):
        require_targets(SimpleNamespace(needrun_jobs=lambda: [job("a"), every], targetjobs=[every]))
    with pytest.raises(RunError, match=r"without d, e, f and 2 more; run"):
        require_targets(SimpleNamespace(needrun_jobs=lambda: [], targetjobs=[job(*"defghc")]))


def test_without_slurm_it_is_said_once_and_first(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    require_slurm("local")
    with pytest.raises(RunError, match=r"there is no Slurm here .*PROFILE=profiles/gpu_node"):
        require_slurm("slurm")
    (tmp_path / "sbatch").write_text("#!/bin/sh\n")
    (tmp_path / "sbatch").chmod(0o755)
    require_slurm("slurm")
