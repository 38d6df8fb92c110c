"""The profiles for other machines have all that the default one has, but for what the machine decides."""

import pytest
import yaml
from conftest import ROOT

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
