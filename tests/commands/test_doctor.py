"""`collapse doctor`: what is wrong is said with its remedy, and what is only less is not wrong."""

import gzip
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

from collapse.commands import doctor
from collapse.commands.main import main
from collapse.datasets import DATASETS
from collapse.files import environment


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def report(monkeypatch, capsys, tmp_path):
    """State and words by what is looked at, and the exit status, of a machine with a GPU, Slurm and room."""

    def run(study="demo", *, data=tmp_path):
        monkeypatch.setenv("COLLAPSE_DATA", str(data))
        status = main(["doctor", study])
        lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
        return {what: (state, words) for state, what, words in lines}, status

    return run


def test_a_machine_that_has_all(report, monkeypatch):
    answers = {"nvidia-smi": "H100, 80 GB", "git": str(ROOT), "sbatch": "slurm 23.11"}
    monkeypatch.setattr(doctor, "said", lambda program, *_: answers[program])
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(doctor, "installed", lambda name: "2.13.0")
    monkeypatch.setattr(environment, "recorded", environment.wanted)
    monkeypatch.setattr(environment, "version_of", lambda python: "3.11")
    found, status = report()
    assert status == 0 and {state for state, _ in found.values()} == {doctor.OK}
    assert list(found) == [
        "Python", "path", "environment", "git", "disk", "GPU", "Slurm", "study", "Digits", "Separable",
    ]  # fmt: skip


def test_what_is_lacking_and_not_wrong(report, monkeypatch):
    monkeypatch.setattr(doctor, "said", lambda *_: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    found, status = report()
    assert status == 0
    for what, words in (("git", "no version of them is recorded"), ("GPU", "none"), ("Slurm", "none")):
        assert found[what][0] == doctor.NOTE and words in found[what][1]
    monkeypatch.setattr(shutil, "which", lambda name: name)
    assert "no clone" in report()[0]["git"][1]


def test_a_gpu_that_pytorch_cannot_use(monkeypatch):
    monkeypatch.setattr(doctor, "said", lambda *_: "H100, 80 GB")
    monkeypatch.setattr(doctor, "installed", lambda name: "2.13.0+cpu")
    assert doctor.of_gpu() == (
        doctor.NOTE,
        "GPU",
        "H100, 80 GB; but PyTorch 2.13.0+cpu is built for a CPU alone",
    )


def test_a_stale_environment(monkeypatch, tmp_path):
    (tmp_path / ".venv").mkdir()
    monkeypatch.setattr(doctor, "PROJECT", tmp_path)
    monkeypatch.setattr(environment, "wanted", lambda project: {"project": project, "python": "3.11"})
    monkeypatch.setattr(environment, "recorded", lambda project: {"project": "/elsewhere"})
    state, _, words = doctor.of_environment()
    assert state == doctor.WRONG and words == ".venv was built elsewhere (in /elsewhere): make setup mends it"


def test_python_path_and_disk(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "PROJECT", tmp_path / "my project")
    monkeypatch.setattr(doctor.sys, "version_info", (3, 14, 0))
    monkeypatch.setattr(environment, "wanted", lambda project: {"project": project, "python": "3.14"})
    usage = shutil._ntuple_diskusage(10, 9, 10**8)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    found = {one.what: one for one in doctor.of_machine(tmp_path)}
    assert {what for what, one in found.items() if one.state == doctor.WRONG} >= {"Python", "path", "disk"}
    assert "this is 3.14" in found["Python"].words and "move the project" in found["path"].words
    assert found["disk"].words.startswith("0.1 GB free in ") and "make room" in found["disk"].words


def test_the_data_of_a_study(report, tmp_path):
    folder = tmp_path / DATASETS["MNIST"].folder
    folder.mkdir(parents=True)
    *rest, last = [file.name for file in DATASETS["MNIST"].files]
    for name in rest:
        (folder / name).touch()
    found, status = report("paper", data=tmp_path)
    assert status == 1 and found["ImageNet"][0] == doctor.WRONG
    assert "image-net.org" in found["ImageNet"][1] and "without: [imagenet]" in found["ImageNet"][1]
    assert found["MNIST"] == (doctor.NOTE, f"{last} to be downloaded: not under {tmp_path}")
    assert found["CIFAR10"] == (doctor.NOTE, f"its files to be downloaded: not under {tmp_path}")
    assert found["Indices"] == (doctor.OK, "made when it is needed")
    (folder / f"{last}.gz").write_bytes(gzip.compress(b""))
    (tmp_path / "cifar-10-python.tar.gz").touch()
    (tmp_path / "imagenet").mkdir()
    found, _ = report("paper", data=tmp_path)
    assert {found[name][0] for name in ("MNIST", "CIFAR10", "ImageNet")} == {doctor.OK}


def test_a_folder_of_data_that_is_not_there(report, tmp_path):
    found, status = report(data=tmp_path / "absent")
    assert status == 1 and found["data"][0] == doctor.WRONG
    assert "COLLAPSE_DATA names" in found["data"][1] and "which is no folder" in found["data"][1]


def test_a_study_of_evidence_needs_no_data(report):
    found, _ = report("evidence")
    assert list(found)[-1] == "study"


def test_an_unknown_study(capsys):
    assert main(["doctor", "dmeo"]) == 2
    assert "unknown study 'dmeo'; did you mean 'demo'?" in capsys.readouterr().err


def test_before_anything_is_installed(tmp_path):
    """`make doctor` with a Python that has no package at all."""
    command = [f"{sys.base_prefix}/bin/python3", "-S", "-m", "collapse", "doctor", "demo"]
    bare = {"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=bare)
    assert done.returncode == 0, done.stderr
    assert "once make setup has installed" in done.stdout
