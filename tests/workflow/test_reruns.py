"""What makes what run again: a test a row of the table in CONTRIBUTING.md, with the jobs of a dry run.

The tiny study has 4 packs and 29 targets. Dry runs see copies of the study and of the checkout, so that a
test may change any file of either.
"""

import ast
import os
import re
import shutil
import subprocess
import time
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
import yaml
from conftest import ROOT
from golden_trajectories import require_golden
from safetensors.numpy import load_file
from tiny_study import CHECKOUT, planned_jobs, snakemake, write_parameters

from collapse import optimizers
from collapse.study.runs import PROTOCOL

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]
NOTHING = {}
PACKS = {"extract_statistics": 4, "measure": 4}  # of the tiny study, from their weights to their metrics
DEPTH = {"measure_depth": 2, "collect_further": 1}  # of the two packs with runs of that experiment


class Place(NamedTuple):
    """A study and the checkout that it is made with, each a copy."""

    study: Path
    project: Path

    def jobs(self, *arguments):
        return planned_jobs(self.study, *arguments, project=self.project)

    def edit(self, file, old, new):
        path = self.project / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) >= 1, f"{file} has no {old!r}"
        path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def place(finished, tmp_path):
    """The two as they lie to one another: a project that was moved together with its results."""
    study, project = (tmp_path / folder.relative_to(folder.anchor) for folder in (finished, ROOT))
    shutil.copytree(finished, study)
    project.mkdir(parents=True)
    for name in CHECKOUT:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, project / name)
    return Place(study, project)


def files_of(*folders):
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if path.suffix != ".pyc"]


def everything_after_measure(finished):
    """The jobs from collect on: all tables and figures but those of the theory."""
    names = {
        path.stem for kind in ("tables", "figures") for path in (finished / "results/tiny" / kind).iterdir()
    }
    return dict.fromkeys(names - set(theory()) | {"collect", "key_numbers", "summary", "explorer"}, 1)


def theory():
    return {"table_1": 1, "table_102": 1, "theory": 1}


def test_nothing_is_done_twice(place):
    assert place.jobs() == NOTHING


def test_any_file_touched(place):
    """What was made first is now the newest: every input newer than its output."""
    files = files_of(place.study / "results", place.project)
    now = time.time()
    for age, path in enumerate(sorted(files, key=lambda p: p.stat().st_mtime)):
        os.utime(path, (now - age, now - age))  # a second apart: files of one checkout share their times
    os.utime(place.study / "params.yaml")
    os.utime(place.study / "targets.yaml")
    assert place.jobs() == NOTHING
    by_time = place.jobs("--max-checksum-file-size", "0")  # Snakemake's own limit is 1 MB
    assert by_time == everything_after_measure(place.study) | PACKS | DEPTH | {"train": 4}


def test_the_profile_looks_at_the_content_of_the_largest_files():
    for file in sorted((ROOT / "profiles").glob("*/config*.yaml")):
        assert yaml.safe_load(file.read_text())["max-checksum-file-size"] >= 1e12, file


