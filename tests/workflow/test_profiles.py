"""The profiles for other machines have all that the default one has, but for what the machine decides."""

import os
import re
import subprocess

import pytest
import yaml
from conftest import ROOT
from tiny_study import SNAKEMAKE, write_parameters

PROFILES = {
    path.parent.name: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in ROOT.glob("profiles/*/config.yaml")
}


@pytest.mark.parametrize("name", sorted(PROFILES.keys() - {"default"}))
def test_what_is_no_matter_of_the_machine_is_the_same(name):
    """A profile replaces the default one; without its rerun-triggers trainings would run again."""
    assert len(PROFILES) == 3
    shared = {key: value for key, value in PROFILES["default"].items() if key not in ("cores", "resources")}
    assert {"rerun-triggers", "max-checksum-file-size", "rerun-incomplete", "keep-going"} <= shared.keys()
    assert {key: PROFILES[name].get(key) for key in shared} == shared


def test_the_three_lines_to_change_come_first():
    slurm = PROFILES["slurm"]
    assert next(iter(slurm)) == "default-resources"
    assert list(slurm["default-resources"]) == ["slurm_partition", "slurm_account", "gpu_model"]


@pytest.mark.workflow
def test_a_partition_on_the_command_line_drops_nothing(tmp_path):
    """As the profile's comment says; --default-resources would drop account and GPU type, without a word."""
    text = (ROOT / "profiles/slurm/config.yaml").read_text(encoding="utf-8")
    words = re.search(r"--set-resources (.*)\n# +(extract.*)\n", text)
    write_parameters(tmp_path)
    planned = subprocess.run(
        [SNAKEMAKE, "--snakefile", ROOT / "Snakefile", "--directory", tmp_path, "--workflow-profile",
         ROOT / "profiles/slurm", "--dry-run", "--quiet", "progress", "--set-resources",
         *words[1].split(), *words[2].split(), "--", "results/tiny/runs.parquet"],
        capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert planned.returncode == 0, planned.stderr
    rules = "|".join(("train", "extract_statistics"))
    its = re.findall(rf"^rule (?:{rules}):\n(?:    .*\n)*?    resources: (.*)$", planned.stdout, re.MULTILINE)
    assert len(its) == 8
    for resources in its:
        assert {"slurm_partition=short", "slurm_account=my_project", "gpu_model=a100", "gpu=1"} <= set(
            resources.split(", ")
        )
