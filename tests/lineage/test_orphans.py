"""`collapse prune` on results as they are left when an optimizer, a figure or the packs have been changed."""

import os
import socket
from pathlib import Path

import pandas as pd
import pytest
from tiny_study import read_parameters, save_parameters, write_parameters

from collapse.commands.main import main
from collapse.lineage.crate import CrateError, records_of
from collapse.lineage.orphans import members_of
from collapse.records.provenance import write_record
from collapse.study.parameters import load_parameters
from collapse.study.runs import run_table, runs_by_pack

STUDY = Path("results/tiny")


@pytest.fixture
def study(tmp_path, monkeypatch):
    """The tiny study's folder with all that its jobs write, in name; of packs the keys of their runs."""
    monkeypatch.chdir(tmp_path)
    write_parameters(tmp_path)
    parameters = load_parameters("params.yaml")
    members = members_of(parameters, "tiny")
    for pack, runs in runs_by_pack(run_table(parameters, "tiny")).items():
        pack_of([run["key"] for run in runs], pack)
    for file in [
        *(f"figures/{name}.{suffix}" for name in members.figures for suffix in ("pdf", "png")),
        *(f"tables/{name}.{suffix}" for name in members.tables for suffix in ("csv", "md", "html")),
        "datasets/Fake.safetensors", "runs.parquet", "summary.html", "figures/mine.png", "notes/table_9.txt",
    ]:  # fmt: skip
        write(file)
    for name in members.jobs():
        write_record(STUDY / f"lineage/{name}.json", {"rule": name})
        write(f"logs/{name}.log")
    return members


def pack_of(keys, pack):
    folder = STUDY / "packs" / pack
    folder.mkdir(parents=True)
    pd.DataFrame({"key": keys}).to_parquet(folder / "outcomes.parquet")


def write(file, text="x"):
    (STUDY / file).parent.mkdir(parents=True, exist_ok=True)
    (STUDY / file).write_text(text, encoding="utf-8")


def files():
    return {str(path.relative_to(STUDY)) for path in STUDY.rglob("*") if path.is_file()}


def test_of_a_study_as_it_should_be_nothing_is_listed(study, capsys):
    assert main(["prune", "tiny"]) == 0
    assert capsys.readouterr().out == "nothing in results/tiny that the study does not ask for\n"


def test_what_was_added_run_and_removed_again(study, capsys):
    before = files()
    pack_of(["0" * 12], "ResNet9-Fake-Lion-abc123")
    for file in (
        "figures/figure_lion.png", "figures/figure_lion.pdf", "tables/table_lion.csv",
        "datasets/MNIST.safetensors", "logs/train/ResNet9-Fake-Lion-abc123.log",
        "benchmarks/train/ResNet9-Fake-Lion-abc123.tsv", "lineage/figure_lion.json",
        "lineage/train/ResNet9-Fake-Lion-abc123.json", "unfinished/ResNet9-Fake-Lion-abc123/state",
    ):  # fmt: skip
        write(file)
    with_them = files()
    assert main(["prune", "tiny"]) == 0
    listed = capsys.readouterr().out
    assert files() == with_them, "it only lists"
    assert "10 files and packs, 0.00 MB are of no use to the study; collapse prune tiny --yes" in listed
    assert main(["prune", "tiny", "--yes"]) == 0
    assert "removed 10 files and packs" in capsys.readouterr().out
    assert files() == before


def test_other_packs_stay_until_their_runs_are_taken_over(study, capsys):
    """After pack_by has changed training takes runs over from the packs that had them."""
    former = sorted(path.name for path in STUDY.glob("packs/*"))
    parameters = read_parameters(Path())
    parameters["pack_by"] = ["architecture"]
    save_parameters(parameters, Path())
    assert main(["prune", "tiny", "--yes"]) == 0
    assert sorted(path.name for path in STUDY.glob("packs/*")) == former
    [(pack, runs)] = runs_by_pack(run_table(load_parameters("params.yaml"), "tiny")).items()
    pack_of([run["key"] for run in runs], pack)
    assert main(["prune", "tiny", "--yes"]) == 0
    assert [path.name for path in STUDY.glob("packs/*")] == [pack]
    assert not list(STUDY.glob("lineage/train/*")), "nor the records of those that are gone"


def test_what_is_being_trained_is_left_alone(study):
    folder = STUDY / "unfinished/another"
    for host, stays in ((socket.gethostname(), True), ("elsewhere", True)):
        write("unfinished/another/.lock", f"process {os.getpid()} on {host}, since 2026-01-01 00:00:00")
        assert main(["prune", "tiny", "--yes"]) == 0 and folder.exists() is stays
    write("unfinished/another/.lock", f"process 4194305 on {socket.gethostname()}, since 2026-01-01")
    assert main(["prune", "tiny", "--yes"]) == 0 and not folder.exists()


def test_what_cannot_be_pruned_is_one_line(study, capsys):
    for arguments, words in ((["dmeo"], "unknown study 'dmeo'"), (["mini"], "results/mini: no such folder")):
        assert main(["prune", *arguments]) == 2
        said = capsys.readouterr().err
        assert words in said and said.count("\n") == 1


def test_a_crate_needs_no_record_of_what_is_not_in_the_study(study):
    every = set(records_of(STUDY))
    assert every == study.jobs()
    write("lineage/train/ResNet9-Fake-Lion-abc123.json", "damaged")
    assert set(records_of(STUDY, study.jobs())) == every
    with pytest.raises(CrateError, match="Lion"):
        records_of(STUDY)