def rewritten(text):
    """A Python file with other docstrings, no comments, and the formatting of ast.unparse."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            node.body[0] = ast.Expr(ast.Constant("Other words."))
    return "# A comment.\n" + ast.unparse(tree)


def test_comments_docstrings_and_formatting_of_every_file(place):
    for path in files_of(place.project):
        if path.suffix == ".py":
            path.write_text(rewritten(path.read_text(encoding="utf-8")), encoding="utf-8")
        elif path.suffix in (".smk", ".yaml") or path.name == "Snakefile":
            text = path.read_text(encoding="utf-8")
            text = re.sub(r'^( +)""".*"""$', r'\1"""Other words."""', text, flags=re.MULTILINE)
            path.write_text(f"# A comment.\n\n{text}\n# Another.\n", encoding="utf-8")
    for file in (place.study / "params.yaml", place.study / "targets.yaml"):
        laid_out = yaml.safe_dump(yaml.safe_load(file.read_text()), sort_keys=False, default_flow_style=True)
        file.write_text(f"# A comment.\n{laid_out}")
    assert place.jobs() == NOTHING


def test_the_order_of_parameters(place):
    def backwards(value):
        if isinstance(value, dict):
            return {key: backwards(value[key]) for key in reversed(value)}
        return [backwards(item) for item in value] if isinstance(value, list) else value

    write_parameters(place.study, lambda parameters: parameters.update(reordered(backwards, parameters)))
    assert place.jobs() == NOTHING


def reordered(change, parameters):
    """All of it in the changed order, the top level too."""
    changed = change(dict(parameters))
    parameters.clear()
    return changed


def test_where_the_data_lie_and_on_what_is_trained(place):
    def move(parameters):
        parameters |= {"data_root": "elsewhere", "device": "cpu", "kernels": "auto", "threads": 2}
        parameters |= {"save_every_minutes": 1}

    write_parameters(place.study, move)
    assert place.jobs() == NOTHING


def test_a_setting_of_a_figure(place):
    write_parameters(place.study, lambda p: p["figures"]["figure_7"]["settings"].update(scale="log"))
    assert place.jobs() == {"figure_7": 1}


def test_a_new_figure(place):
    write_parameters(place.study, lambda p: p["figures"].update(figure_59=p["figures"]["figure_7"]))
    assert place.jobs() == {"figure_59": 1}


def test_a_colour_in_the_script_of_a_figure(place):
    place.edit("workflow/scripts/figures/theory.py", 'DECAYING = "#6B1D00"', 'DECAYING = "#7B1D00"')
    assert place.jobs() == {"theory": 1}
    place.edit("workflow/scripts/figures/singular_values.py", 'linestyle=":"', 'linestyle="--"')
    assert place.jobs() == {"theory": 1, "figure_7": 1, "figure_19": 1}, "those of that script"


def test_the_colour_of_an_optimizer(place):
    place.edit("src/collapse/optimizers/__init__.py", '"#56B4E9"', '"#56B4EA"')
    planned = place.jobs()
    assert set(planned) >= {name for name in everything_after_measure(place.study) if "figure_" in name}
    assert not {"train", "extract_statistics", "measure", "collect", "table_2"} & set(planned)


def test_the_formula_of_a_metric(place):
    place.edit(
        "src/collapse/metrics/neural_collapse.py",
        "return etf_distance(gram(statistics.centred_means_KD))",
        "return 2.0",
    )
    expected = everything_after_measure(place.study) | theory() | DEPTH | {"measure": 4}
    assert place.jobs() == expected


def test_how_depth_is_measured(place):
    """The table of depth and what is made of it; nothing is trained, and no other figure is drawn."""
    expected = DEPTH | {"figure_105": 1, "claims": 1, "key_numbers": 1, "summary": 1}
    place.edit("src/collapse/architectures/trunk.py", "range(1, 9)", "range(1, 8)")
    assert place.jobs() == NOTHING, "the points of VGG9, of which there is no run"
    place.edit("src/collapse/measuring/depth.py", "BATCH = 250", "BATCH = 200")
    assert place.jobs() == expected


def test_an_added_weight_decay(place):
    """Its runs alone are trained; keys and bytes of those that were trained are what they were."""
    packs = place.study / "results/tiny/packs"
    runs = place.study / "results/tiny/runs.parquet"
    before = pd.read_parquet(runs).set_index(["experiment", "key"])
    tensors = {path: load_file(path) for path in packs.glob("*/*.safetensors")}

    def add(parameters):
        parameters["studies"]["tiny"]["experiments"]["grid"]["rows"][1]["weight_decay"].append(1.0)

    write_parameters(place.study, add)
    expected = everything_after_measure(place.study) | DEPTH
    expected |= {"train": 2, "extract_statistics": 2, "measure": 2}
    assert place.jobs() == expected
    result = snakemake(place.study, "results/tiny/runs.parquet", project=place.project)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("4 runs, 3 of them trained before") == 2
    after = pd.read_parquet(runs).set_index(["experiment", "key"])
    assert len(after) == len(before) + 2
    pd.testing.assert_frame_equal(after.loc[before.index], before)
    for path, known in tensors.items():
        now = load_file(path)
        assert all(now[name].tobytes() == known[name].tobytes() for name in known), path


def test_a_removed_weight_decay(place):
    def remove(parameters):
        parameters["studies"]["tiny"]["experiments"]["grid"]["rows"][1]["weight_decay"].remove(0.1)

    write_parameters(place.study, remove)
    expected = everything_after_measure(place.study) | DEPTH
    expected |= {"train": 2, "extract_statistics": 2, "measure": 2}
    assert place.jobs() == expected


def test_other_packs(place):
    """The runs are taken over from the packs of before (tests/workflow/test_workflow.py has it done)."""
    write_parameters(place.study, lambda parameters: parameters.update(pack_by=["architecture"]))
    expected = everything_after_measure(place.study) | DEPTH | {"measure_depth": 1}
    expected |= {"train": 1, "extract_statistics": 1, "measure": 1}
    assert place.jobs() == expected


def test_the_rule_of_an_optimizer(place, monkeypatch, tmp_path):
    """The protocol's policy: an edit trains nothing, a raised protocol all; a test asks for the latter."""
    place.edit(
        "src/collapse/optimizers/directions.py", "velocity = gradients\n", "velocity = 2 * gradients\n"
    )
    assert not {"train", "extract_statistics", "measure", "measure_depth", "collect"} & set(place.jobs())
    sgd = optimizers.OPTIMIZERS["SGD"]

    @wraps(sgd.direction)
    def doubled(gradients, state, **settings):
        return sgd.direction(2 * gradients, state, **settings)

    monkeypatch.setitem(optimizers.OPTIMIZERS, "SGD", replace(sgd, direction=doubled))
    with pytest.raises(AssertionError, match="if that is meant, raise protocol"):
        require_golden("MLP", "SGD", tmp_path)
    place.edit("src/collapse/study/runs.py", f"PROTOCOL = {PROTOCOL}", f"PROTOCOL = {PROTOCOL + 1}")
    planned = place.jobs()
    assert planned.items() >= {"train": 4, **PACKS, "collect": 1}.items()
    assert "prepare_dataset" not in planned


