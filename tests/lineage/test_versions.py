"""Records and hashes, without a run of Snakemake or DVC: what is archived, verified, and refused."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from collapse.commands.main import main
from collapse.lineage.versions import stored, tools, verbs
from collapse.lineage.versions.snakemake_records import (
    ARCHIVE,
    RECORDS,
    VersionError,
    depths,
    read_records,
    record_path,
    recorded_file,
    restore_records,
    write_archive,
)

RUNS, TABLE, FAR = "results/tiny/runs.parquet", "results/tiny/tables/table_2.csv", f"results/tiny/{'x' * 250}"


@pytest.fixture(autouse=True)
def clone(monkeypatch):
    """The folders of these tests are no git clones; what that means has a test of its own."""
    monkeypatch.setattr(tools, "is_clone", lambda: True)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder with two files of a study and one of another, and Snakemake's records of them."""
    monkeypatch.chdir(tmp_path)
    inputs = {
        RUNS: [],
        TABLE: [RUNS],
        FAR: [TABLE, "reference/reported.yaml"],
        "results/other/runs.parquet": [],
    }
    for file, its in inputs.items():
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(file, encoding="utf-8")
        record = RECORDS / record_path(file)
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps({"input": its, "rule": Path(file).stem}), encoding="utf-8")
    return tmp_path


def test_a_record_is_named_as_snakemake_names_it(tmp_path):
    from types import SimpleNamespace

    from snakemake.persistence.file import FilePersistence

    for file in (RUNS, FAR):
        theirs = FilePersistence._record_path(
            SimpleNamespace(_fetch_max_len=lambda folder: 255), str(tmp_path), file
        )
        assert str(tmp_path / record_path(file)) == theirs
        assert recorded_file(Path(record_path(file))) == file


def test_the_archive_has_the_study_alone_and_is_the_same_bytes_again(checkout):
    assert set(read_records("tiny")) == {RUNS, TABLE, FAR}
    first = write_archive("tiny").read_bytes()
    os.utime(RECORDS / record_path(RUNS))
    assert write_archive("tiny").read_bytes() == first
    Path(TABLE).unlink()
    assert set(read_records("tiny")) == {RUNS, FAR}, "what is no longer there is not spoken of"


def test_restored_records_leave_other_studies_alone_and_order_the_times(checkout):
    write_archive("tiny")
    other = RECORDS / record_path("results/other/runs.parquet")
    text = other.read_text(encoding="utf-8")
    for path in RECORDS.rglob("*"):
        if path.is_file() and path != other:
            path.unlink()
    for age, file in enumerate((RUNS, TABLE, FAR)):
        os.utime(file, (1e9 - age, 1e9 - age))
    restore_records("tiny")
    assert set(read_records("tiny")) == {RUNS, TABLE, FAR} and other.read_text(encoding="utf-8") == text
    times = [os.stat(file).st_mtime for file in (RUNS, TABLE, FAR)]
    assert times[0] < times[1] < times[2]


def test_a_file_is_as_deep_as_the_jobs_before_it():
    assert depths({"c": ["b", "a"], "b": ["a"], "a": ["outside"], "d": []}) == {
        "a": 0,
        "b": 1,
        "c": 2,
        "d": 0,
    }


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_an_archive_that_cannot_be_read_is_named(checkout, content):
    path = write_archive("tiny")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(VersionError, match=ARCHIVE):
        restore_records("tiny")


def test_without_records_there_is_no_archive(checkout):
    with pytest.raises(VersionError, match="no record of results/absent"):
        write_archive("absent")


# ---- what the cache must hold


def put(cache, content, *, suffix=""):
    """The MD5 of an object put into the cache."""
    md5 = hashlib.md5(content).hexdigest() + suffix
    path = stored.in_cache(cache, md5)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return md5


@pytest.fixture
def recorded(checkout):
    """A dvc.lock with a file and a folder of two files, and a cache with their bytes."""
    cache = checkout / "cache"
    runs, two = put(cache, b"runs"), [put(cache, b"csv"), put(cache, b"md")]
    listing = [{"md5": md5, "relpath": name} for md5, name in zip(two, ("a.csv", "b.md"), strict=True)]
    folder = put(cache, json.dumps(listing).encode(), suffix=".dir")
    stages = {name: {"outs": []} for name in stored.stages_of("tiny")}
    stages["runs@tiny"]["outs"].append({"path": RUNS, "md5": runs})
    stages["tables@tiny"]["outs"].append({"path": "results/tiny/tables", "md5": folder})
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}), encoding="utf-8")
    return cache


