"""`dvc exp run`: what it changes in the project's files, and where it cannot be used."""

import shutil
import subprocess
from functools import reduce
from operator import getitem
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from dvc.utils.hydra import apply_overrides


@pytest.mark.parametrize(
    ("file", "override"),
    [
        ("params.yaml", "studies.demo.defaults.seed=7"),
        ("params.yaml", "without=[grid]"),
        ("targets.yaml", "figures.figure_7.settings.scale=log"),
    ],
)
def test_dvc_sets_one_parameter_and_leaves_the_others(tmp_path, file, override):
    """`dvc exp run -S`: where a comment stands between a key and its list, DVC writes what it cannot read."""
    place = Path(shutil.copy(ROOT / file, tmp_path))
    expected = yaml.safe_load(place.read_text(encoding="utf-8"))
    names, _, value = override.partition("=")
    *inside, last = names.split(".")
    reduce(getitem, inside, expected)[last] = yaml.safe_load(value)
    apply_overrides(place, [override])
    assert yaml.safe_load(place.read_text(encoding="utf-8")) == expected


def test_a_stage_in_a_copy_without_the_environment_says_so(tmp_path):
    done = subprocess.run(
        ["sh", ROOT / "workflow/stage.sh", "snakemake", "runs"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1 and "are not supported: use `dvc exp run -S name=value`" in done.stderr
    tool = tmp_path / ".venv/bin/snakemake"
    tool.parent.mkdir(parents=True)
    tool.write_text('#!/bin/sh\necho "$@"\n')
    tool.chmod(0o755)
    words = ["sh", ROOT / "workflow/stage.sh", "snakemake", "runs", "--config", "study=a b"]
    assert subprocess.check_output(words, cwd=tmp_path, text=True) == "runs --config study=a b\n"
