"""workflow/code.json, what DVC knows of code: that of the commit, and nothing that a comment changes."""

import json

from conftest import ROOT

from collapse.records.code_digest import code_digest
from collapse.records.code_json import code_digests, keep_code_digests
from collapse.study.entries import entries_used
from collapse.study.families import FAMILIES, is_of
from collapse.study.parameters import read_yaml

PAPER = FAMILIES["zhao2026"]
FILE = ROOT / "workflow/code.json"
COMMITTED = FILE.read_text(encoding="utf-8")  # before a test runs Snakemake, which writes it anew


def test_the_digests_are_those_of_the_code():
    assert json.loads(COMMITTED) == code_digests(ROOT / "workflow"), (
        "workflow/code.json was older than the code; any call of snakemake writes it: commit it with the code"
    )


def test_the_digests_are_the_rules_own():
    found = code_digests(ROOT / "workflow")
    scripts = ROOT / "workflow/scripts"
    used = entries_used(read_yaml(ROOT / "params.yaml")["studies"], "demo")
    demo = found["demo"]
    assert demo["runs"]["measure"] == code_digest(scripts / "measure.py")
    assert demo["figures"]["heatmap"] == code_digest(scripts / "figures/heatmap.py", entries=used)
    targets = read_yaml(ROOT / "targets.yaml")
    drawn = {
        its["script"] for name, its in targets["figures"].items() if "script" in its and is_of(PAPER, name)
    }
    assert set(demo["figures"]) == drawn | {"theory", "explorer", "explorer_page"}
    assert {"claims", "comparison", "table_1"} < set(demo["tables"]), "and none of a related work"
    assert not any("zhu" in name or "jacot" in name for name in demo["tables"])
    assert set(demo["datasets"]) == {"Digits", "Separable"}
    assert set(found) == set(read_yaml(ROOT / "params.yaml")["studies"])


def test_the_file_is_written_only_where_it_says_something_else(tmp_path):
    folder = tmp_path / "workflow"
    folder.mkdir()
    for name in ("scripts", "explorer"):
        (folder / name).symlink_to(ROOT / "workflow" / name)
    for name in ("reference", "params.yaml", "targets.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    (folder / "code.json").write_text("<<<<<<< HEAD\n", encoding="utf-8")
    keep_code_digests(folder)
    assert json.loads((folder / "code.json").read_text(encoding="utf-8")) == code_digests(ROOT / "workflow")
    before = (folder / "code.json").stat()
    keep_code_digests(folder)
    assert (folder / "code.json").stat().st_ino == before.st_ino
