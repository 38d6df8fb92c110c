"""Training still means what it meant: twenty float64 steps against stored numbers.

Training costs GPU-days, so Snakemake does not repeat it whenever its code is touched: a number does,
collapse.study.runs.PROTOCOL. This test notices when training has come to mean something else. Then raise
PROTOCOL, say so in CHANGELOG.md, and store the new numbers: python tests/golden_trajectories.py
"""

import pytest
from golden_trajectories import CASES, require_golden


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("datasets")


@pytest.mark.parametrize(("architecture", "optimizer"), CASES)
def test_training_means_what_it_meant(architecture, optimizer, folder):
    require_golden(architecture, optimizer, folder)
