"""The records that jobs leave: what is in them, what is not, and what a changed byte does to them."""

import hashlib
import json
import platform
import subprocess
from pathlib import Path

import pytest
from as_job import as_job
from conftest import ROOT

from collapse.files.errors import InputError
from collapse.records import provenance
from collapse.records.job import job
from collapse.records.provenance import RecordError, place, project_state, read_record, record_file, short


@pytest.fixture
def task(tmp_path):
    """A job of rule measure of pack p-0.001, in results/tiny; its input is there."""
    folder = tmp_path / "results/tiny"
    (folder / "packs").mkdir(parents=True)
    (tmp_path / "results/tiny/datasets").mkdir()
    (tmp_path / "results/tiny/datasets/Fake.safetensors").write_bytes(b"data")
    return as_job(
        folder,
        "measure.py",
        input={"prepared": tmp_path / "results/tiny/datasets/Fake.safetensors", "paper": [ROOT / "LICENSE"]},
        output={"metrics": folder / "packs/metrics.parquet"},
        params={"convention": "reported"},
        wildcards={"pack": "p-0.001"},
    )


def done(task):
    """The record of the job, run."""
    with job(task):
        Path(task.output.metrics).write_bytes(b"numbers")
    return read_record(record_file(task.log[0]))


def test_what_went_in_and_came_out_is_in_the_record(task, tmp_path):
    found = done(task)
    assert record_file(task.log[0]) == tmp_path / "results/tiny/lineage/measure/p-0.001.json"
    prepared, paper = found["inputs"]
    assert prepared == {
        "name": "prepared", "file": "datasets/Fake.safetensors", "bytes": 4,
        "sha256": hashlib.sha256(b"data").hexdigest(),
    }  # fmt: skip
    assert (paper["file"], paper["of"]) == ("LICENSE", "project")
    assert found["outputs"][0]["file"] == "packs/metrics.parquet"
    assert found["outputs"][0]["sha256"] == hashlib.sha256(b"numbers").hexdigest()
    assert found["code"]["script"] == "workflow/scripts/measure.py"
    assert found["code"]["digest"] == task.params.code and "code" not in found["params"]
    assert found["environment"]["python"] == platform.python_version()
    assert found["environment"]["packages"]["torch"] and found["device"] == "cpu"


def test_the_record_names_no_machine_and_none_of_its_paths(task, tmp_path):
    done(task)
    text = record_file(task.log[0]).read_text(encoding="utf-8")
    assert str(tmp_path) not in text and str(ROOT) not in text and platform.node() not in text


def test_no_digest_among_the_params_is_computed(task):
    del task.params.code
    assert len(done(task)["code"]["digest"]) == 16


@pytest.mark.parametrize("error", [InputError("bad"), ValueError("worse")])
def test_a_job_that_fails_leaves_no_record(task, error):
    with pytest.raises(SystemExit), job(task):
        raise error
    assert not record_file(task.log[0]).exists()


def test_a_record_that_cannot_be_written_is_a_warning(task, tmp_path):
    (tmp_path / "results/tiny/lineage").write_text("in the way")
    with job(task):
        Path(task.output.metrics).write_bytes(b"numbers")
    log = Path(task.log[0]).read_text(encoding="utf-8")
    assert "no record for `collapse lineage`" in log


@pytest.mark.parametrize("at", [5, 100, 400, -3])
def test_a_changed_byte_of_a_record_is_noticed(task, at):
    done(task)
    file = record_file(task.log[0])
    text = bytearray(file.read_bytes())
    text[at] ^= 1
    file.write_bytes(text)
    with pytest.raises(RecordError, match=r"p-0\.001\.json"):
        read_record(file)


@pytest.mark.parametrize("text", ["", "[]", "3", '{"record_sha256": "0"}', "{"])
def test_what_is_no_record_is_noticed(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(RecordError):
        read_record(tmp_path / "a.json")
    with pytest.raises(FileNotFoundError):
        read_record(tmp_path / "absent.json")


def test_a_whole_run_table_is_kept_as_its_hash():
    assert short({"a": (1, None)}) == {"a": [1, None]}
    assert set(short("x" * provenance.LONGEST)) == {"sha256"}
    assert json.dumps(short(Path("a"))) == '"a"'


def test_where_a_file_is(tmp_path):
    folder = tmp_path / "results/tiny"
    assert place(folder / "tables/a.csv", folder=folder) == {"file": "tables/a.csv"}
    assert place("/etc/passwd", folder=folder) == {"file": "passwd", "of": "elsewhere"}


def test_the_commit_and_whether_the_tree_differs(tmp_path, monkeypatch):
    assert project_state(tmp_path) == {"commit": "unknown", "dirty": None}
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]

    def git(*arguments):
        subprocess.run(["git", *who, "-C", tmp_path, *arguments], check=True, capture_output=True)

    git("init")
    git("commit", "--allow-empty", "-m", "first")
    project_state.cache_clear()
    clean = project_state(tmp_path)
    assert len(clean["commit"]) == 40 and clean["dirty"] is False
    (tmp_path / "code.py").write_text("1")
    project_state.cache_clear()
    assert project_state(tmp_path) == clean | {"dirty": True}
    monkeypatch.setenv("PATH", str(tmp_path))
    project_state.cache_clear()
    assert project_state(tmp_path) == {"commit": "unknown", "dirty": None}, "git is not installed"
    project_state.cache_clear()
    monkeypatch.setenv("COLLAPSE_COMMIT", "45ba98f")
    assert project_state(tmp_path) == {"commit": "45ba98f", "dirty": None}, "said by who copied the files"
    project_state.cache_clear()
