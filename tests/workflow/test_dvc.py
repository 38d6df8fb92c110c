"""DVC and Snakemake on one study: they agree, after a run, after a record and in another clone."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from tiny_study import read_parameters, save_parameters

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]
OUTPUTS = ("packs", "datasets", "runs.parquet", "tables", "figures", "lineage", "snakemake_records.tar.gz")
IDENTITY = ("-c", "user.name=test", "-c", "user.email=test@test")


def call(clone, tool, *arguments):
    """A tool of this environment in a clone, by the clone's own code; its output and exit status."""
    return subprocess.run(
        [clone / ".venv/bin" / tool, *arguments],
        cwd=clone, env=environment(clone), stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip


def environment(clone):
    return os.environ | {"PYTHONPATH": str(clone / "src"), "NO_COLOR": "1"}


def done(clone, tool, *arguments):
    """As `call`, where it must succeed: what it printed."""
    result = call(clone, tool, *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def git(folder, *arguments):
    command = ["git", *IDENTITY, "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def changed(clone):
    """The stages that `dvc status` names, with what it says."""
    return json.loads(call(clone, "dvc", "status", "--json").stdout)


def to_run(clone):
    """The jobs that Snakemake plans."""
    counts = dict(re.findall(r"^(\w+) +(\d+)$", done(clone, "snakemake", "--dry-run"), re.MULTILINE))
    return {rule: int(count) for rule, count in counts.items() if rule not in ("all", "total")}


def set_parameter(clone, change):
    parameters = read_parameters(clone)
    change(parameters)
    save_parameters(parameters, clone)


def times(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.fixture(scope="module")
def history():
    """What the tools said on the way to the fixture `origin`."""
    return {}


@pytest.fixture(scope="module")
def origin(finished, tmp_path_factory, history):
    """A clone in which a bare `snakemake` has made the study, recorded, committed and pushed to a remote."""
    clone = tmp_path_factory.mktemp("dvc") / "origin"
    names = git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    for name in names:
        if (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)
    for name in ("params.yaml", "targets.yaml"):
        shutil.copy(finished / name, clone)
    (clone / "workflow/recorded.yaml").write_text("recorded: []\n", encoding="utf-8")
    (clone / "dvc.lock").unlink(missing_ok=True)
    shutil.copytree(finished / "results", clone / "results")
    shutil.copytree(finished / ".snakemake", clone / ".snakemake")
    prepare(clone)
    git(clone, "init", "--quiet", "--initial-branch=main")
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message=a study")
    history["jobs"] = done(clone, "snakemake")
    history["record"] = done(clone, "collapse", "record", "tiny")
    history["after record"] = changed(clone)
    done(clone, "dvc", "remote", "add", "--default", "backup", str(clone.parent / "remote"))
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message=its results")
    done(clone, "dvc", "push")
    return clone


def prepare(clone):
    """Let a clone have this environment where dvc.yaml and the Makefile look for it."""
    (clone / ".venv").symlink_to(sys.prefix)
    exclude = clone / ".git/info/exclude"
    exclude.parent.mkdir(parents=True, exist_ok=True)
    with exclude.open("a", encoding="utf-8") as stream:
        stream.write("\n/.venv\n")


def cloned(origin, folder):
    git(origin.parent, "clone", "--quiet", str(origin), str(folder))
    prepare(folder)
    return folder


@pytest.fixture(scope="module")
def restored(origin, history):
    """A fresh clone, restored."""
    clone = cloned(origin, origin.parent / "restored")
    history["restore"] = done(clone, "collapse", "restore", "tiny")
    return clone


def test_a_record_of_what_snakemake_made_and_both_are_up_to_date(origin, history):
    assert "Snakemake: results/tiny: up to date\nDVC: results/tiny: up to date" in history["record"]
    assert history["after record"] == {}
    assert to_run(origin) == {} and changed(origin) == {}
    assert yaml.safe_load((origin / "workflow/recorded.yaml").read_text())["recorded"] == ["tiny"]


def test_git_holds_none_of_the_results(origin):
    assert not git(origin, "ls-files", "results")
    stages = yaml.safe_load((origin / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    versioned = {out["path"] for stage in stages.values() for out in stage["outs"]}
    assert {f"results/tiny/{name}" for name in OUTPUTS} <= versioned
    assert not any("unfinished" in path or "logs" in path for path in versioned)
    assert not git(origin, "status", "--porcelain")


def test_a_fresh_clone_restored_is_up_to_date_for_both(restored, history):
    assert "Snakemake: results/tiny: up to date\nDVC: results/tiny: up to date" in history["restore"]
    assert to_run(restored) == {} and changed(restored) == {}
    assert not git(restored, "status", "--porcelain")
    what = "results/tiny/tables/table_2.csv"
    assert "Adam" in done(restored, "collapse", "lineage", what, "--row", "Adam", "--column", "NC3")


def test_one_changed_setting_redraws_one_figure_in_both(restored):
    figures = restored / "results/tiny/figures"
    before = times(figures)
    set_parameter(restored, lambda its: its["figures"]["figure_7"]["settings"].update(scale="log"))
    assert to_run(restored) == {"figure_7": 1}
    assert list(changed(restored)) == ["figures@tiny"]
    assert "figures.figure_7.settings.scale" in done(restored, "dvc", "params", "diff")
    done(restored, "dvc", "repro", "study@tiny")
    after = times(figures)
    assert {name for name in after if after[name] != before[name]} == {"figure_7.pdf", "figure_7.png"}
    assert to_run(restored) == {} and changed(restored) == {}
    assert "figure_7.png" in done(restored, "dvc", "diff", "HEAD")


def test_an_interrupted_repro_goes_on_and_what_a_bare_snakemake_makes_is_recorded(restored):
    names = {"figure_1", "figure_3", "figure_5"}

    def recaption(parameters):
        for name in names:
            parameters["figures"][name]["caption"] += " Again."

    figures = restored / "results/tiny/figures"
    before = times(figures)
    set_parameter(restored, recaption)
    running = subprocess.Popen(
        [restored / ".venv/bin/dvc", "repro", "study@tiny"],
        cwd=restored, env=environment(restored), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
        # A shell lets what it runs in the background ignore SIGINT, and so the tests' own processes.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    while running.poll() is None and times(figures) == before:
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)
    assert running.wait(timeout=300) != 0
    done(restored, "snakemake")
    after = times(figures)
    assert {name.partition(".")[0] for name in after if after[name] != before[name]} == names
    assert "figures@tiny" in changed(restored)
    recorded = done(restored, "collapse", "record", "tiny")
    assert "Snakemake: results/tiny: up to date\nDVC: results/tiny: up to date" in recorded
    assert times(figures) == after


def test_a_comment_is_nothing_and_a_formula_is_named_by_both(restored):
    file = restored / "src/collapse/paper/tables.py"
    text = file.read_text(encoding="utf-8")
    file.write_text(f"# A comment.\n{text}", encoding="utf-8")
    assert call(restored, "collapse", "changed", "tiny").returncode == 0
    other = text.replace('MISSING = "–"', 'MISSING = "no value"')
    assert other != text
    file.write_text(other, encoding="utf-8")
    status = call(restored, "collapse", "changed", "tiny")
    assert status.returncode == 1 and "table_2" in status.stdout
    assert "tables@tiny: changed deps: workflow/code.json tiny.tables modified" in status.stdout
    refused = call(restored, "collapse", "record", "tiny")
    assert refused.returncode == 2 and "Snakemake would run" in refused.stderr
    assert "Traceback" not in refused.stderr
    file.write_text(text, encoding="utf-8")


def test_what_the_remote_cannot_give_is_named_and_nothing_is_written(origin, tmp_path):
    lock = yaml.safe_load((origin / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    md5 = {out["path"]: out["md5"] for stage in lock.values() for out in stage["outs"]}
    remote = Path(shutil.copytree(origin.parent / "remote", tmp_path / "remote"))
    clone = cloned(origin, tmp_path / "clone")
    done(clone, "dvc", "remote", "modify", "--local", "backup", "url", str(remote))
    runs, history = (md5[f"results/tiny/{name}.parquet"] for name in ("runs", "history"))
    objects = {name: remote / "files/md5" / name[:2] / name[2:] for name in (runs, history)}
    objects[runs].unlink()
    objects[history].chmod(0o644)
    objects[history].write_bytes(b"other bytes")
    objects[history].chmod(0o444)  # DVC trusts what nobody may write; other objects it verifies itself
    mine = clone / "results/tiny/tables/table_2.csv"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine\n", encoding="utf-8")
    refused = call(clone, "collapse", "restore", "tiny")
    assert refused.returncode == 2 and "Traceback" not in refused.stderr
    assert "results/tiny/runs.parquet: missing" in refused.stderr
    assert "results/tiny/history.parquet: corrupted" in refused.stderr
    assert [path for path in (clone / "results").rglob("*") if path.is_file()] == [mine]
    for name, path in objects.items():  # mended, but a file of the user's is in the way
        path.unlink(missing_ok=True)
        shutil.copy(origin.parent / "remote/files/md5" / name[:2] / name[2:], path)
        (clone / ".dvc/cache/files/md5" / name[:2] / name[2:]).unlink(missing_ok=True)
    refused = call(clone, "collapse", "restore", "tiny")
    assert (
        refused.returncode == 2 and f"{mine.relative_to(clone)}: its bytes are nowhere else" in refused.stderr
    )
    assert [path for path in (clone / "results").rglob("*") if path.is_file()] == [mine]
    mine.unlink()
    assert "DVC: results/tiny: up to date" in done(clone, "collapse", "restore", "tiny")


def test_the_other_commands_of_dvc(origin, tmp_path):
    shown = json.loads(call(origin, "dvc", "metrics", "show", "--json").stdout)
    found = shown[""]["data"]["results/tiny/metrics.json"]["data"]
    assert found["claims"]["C12"]["verdict"] == "holds" and found["table_2"]["SGD"]["log10_NC0"] < 1
    dag = done(origin, "dvc", "dag", "--mermaid")
    assert all(f"{stage}@tiny" in dag for stage in ("datasets", "runs", "tables", "figures", "study"))
    page = done(origin, "dvc", "plots", "show", "--out", str(tmp_path), "results/tiny/figures/figure_6.png")
    assert "index.html" in page and len(list((tmp_path / "static").glob("*figure_6.png"))) == 1
    assert done(origin, "dvc", "metrics", "diff", "HEAD").strip() == ""
