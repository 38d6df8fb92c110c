"""A tiny study on a real Slurm: whatever happens to its jobs, it ends in what an undisturbed run gives."""

import os
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import ROOT
from small_slurm import PACKAGES, client, crash, jobs, missing_programs, small_slurm
from tiny_study import SNAKEMAKE, write_parameters

MISSING = missing_programs() + ["the extra `cluster`"] * (
    find_spec("snakemake_executor_plugin_slurm") is None
)
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(bool(MISSING), reason=f"no Slurm: {MISSING} missing; apt-get install {PACKAGES}"),
]
# What happens to the first attempt at training each optimizer's pack; `hang` waits for what the test does.
FAULTS = {"SGD": "exit", "SGDW": "hang", "Adam": "hang", "AdamW": "memory", "Signum": "hang"}
EXPERIMENT = {
    "axes": {"weight_decay": [0, 0.01]},
    "rows": [
        {"optimizer": ["SGD", "SGDW"], "learning_rate": 0.05},
        {"optimizer": ["Adam", "AdamW", "Signum"], "learning_rate": 0.003},
    ],
}
SAME_BYTES = (
    "weights.safetensors",
    "trajectory.safetensors",
    "class_statistics.safetensors",
    "metrics.parquet",
)
MINUTES, MEMORY_MB = 10, 1500  # a job's limits at its first attempt
TARGETS = ["results/tiny/tables/table_2.md", "results/tiny/history.parquet"]


def test_five_faults_end_in_the_results_of_an_undisturbed_run(tmp_path):
    """Exit status, scancel, time limit, memory limit and a node's crash, in one study and at once."""
    local, disturbed = prepare(tmp_path / "local"), prepare(tmp_path / "cluster")
    nodes = [f"n{number}" for number in range(1, 6)]
    with (
        start(local, ROOT / "profiles/default", environment=os.environ) as undisturbed,
        small_slurm(nodes, gpu_type="pretend", cpus=2, memory_mb=8000) as slurm,
    ):
        study = start(disturbed, changed_profile(tmp_path), environment=with_faults(slurm, tmp_path))
        left = disturb(slurm, study, struck=tmp_path / "struck")
        done = jobs(slurm)
        print(client(slurm, "squeue", "--states=all", "--format=%i %T %M %l %m %N %k", "--sort=i"))
    assert study.returncode == 0, (disturbed / "words").read_text()
    assert undisturbed.returncode == 0, (local / "words").read_text()
    assert not left, "never done to its job"
    check_faults(done, logs=disturbed / "results/slurm_logs/rule_train")
    check_jobs(done)
    assert_same_results(local / "results/tiny", disturbed / "results/tiny")


def prepare(folder):
    """The tiny study with five packs of two runs."""

    def five_packs(parameters):
        experiments = {"grid": EXPERIMENT, "table_2": EXPERIMENT}
        parameters["studies"]["tiny"]["experiments"] = yaml.safe_load(yaml.safe_dump(experiments))

    folder.mkdir()
    write_parameters(folder, five_packs)
    return folder


