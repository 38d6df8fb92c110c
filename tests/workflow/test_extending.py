"""The recipes of docs/extending.md, followed word for word in a copy of the project."""

import json
import os
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from conftest import ROOT
from recipes import edits, follow
from tiny_study import CHECKOUT, planned_jobs, snakemake, write_parameters

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]
PAGE = ROOT / "docs/extending.md"
# What must hold whatever is added to a registry, and what must hold of each.
OF_ALL = ["tests/study/test_parameters.py", "tests/records/test_code_json.py"]
OF_OPTIMIZERS = ["tests/optimizers", "tests/paper/test_target_checks.py"]
OF_DATASETS = ["tests/datasets/test_datasets.py"]
OF_ARCHITECTURES = ["tests/architectures/test_heads.py", "tests/paper/test_target_checks.py"]


@pytest.fixture
def project(tmp_path):
    """A copy of the project with its tests, as deep as the project lies."""
    copy = tmp_path / ROOT.relative_to(ROOT.anchor)
    copy.mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__")
    for name in (
        *CHECKOUT,
        "tests",
        "docs",
        "pyproject.toml",
        "dvc.yaml",
        "benchmarks",
        "README.md",
        "Makefile",
        "LICENSE",
    ):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, copy / name)
    return copy


def python(project, *arguments):
    """Python with the copy's own library, in the copy."""
    environment = os.environ | {"PYTHONPATH": str(project / "src")}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=project, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def apply(section, project):
    """Follow a recipe. A dry run then writes workflow/code.json, as every call of Snakemake does."""
    steps = edits(PAGE, section)
    for edit in steps:
        follow(edit, project)
    planned_jobs(project, project=project)
    return steps


def passes(project, *chosen):
    python(project, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "not workflow", *chosen)


def study_of(finished, tmp_path):
    """A copy of the finished tiny study, which lies to the project as the original does."""
    return shutil.copytree(finished, tmp_path / finished.relative_to(finished.anchor))


def add_rows(**rows):
    """Rows that are added to experiments of the tiny study."""

    def change(parameters):
        for experiment, row in rows.items():
            parameters["studies"]["tiny"]["experiments"][experiment]["rows"].append(row)

    return change


def test_an_optimizer(project, finished, tmp_path):
    """It is trained as it says, figures and tables show it, and what was finished without it stays."""
    study = study_of(finished, tmp_path)
    steps = apply("An optimizer", project)
    assert len(steps) == 7
    assert planned_jobs(study, project=project) == {}, "an entry beside those in use"
    python(project, "tests/golden_trajectories.py")
    stored, before = (
        json.loads((place / "tests/golden/trajectories.json").read_text())["trajectories"]
        for place in (project, ROOT)
    )
    assert {name: stored[name] for name in before} == before
    assert sorted(set(stored) - set(before)) == ["ResNet9 Yogi"]
    passes(project, *OF_ALL, *OF_OPTIMIZERS)
    passes(project, "tests/training/test_golden_trajectories.py", "-k", "Yogi")

    row = {"optimizer": "Yogi", "learning_rate": 0.001, "weight_decay": 0.01}
    write_parameters(study, add_rows(grid=row, table_2=row))
    planned = planned_jobs(study, project=project)
    assert planned["train"] == 1 and planned["measure"] == 1
    assert not {"theory", "table_1", "table_102"} & set(planned)
    result = snakemake(study, "table_2", "table_3", "figure_2", "figure_6", project=project)
    assert result.returncode == 0, result.stderr[-4000:]
    results = study / "results/tiny"
    run = pd.read_parquet(results / "runs.parquet").set_index("optimizer").loc["Yogi"].iloc[0]
    assert run.status == "done"
    for table in ("table_2", "table_3"):
        assert "Yogi" in set(pd.read_csv(results / f"tables/{table}.csv").optimizer)
    for figure in ("figure_2", "figure_6"):
        record = json.loads((results / f"lineage/{figure}.json").read_text())
        assert record["params"]["settings"]["optimizers"][-1] == "Yogi"


def test_a_dataset(project, finished, tmp_path):
    """A file that is missing is named; with its files it is prepared and trained on."""
    study = study_of(finished, tmp_path)
    steps = apply("A dataset", project)
    assert len(steps) == 3
    assert planned_jobs(study, project=project) == {}, "an entry beside those in use"
    passes(project, *OF_ALL, *OF_DATASETS)

    row = {"dataset": "Stripes", "optimizer": "SGD", "learning_rate": 0.05, "weight_decay": 0}
    write_parameters(study, add_rows(grid=row))
    planned = planned_jobs(study, project=project)
    of_packs = ("prepare_dataset", "train", "extract_statistics", "measure")
    assert [planned[name] for name in of_packs] == [1, 1, 1, 1], "the other packs stay"
    wanted = "results/tiny/runs.parquet"
    result = snakemake(study, wanted, project=project)
    assert result.returncode != 0 and "Traceback" not in result.stderr
    assert "Stripes is not complete under data, which has none of its files" in result.stderr

    printed = python(project, "make_stripes.py")
    entry = next(step.text for step in steps if "DataFile" in step.text)
    mean, deviation = re.findall(r"(?:mean|std)=\((\S+),\)", entry)
    assert printed.strip() == f"mean {mean}, std {deviation}"
    shutil.copytree(project / "data", study / "data", dirs_exist_ok=True)
    lost = study / "data/stripes/raw/train-labels-idx1-ubyte"
    kept = lost.read_bytes()
    lost.unlink()
    result = snakemake(study, wanted, project=project)
    assert result.returncode != 0 and "under data, which lacks train-labels-idx1-ubyte" in result.stderr
    lost.write_bytes(kept)
    result = snakemake(study, wanted, project=project)
    assert result.returncode == 0, result.stderr[-4000:]
    runs = pd.read_parquet(study / wanted)
    assert runs[runs.dataset == "Stripes"].status.tolist() == ["done"]


def test_an_architecture(project, finished, tmp_path):
    study = study_of(finished, tmp_path)
    steps = apply("An architecture", project)
    assert len(steps) == 6
    assert planned_jobs(study, project=project) == {}, "an entry beside those in use"
    passes(project, *OF_ALL, *OF_ARCHITECTURES)
    row = {"architecture": "Linear", "optimizer": "SGD", "learning_rate": 0.05, "weight_decay": 0, "width": 1}
    speeds = yaml.safe_load((project / "params.yaml").read_text())["images_per_second"]
    write_parameters(study, add_rows(grid=row))
    result = snakemake(study, "results/tiny/runs.parquet", project=project)
    assert "images_per_second: no speed of Linear; add one" in result.stdout + result.stderr
    add = add_rows(grid=row)
    write_parameters(study, lambda parameters: (parameters.update(images_per_second=speeds), add(parameters)))
    planned = planned_jobs(study, project=project)
    assert planned["train"] == planned["measure"] == planned["extract_statistics"] == 1
    result = snakemake(study, "results/tiny/runs.parquet", project=project)
    assert result.returncode == 0, result.stderr[-4000:]
    runs = pd.read_parquet(study / "results/tiny/runs.parquet")
    assert runs[runs.architecture == "Linear"].status.tolist() == ["done"]
