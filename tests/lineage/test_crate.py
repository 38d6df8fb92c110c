"""`collapse crate`: what RO-Crate's own library reads back from a study's results."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import ROOT
from rocrate.rocrate import ROCrate

from collapse.commands.main import main
from collapse.records.provenance import read_record, sha256, write_record

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]
STUDY = Path("results/tiny")
METADATA = STUDY / "ro-crate-metadata.json"


@pytest.fixture
def study(finished, tmp_path, monkeypatch):
    """A plain copy of the results somewhere else."""
    shutil.copytree(finished / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def records():
    return [read_record(file) for file in sorted(STUDY.glob("lineage/**/*.json"))]


def kind(crate, name):
    return [entity for entity in crate.get_entities() if name in [entity.type, *entity.type]]


def members(entity, name):
    found = entity.get(name, [])
    return found if isinstance(found, list) else [found]


def test_every_job_and_every_file_of_the_study_is_read_back(study):
    before = {path: sha256(path) for path in STUDY.rglob("*") if path.is_file()}
    assert main(["crate", "tiny"]) == 0
    assert before == {path: sha256(path) for path in before}, "beside the results, nothing in them"
    crate = ROCrate(STUDY)
    jobs = [action for action in kind(crate, "CreateAction") if action.id.startswith("#job/")]
    assert len(jobs) == len(records())
    written = {entry["file"]: entry for record in records() for entry in record["outputs"]}
    for file, entry in written.items():
        found = crate.dereference(file)
        assert (found["sha256"], int(found["contentSize"])) == (entry["sha256"], entry["bytes"])
        assert sha256(STUDY / file) == entry["sha256"]
    assert sum(len(members(job, "result")) for job in jobs) == len(written)
    assert len(kind(crate, "ControlAction")) == len(jobs)
    assert len(kind(crate, "OrganizeAction")) == 1


def test_a_table_is_followed_to_its_dataset(study):
    main(["crate", "tiny"])
    crate = ROCrate(STUDY)
    made_by = {
        file.id: job
        for job in kind(crate, "CreateAction") if job.id.startswith("#job/")
        for file in members(job, "result")
    }  # fmt: skip
    waiting, passed = [crate.dereference("tables/table_2.csv")], []
    while waiting:
        file = waiting.pop()
        job = made_by.get(file.id)
        if job is not None and job.id not in passed:
            passed.append(job.id)
            waiting += [its for its in members(job, "object") if "File" in its.type]
    rules = [job.split("/")[1] for job in passed]
    assert rules[:2] == ["table_2", "collect"]
    assert {rule: rules.count(rule) for rule in rules[2:]} == {
        "measure": 4, "extract_statistics": 4, "train": 4, "prepare_dataset": 1,
    }  # fmt: skip


def test_the_workflow_its_steps_and_the_software(study):
    main(["crate", "tiny"])
    crate = ROCrate(STUDY)
    workflow = crate.mainEntity
    assert (STUDY / workflow.id).read_bytes() == (ROOT / "Snakefile").read_bytes()
    steps = {step["name"] for step in workflow["step"]}
    assert steps >= {"prepare_dataset", "train", "extract_statistics", "measure", "collect", "figure_7"}
    assert all(step["workExample"].id.startswith("code/workflow/scripts/") for step in workflow["step"])
    train = crate.dereference("#job/train/" + records_of_pack()["wildcards"]["pack"])
    record = records_of_pack()
    assert (train["startTime"], train["endTime"]) == (record["started"], record["ended"])
    assert record["code"]["digest"] in train["description"]
    versions = {
        its["name"]: its["softwareVersion"] for its in members(train["instrument"], "softwareRequirements")
    }
    assert versions == {"python": record["environment"]["python"]} | record["environment"]["packages"]
    parameters = {
        its["name"]: its["value"] for its in members(train, "object") if its.type == "PropertyValue"
    }
    assert json.loads(parameters["runs"]) == record["params"]["runs"]


def records_of_pack():
    return next(record for record in records() if record["rule"] == "train")


def test_the_same_again_and_no_path_of_the_machine(study):
    main(["crate", "tiny"])
    text = METADATA.read_text(encoding="utf-8")
    assert str(study) not in text and str(ROOT) not in text
    main(["crate", "tiny"])
    assert METADATA.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("output", ["tiny.zip", "elsewhere"])
def test_a_copy_of_all_of_it(study, output):
    assert main(["crate", "tiny", "--output", output]) == 0
    assert not METADATA.exists()
    crate = ROCrate(output)
    assert crate.dereference("runs.parquet")["sha256"] == sha256(STUDY / "runs.parquet")
    if output == "elsewhere":
        assert sha256(Path(output) / "runs.parquet") == sha256(STUDY / "runs.parquet")


def test_a_record_of_a_deleted_pack_is_ignored_where_the_study_is_known(study, finished, capsys):
    """An optimizer was added, run and removed: its record names files that are gone."""
    record = records_of_pack()
    for entry in record["outputs"]:
        entry["file"] = entry["file"].replace(record["wildcards"]["pack"], "gone")
    write_record(STUDY / "lineage/train/gone.json", record)
    assert main(["crate", "tiny"]) == 2
    assert "packs/gone/" in capsys.readouterr().err
    assert main(["crate", "tiny", "--params", str(finished / "params.yaml")]) == 0
    assert not [entity for entity in ROCrate(STUDY).get_entities() if "gone" in entity.id]


def test_what_is_not_as_recorded_is_refused_in_one_line(study, capsys):
    table = STUDY / "tables/table_2.csv"
    table.write_text(table.read_text() + "\n")
    assert main(["crate", "tiny"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"collapse: {table}: not the file that its job recorded; `collapse lineage` says more"
    ]
    assert not METADATA.exists()
    assert main(["crate", "absent"]) == 2
    assert "results/absent: no records of jobs there; run the workflow first" in capsys.readouterr().err