def changed_profile(folder):
    """The project's profile with its three lines changed as a user would, smaller jobs, shorter waits."""
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text(encoding="utf-8"))
    profile["default-resources"] = {"slurm_partition": "gpu", "gpu_model": "pretend"}
    profile["set-resources"]["train"] |= {
        "mem_mb": f"{MEMORY_MB} * attempt",
        "runtime": f"{MINUTES} * attempt",
    }
    profile["set-resources"]["extract_statistics"] |= {"mem_mb": MEMORY_MB}
    profile |= {"slurm-init-seconds-before-status-checks": 1, "latency-wait": 10}
    (folder / "profile").mkdir()
    (folder / "profile/config.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
    return folder / "profile"


def with_faults(slurm, folder):
    """The environment of the disturbed study's jobs: sitecustomize.py here strikes each pack once."""
    (folder / "struck").mkdir()
    (folder / "faults").mkdir()
    for optimizer, fault in FAULTS.items():
        (folder / "faults" / optimizer).write_text(fault)
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return slurm.environment | {"FAULTS": str(folder / "faults"), "PYTHONPATH": os.pathsep.join(paths)}


def start(folder, profile, *, environment):
    """Snakemake on the study in the folder."""
    with (folder / "words").open("w") as words:
        return subprocess.Popen(
            [SNAKEMAKE, "--snakefile", ROOT / "Snakefile", "--workflow-profile", profile,
             "--directory", folder, *TARGETS],
            cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=words, stderr=words,
        )  # fmt: skip


def disturb(slurm, study, *, struck):
    """Wait for the study's end; cancel, time out, or crash the node of what hangs. Returns what never did."""
    acts = {
        "SGDW": lambda job: client(slurm, "scancel", job["JobId"]),
        "Adam": lambda job: client(slurm, "scontrol", "update", f"JobId={job['JobId']}", "TimeLimit=1"),
        "Signum": lambda job: crash(slurm, job["NodeList"]),
    }
    end = time.monotonic() + 480
    try:
        while study.poll() is None and time.monotonic() < end:
            for optimizer in [name for name in acts if (struck / name).exists()]:
                acts.pop(optimizer)(attempts(jobs(slurm), "train", optimizer)[0])
            time.sleep(0.5)
    finally:
        if study.poll() is None:
            study.kill()
            study.wait()
    return list(acts)


def attempts(done, rule, optimizer):
    """The Slurm jobs of a rule and a pack, oldest first."""
    return [
        job
        for job in done
        if job["Comment"].startswith(f"rule_{rule}_") and f"-{optimizer}-" in job["Comment"]
    ]


def check_faults(done, *, logs):
    """Each was seen for what it was, and got over; what was killed for its limits got more of both."""
    packs = {optimizer: attempts(done, "train", optimizer) for optimizer in FAULTS}
    first = {optimizer: pack[0] for optimizer, pack in packs.items()}
    kept = {name: next(logs.glob(f"*/{job['JobId']}.log")).read_text() for name, job in first.items()}
    assert {name: job["JobState"] for name, job in first.items() if name != "AdamW"} == {
        "SGD": "FAILED", "SGDW": "CANCELLED", "Adam": "TIMEOUT", "Signum": "COMPLETED",
    }  # fmt: skip
    assert first["AdamW"]["JobState"] in ("FAILED", "OUT_OF_MEMORY")
    assert "exceeded memory limit" in kept["AdamW"] and "exceeded memory limit" not in kept["SGD"]
    assert "DUE TO TIME LIMIT" in kept["Adam"] and "CANCELLED AT" in kept["SGDW"]
    restarts = {optimizer: int(job["Restarts"]) for optimizer, job in first.items()}
    assert restarts == {"SGD": 0, "SGDW": 0, "Adam": 0, "AdamW": 0, "Signum": 1}, "Slurm's own requeue"
    for optimizer in ("SGD", "SGDW", "Adam", "AdamW"):
        _, second = packs[optimizer]  # and no third
        assert second["JobState"] == "COMPLETED"
        assert (
            second["TimeLimit"] == f"00:{2 * MINUTES}:00" and second["MinMemoryNode"] == f"{2 * MEMORY_MB}M"
        )


def check_jobs(done):
    """All trainings and extractions went through Slurm, with a GPU each; nothing else did."""
    assert len(done) == 5 + 4 + 5, "packs, their second attempts but for the requeued one, extractions"
    for job in done:
        assert job["Comment"].startswith(("rule_train_", "rule_extract_statistics_"))
        assert job["TresPerJob"] == "gres:gpu:pretend:1" and job["Partition"] == "gpu"


def assert_same_results(local, disturbed):
    """Byte for byte; in the table of runs all but how long they took."""
    packs = sorted(folder.name for folder in (local / "packs").iterdir())
    assert len(packs) == 5 and packs == sorted(folder.name for folder in (disturbed / "packs").iterdir())
    names = [f"packs/{pack}/{name}" for pack in packs for name in SAME_BYTES]
    for name in [*names, "history.parquet", "tables/table_2.md", "tables/table_2.csv"]:
        assert (local / name).read_bytes() == (disturbed / name).read_bytes(), name
    runs, again = (
        pd.read_parquet(folder / "runs.parquet").drop(columns="seconds") for folder in (local, disturbed)
    )
    pd.testing.assert_frame_equal(runs, again, check_exact=True)