def test_every_file_of_a_folder_is_known(recorded):
    files = stored.files_in(stored.outputs_of("tiny"), cache=recorded)
    assert [str(one.path) for one in files] == [RUNS, "results/tiny/tables/a.csv", "results/tiny/tables/b.md"]
    assert stored.unusable(stored.outputs_of("tiny"), cache=recorded) == {}


@pytest.mark.parametrize("how", ["missing", "corrupted"])
@pytest.mark.parametrize("which", [RUNS, "results/tiny/tables", "results/tiny/tables/b.md"])
def test_what_the_cache_cannot_give_is_named(recorded, how, which):
    outputs = stored.outputs_of("tiny")
    every = {str(one.path): one for one in [*outputs, *stored.files_in(outputs, cache=recorded)]}
    broken = stored.in_cache(recorded, every[which].md5)
    broken.unlink() if how == "missing" else broken.write_bytes(b"[]")
    found = stored.unusable(outputs, cache=recorded)
    assert {str(one.path): problem for one, problem in found.items()} == {which: how}


def test_bytes_that_are_nowhere_else_are_not_overwritten(recorded):
    outputs = stored.outputs_of("tiny")
    files = {one.path: one.md5 for one in stored.files_in(outputs, cache=recorded)}
    assert stored.unsaved(outputs, files, cache=recorded) == [Path(RUNS), Path(TABLE)]
    Path(RUNS).write_bytes(b"runs")
    Path(TABLE).write_bytes(b"md")  # another recorded file's: in the cache
    assert stored.unsaved(outputs, files, cache=recorded) == []


def test_a_study_without_a_record_says_so(recorded, capsys):
    assert main(["restore", "mini"]) == 2
    message = capsys.readouterr().err
    assert "dvc.lock has no whole record of study mini; make study STUDY=mini makes one" in message
    Path("dvc.lock").unlink()
    assert main(["restore", "tiny"]) == 2


def restore_in_vain(cache, monkeypatch, capsys, *, remote):
    """What `collapse restore tiny` says where `dvc fetch` fails."""
    failed = subprocess.CompletedProcess([], 1, stdout="", stderr="ERROR: failed to fetch data\n")
    monkeypatch.setattr(tools, "call", lambda *words: failed)
    monkeypatch.setattr(tools, "cache_folder", lambda: cache)
    monkeypatch.setattr(tools, "has_remote", lambda: remote)
    assert main(["restore", "tiny"]) == 2
    return capsys.readouterr().err.splitlines()


def test_an_absent_remote_is_named_as_the_cause(recorded, monkeypatch, capsys):
    stored.in_cache(recorded, hashlib.md5(b"md").hexdigest()).unlink()
    monkeypatch.setattr(tools, "listing_in_remote", lambda md5: [])
    head, *lines = restore_in_vain(recorded, monkeypatch, capsys, remote=False)
    assert (
        "DVC has no remote to fetch from what its cache lacks: dvc remote add --default NAME URL, or" in head
    )
    assert len(lines) == 1 and lines[0].strip().startswith("results/tiny/tables/b.md: missing (")


@pytest.mark.parametrize("known", [True, False])
def test_what_a_folder_lacks_is_named_by_the_files_name(recorded, monkeypatch, capsys, known):
    """DVC leaves the list of a folder in the remote where one of its files is not there."""
    [folder] = (one for one in stored.outputs_of("tiny") if one.md5.endswith(".dir"))
    file = stored.in_cache(recorded, folder.md5)
    listing = json.loads(file.read_text()) if known else []
    monkeypatch.setattr(tools, "listing_in_remote", lambda md5: listing if md5 == folder.md5 else [])
    file.unlink()
    stored.in_cache(recorded, hashlib.md5(b"csv").hexdigest()).unlink()
    head, *lines = restore_in_vain(recorded, monkeypatch, capsys, remote=True)
    assert "(dvc fetch: ERROR: failed to fetch data)" in head
    named = "results/tiny/tables/a.csv" if known else "results/tiny/tables"
    assert len(lines) == 1 and lines[0].strip().startswith(f"{named}: missing (")