def test_a_changed_file_of_a_dataset(place):
    """What uses it is asked for, and says that the file is not what was prepared."""
    folder = place.study / "results/tiny/datasets"
    shutil.copy(folder / "Fake.safetensors", folder / "MNIST.safetensors")
    assert place.jobs() == NOTHING, "no run of the study is on MNIST"
    changed = bytearray((folder / "Fake.safetensors").read_bytes())
    changed[-1] ^= 1
    (folder / "Fake.safetensors").write_bytes(changed)
    assert place.jobs() == everything_after_measure(place.study) | PACKS | DEPTH | {"train": 4}
    weights = next((place.study / "results/tiny/packs").glob("*AdamW*/weights.safetensors"))
    weights.unlink()
    result = snakemake(place.study, str(weights.relative_to(place.study)), project=place.project)
    assert result.returncode != 0
    assert "Fake.safetensors is altered: SHA-256 expected" in result.stderr
    assert "delete it and run again to prepare it anew" in result.stderr


def test_another_edition_of_a_dataset(place):
    """The checksums of its source files, in the registry: it is prepared anew and its runs trained anew."""
    registry = "src/collapse/datasets/registry.py"
    place.edit(registry, 'label="MNIST"', 'label="Digits of MNIST"')
    assert place.jobs() == NOTHING, "an entry of a dataset that no run has"
    place.edit(registry, 'label="Fake"', 'label="Patterns"')
    planned = place.jobs()
    assert not {"prepare_dataset", "train"} & set(planned), "the bytes are the same"
    assert planned.items() >= PACKS.items(), "but code that extraction reaches"
    place.edit(registry, 'arrays_sha256="83430852', 'arrays_sha256="00000000')
    assert place.jobs().items() >= {"prepare_dataset": 1, "train": 4, **PACKS, "collect": 1}.items()


def test_the_script_of_the_explorers_page(place):
    place.edit("workflow/explorer/explorer.js", "const ROWS = 100;", "const ROWS = 200;")
    assert place.jobs() == {"explorer": 1}


def test_the_numbers_that_the_paper_reports(place):
    path = place.project / "reference/reported.yaml"
    numbers = yaml.safe_load(path.read_text(encoding="utf-8"))
    numbers["added"] = 1
    path.write_text(yaml.safe_dump(numbers), encoding="utf-8")
    assert place.jobs() == {"comparison": 1, "summary": 1}


def test_a_results_file_that_was_changed(place):
    """What is made of it; that it is not what its job wrote, `collapse lineage` says."""
    runs = place.study / "results/tiny/runs.parquet"
    pd.read_parquet(runs).assign(NC3=1.0).to_parquet(runs, index=False)
    expected = everything_after_measure(place.study)
    del expected["collect"]
    assert place.jobs() == expected


def test_another_commit_checked_out(place):
    """Files that differ get the time of the checkout; what counts is what the code of the commits does."""

    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *who, "-C", place.project, *arguments], check=True, capture_output=True)

    git("init", "--initial-branch", "main")
    git("add", "--all")
    git("commit", "--message", "first")
    git("checkout", "-b", "other")
    for path in files_of(place.project / "src", place.project / "workflow/scripts"):
        path.write_text(f"# A comment.\n{path.read_text(encoding='utf-8')}", encoding="utf-8")
    script = "workflow/scripts/figures/theory.py"
    place.edit(script, 'DECAYING = "#6B1D00"', 'DECAYING = "#7B1D00"')
    git("commit", "--all", "--message", "second")
    assert place.jobs() == {"theory": 1}
    git("checkout", "main")
    assert place.jobs() == NOTHING
