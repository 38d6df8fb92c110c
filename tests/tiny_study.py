"""A tiny study that the workflow runs from params.yaml to its last figure, in a few minutes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from collapse.study.parameters import TARGETS_KEYS

ROOT = Path(__file__).resolve().parents[1]
# What a checkout needs for a study.
CHECKOUT = ("Snakefile", "workflow", "src", "profiles", "reference", "envs", "params.yaml", "targets.yaml")
SNAKEMAKE = Path(sys.executable).with_name("snakemake")

TINY = {
    "title": "tiny: for tests",
    "stand_ins": {"FashionMNIST": "Fake"},
    "pack_by": ["architecture", "dataset", "optimizer"],
    "defaults": {
        "architecture": "ResNet9", "dataset": "Fake", "width": 0.0625, "image_size": 8,
        "augmentation": "none", "schedule": "thirds", "epochs": 6, "batch_size": 16, "beta2": 0.999,
        "epsilon": 1e-8, "seed": 3141, "measure_every": 3, "momentum": 0.9,
        "precision": "float32",
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
        "depth": {
            "rows": [{"optimizer": ["Adam", "AdamW"], "learning_rate": 0.003, "weight_decay": 0.01}]
        },
    },
}  # fmt: skip


def snakemake(folder, *arguments, project=ROOT):
    """Snakemake on the study in `folder`, with the workflow and the library of `project`."""
    return subprocess.run(
        [SNAKEMAKE, "--snakefile", project / "Snakefile", "--profile", project / "profiles/default",
         "--directory", folder, *arguments],
        capture_output=True, text=True, timeout=600, cwd=folder,
        env=os.environ | {"PYTHONPATH": str(project / "src")},
    )  # fmt: skip


def planned_jobs(folder, *arguments, project=ROOT):
    """How many jobs of each rule a dry run lists."""
    result = snakemake(folder, "--dry-run", *arguments, project=project)
    assert result.returncode == 0, result.stdout + result.stderr
    counts = dict(re.findall(r"^(\w+) +(\d+)$", result.stdout + result.stderr, re.MULTILINE))
    return {rule: int(count) for rule, count in counts.items() if rule not in ("all", "total")}


def write_parameters(folder, change=lambda parameters: None):
    """The project's params.yaml and targets.yaml with the tiny study, and a laxer bar for validity."""
    parameters = read_parameters(ROOT)
    parameters["studies"]["tiny"] = yaml.safe_load(yaml.safe_dump(TINY))
    parameters |= {"study": "tiny", "valid_accuracy": 0.5}
    change(parameters)
    save_parameters(parameters, folder)


def read_parameters(folder):
    """params.yaml and targets.yaml as one mapping, unchecked."""
    files = [folder / "params.yaml", folder / "targets.yaml"]
    first, second = (yaml.safe_load(file.read_text(encoding="utf-8")) for file in files)
    return first | second


def save_parameters(parameters, folder):
    """The two files; a mapping is written where it belongs."""
    targets = {key: parameters[key] for key in parameters if key in TARGETS_KEYS}
    settings = {key: parameters[key] for key in parameters if key not in TARGETS_KEYS}
    for name, content in (("params.yaml", settings), ("targets.yaml", targets)):
        (folder / name).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