def test_the_list_of_a_folder_is_read_from_the_remote(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (["init", "--no-scm", "--quiet"], ["remote", "add", "--default", "--quiet", "far", "far"]):
        assert tools.call("dvc", *words).returncode == 0
    assert tools.has_remote()
    listing = [{"md5": "0" * 32, "relpath": "a.png"}]
    place = stored.in_cache(Path("far"), f"{'ab' * 16}.dir")
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps(listing), encoding="utf-8")
    assert tools.listing_in_remote(place.parent.name + place.name) == listing
    assert tools.listing_in_remote("cd" * 16 + ".dir") == []
    assert tools.call("dvc", "remote", "remove", "--quiet", "far").returncode == 0
    assert tools.listing_in_remote(place.parent.name + place.name) == [] and not tools.has_remote()


@pytest.mark.parametrize(
    ("study", "wanted"),
    [
        ("mini", "DVC: results/mini: never recorded; make study STUDY=mini makes and records it"),
        ("evidence", "DVC: results/evidence: made of evidence, which git has"),
    ],
)
def test_a_study_that_dvc_does_not_know_is_no_error_of_dvc(checkout, monkeypatch, capsys, study, wanted):
    for name in ("params.yaml", "targets.yaml"):
        shutil.copy(ROOT / name, checkout)
    monkeypatch.setattr(tools, "planned_jobs", lambda study: {"collect": 1})
    monkeypatch.setattr(tools, "call", lambda *words: pytest.fail(f"asked {words}"))
    assert main(["changed", study]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said == [f"Snakemake: results/{study}: collect", wanted]


# ---- conflicts of two versions

CONFLICTED = "schema: '2.0'\n<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> other\n"


@pytest.mark.parametrize("verb", ["record", "restore", "changed"])
@pytest.mark.parametrize("file", ["dvc.lock", "dvc.yaml", "workflow/recorded.yaml"])
def test_a_conflict_is_named_before_any_tool_is_asked(recorded, monkeypatch, capsys, verb, file):
    monkeypatch.setattr(tools, "call", lambda *words: pytest.fail(f"asked {words}"))
    Path(file).parent.mkdir(exist_ok=True)
    Path(file).write_text(CONFLICTED, encoding="utf-8")
    assert main([verb, "tiny"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"collapse: {file} has git's conflict markers; ") and said.count("\n") == 1
    assert "then make record STUDY=tiny" in said
    assert file != "dvc.lock" or "take either side" in said


# ---- recording


def test_what_snakemake_would_run_is_not_recorded(checkout, monkeypatch, capsys):
    monkeypatch.setattr(tools, "planned_jobs", lambda study: {"train": 2, "figure_7": 1})
    monkeypatch.setattr(tools, "commit", lambda study: pytest.fail("recorded"))
    assert main(["record", "tiny"]) == 2
    assert "Snakemake would run figure_7, train (2); make study STUDY=tiny" in capsys.readouterr().err
    assert not (checkout / "results/tiny" / ARCHIVE).exists()


@pytest.mark.parametrize("before", ["\n- demo\n", " []\n", "\n"])
def test_a_recorded_study_is_added_once_and_comments_stay(checkout, before):
    verbs.RECORDED.parent.mkdir()
    verbs.RECORDED.write_text(f"# Which.\nrecorded:{before}", encoding="utf-8")
    for _ in range(2):
        verbs.add_to_recorded("mini")
    text = verbs.RECORDED.read_text(encoding="utf-8")
    assert text.startswith("# Which.\n")
    assert yaml.safe_load(text) == {"recorded": ["demo", "mini"] if "demo" in before else ["mini"]}


def test_a_spoilt_list_of_recorded_studies_is_named(checkout):
    verbs.RECORDED.parent.mkdir()
    verbs.RECORDED.write_text("recorded: [", encoding="utf-8")
    with pytest.raises(VersionError, match=r"workflow/recorded\.yaml"):
        verbs.add_to_recorded("mini")


def test_a_change_in_words():
    change = {
        "changed deps": {"targets.yaml": {"figures": "modified"}, "results/tiny/runs.parquet": "deleted"}
    }
    assert tools.in_words(change) == [
        "changed deps: targets.yaml figures modified",
        "changed deps: results/tiny/runs.parquet deleted",
    ]
    assert tools.in_words("changed command") == ["changed command"]
