"""Shared fixtures: one thread, a tiny prepared dataset, and a run that takes a second."""

import copy
from pathlib import Path

import interpreted  # noqa: F401 - before anything that imports triton
import pytest
import tiny_study
import torch
from filelock import FileLock

from collapse.datasets.loading import load_arrays
from collapse.datasets.prepared import save_prepared
from collapse.study.parameters import load_parameters
from collapse.study.settings import UNSAID

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def one_thread():
    """Results repeat bit for bit at a fixed number of threads."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """The generated dataset `Fake`, as rule prepare_dataset leaves it."""
    path = tmp_path_factory.mktemp("datasets") / "Fake.safetensors"
    save_prepared(load_arrays("Fake", root="absent", cache=path.parent), path, "Fake")
    return path


@pytest.fixture(scope="session")
def parameters_of_project():
    """The project's own params.yaml and targets.yaml, read once."""
    return load_parameters(ROOT / "params.yaml")


@pytest.fixture
def parameters(parameters_of_project):
    """A copy of them that a test may change."""
    return copy.deepcopy(parameters_of_project)


@pytest.fixture
def tiny_run():
    """A row of the run table: five epochs of a ResNet9 with four channels."""
    return {
        "key": "0123456789ab",
        "architecture": "ResNet9",
        "width": 0.0625,
        "dataset": "Fake",
        "image_size": 8,
        "train_size": 300,
        "augmentation": "none",
        "optimizer": "SGD",
        "learning_rate": 0.05,
        "momentum": 0.9,
        "weight_decay": 0.05,
        "coupled_fraction": None,
        **UNSAID,
        "beta2": 0.999,
        "epsilon": 1e-8,
        "schedule": "thirds",
        "epochs": 5,
        "batch_size": 64,
        "measure_every": 2,
        "precision": "float32",
        "seed": 3141,
    }


@pytest.fixture(scope="session")
def finished(tmp_path_factory, worker_id):
    """The tiny study, once from the beginning to its last figure, for all workers of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent / "shared") / "tiny"  # as deep as a tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    done = folder.with_name("tiny.done")
    with FileLock(f"{folder}.lock"):
        if not done.exists():
            tiny_study.write_parameters(folder)
            result = tiny_study.snakemake(folder)
            assert result.returncode == 0, result.stdout + result.stderr
            done.touch()
    return folder
