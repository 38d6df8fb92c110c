"""Jobs beside each other on one node take different GPUs; torch is told that there are two."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from collapse.training import gpu_choice
from collapse.training.gpu_choice import lock_file, use_free_gpu
from collapse.training.images import choose_device

HOLD = """
import fcntl, sys
with open(sys.argv[1], "a") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def two_gpus(monkeypatch, tmp_path):
    """Two GPUs, none of them taken; the numbers that were made the current one."""
    current = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda n: SimpleNamespace(uuid=f"GPU-{n}"))
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(gpu_choice, "HELD", {})
    monkeypatch.setattr(gpu_choice.tempfile, "gettempdir", lambda: str(tmp_path))
    return current


@pytest.fixture
def other_job():
    """other_job(file) takes a lock in a process of its own, which ends with the test."""
    started = []

    def hold(file):
        job = subprocess.Popen(
            [sys.executable, "-c", HOLD, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(job)
        assert job.stdout.readline() == "held\n"
        return job

    yield hold
    for job in started:
        job.kill()
        job.communicate()


def test_the_first_free_gpu_is_taken_and_kept(two_gpus):
    assert choose_device("auto") == torch.device("cuda", 0)
    assert choose_device("cuda") == torch.device("cuda", 0), "the same job, the same GPU"
    assert choose_device("cpu") == torch.device("cpu")
    assert two_gpus == [0, 0]


def test_another_jobs_gpu_is_left_to_it_until_it_dies(two_gpus, other_job):
    job = other_job(lock_file(0))
    assert use_free_gpu() == 1
    gpu_choice.HELD.clear()
    job.kill()
    job.wait()
    assert use_free_gpu() == 0


def test_where_all_are_taken_one_is_shared_and_that_is_said(two_gpus, other_job, caplog):
    for number in (0, 1):
        other_job(lock_file(number))
    assert use_free_gpu() in (0, 1)
    assert "all 2 GPUs here are taken" in caplog.text and "--resources gpu=2" in caplog.text


def test_a_single_gpu_needs_no_lock(two_gpus, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert use_free_gpu() == 0 and not list(tmp_path.iterdir())
