"""`collapse crate`: the results of a study as a Provenance Run Crate, which other tools can read.

RO-Crate 1.1 with the Workflow Run profiles 0.5: a CreateAction for every job, from the record that it left
(collapse.records.provenance), with files by SHA-256 and size; a ControlAction for its rule's step of the
Snakefile; an OrganizeAction of Snakemake over all. Nothing is in a crate whose bytes are not those recorded.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any

from rocrate.model.computerlanguage import ComputerLanguage
from rocrate.model.contextentity import ContextEntity
from rocrate.model.entity import Entity
from rocrate.rocrate import ROCrate

from collapse.files.errors import InputError
from collapse.records.provenance import PROJECT, RecordError, commit_words, read_record, sha256
from collapse.study.entries import as_list

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate 0.5",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate 0.5",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate 0.5",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate 1.0",
}
LICENSE = "https://spdx.org/licenses/MIT"
CODE = "code"  # where the crate has the files of the project
FORMATS = {
    ".csv": "text/csv", ".html": "text/html", ".json": "application/json", ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet", ".pdf": "application/pdf", ".png": "image/png",
    ".py": "text/x-python", ".smk": "text/plain", ".yaml": "application/yaml", "": "text/plain",
}  # fmt: skip
FINISHED = "http://schema.org/CompletedActionStatus"
Record = Mapping[str, Any]


class CrateError(InputError):
    """The results are not such as a crate can vouch for; the message names the file and the remedy."""


def write_crate(folder: Path, output: Path | None, *, jobs: Container[str] | None = None) -> Path:
    """The crate of the results in `folder`: there, in another folder, or in a zip file. Returns its place.

    jobs: those of the study; records of others do not count. None: all do.
    In `folder` only ro-crate-metadata.json and, under code/, the project's files are added; elsewhere all
    files are copied. Raises CrateError.
    """
    crate = study_crate(folder, records_of(folder, jobs))
    if output is not None and output.suffix == ".zip":
        crate.write_zip(output)
    elif output is not None:
        crate.write(output)
    else:
        for entity in crate.data_entities:
            if entity.id.startswith(f"{CODE}/"):
                entity.write(folder)
        crate.metadata.write(folder)
    return output or folder


def records_of(folder: Path, jobs: Container[str] | None = None) -> dict[str, Record]:
    """The records of a study's jobs, by the job's name. Raises CrateError."""
    found = sorted(folder.glob("lineage/**/*.json"))
    files = {file: file.relative_to(folder / "lineage").with_suffix("").as_posix() for file in found}
    files = {file: name for file, name in files.items() if jobs is None or name in jobs}
    if not files:
        raise CrateError(f"{folder}: no records of jobs there; run the workflow first")
    try:
        return {name: read_record(file) for file, name in files.items()}
    except RecordError as error:
        raise CrateError(f"{error}; `collapse lineage` says what it belongs to") from None


def study_crate(folder: Path, records: Mapping[str, Record]) -> ROCrate:
    """All of it. Raises CrateError."""
    crate = ROCrate(version="1.1")
    workflow = add_workflow(crate, records)
    steps = {rule: add_step(crate, rule, number) for number, rule in enumerate(rules_of(records), start=1)}
    jobs = {name: add_job(crate, name, record, folder=folder) for name, record in records.items()}
    tools = unique(job["instrument"] for job in jobs.values())
    for name, record in records.items():
        steps[record["rule"]]["workExample"] = jobs[name]["instrument"]
    workflow["hasPart"], workflow["step"] = tools, list(steps.values())
    run = add_run(crate, workflow, jobs, records)
    controls = [
        add(crate, f"#control/{name}", "ControlAction", name=f"{name}: its step of the workflow",
            instrument=steps[records[name]["rule"]], object=job)
        for name, job in jobs.items()
    ]  # fmt: skip
    engine = add_software(crate, "snakemake", latest(records)["environment"]["packages"]["snakemake"])
    organised = add(
        crate, "#organisation", "OrganizeAction", name="Snakemake", instrument=engine, object=controls,
        result=run, startTime=run["startTime"], endTime=run["endTime"],
    )  # fmt: skip
    describe_root(crate, folder, run, mentions=[run, organised, *jobs.values()])
    return crate


def describe_root(crate: ROCrate, folder: Path, run: Entity, *, mentions: list[Entity]) -> None:
    """The name, date and license of the whole; the date is that of the last job, so that a crate repeats."""
    root = crate.root_dataset
    root["name"] = f"Study {folder.name} of 'Optimizer choice matters for the emergence of Neural Collapse'"
    root["description"] = "Results of one study: every file that its jobs wrote, and how each was made."
    root["datePublished"] = run["endTime"]
    root["license"] = add(
        crate, LICENSE, "CreativeWork", name="MIT License", description="of the code and results"
    )
    root["mentions"] = mentions
    root["conformsTo"] = [
        add(crate, place, "CreativeWork", name=name, version=place.rpartition("/")[2])
        for place, name in PROFILES.items()
    ]


def add_workflow(crate: ROCrate, records: Mapping[str, Record]) -> Entity:
    """The Snakefile as the main entity, with the files that it includes beside it."""
    language = crate.add(
        ComputerLanguage(
            crate,
            identifier="https://w3id.org/workflowhub/workflow-ro-crate#snakemake",
            properties={"name": "Snakemake", "url": "https://snakemake.readthedocs.io"},
        )
    )
    workflow = crate.add_workflow(
        PROJECT / "Snakefile", f"{CODE}/Snakefile", main=True, lang=language,
        properties=facts(PROJECT / "Snakefile") | {
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
            "version": commit_words(latest(records)["code"]),
        },
    )  # fmt: skip
    for file in sorted((PROJECT / "workflow/rules").glob("*.smk")):
        add_project_file(crate, file.relative_to(PROJECT).as_posix())
    return workflow


def add_run(
    crate: ROCrate, workflow: Entity, jobs: Mapping[str, Entity], records: Mapping[str, Record]
) -> Entity:
    """The run of the whole workflow: what no job wrote went in, what no job read came out."""
    read = unique(file for job in jobs.values() for file in job.get("object", []) if is_file(file))
    written = unique(file for job in jobs.values() for file in job["result"])
    return add(
        crate, "#run", "CreateAction", name="the study, from its parameters to its tables and figures",
        instrument=workflow, actionStatus=FINISHED,
        object=[file for file in read if file not in written],
        result=[file for file in written if file not in read],
        startTime=min(record["started"] for record in records.values()),
        endTime=max(record["ended"] for record in records.values()),
    )  # fmt: skip


def add_step(crate: ROCrate, rule: str, number: int) -> Entity:
    """A rule of the Snakefile."""
    return add(crate, f"#rule/{rule}", "HowToStep", name=rule, position=number)


def add_job(crate: ROCrate, name: str, record: Record, *, folder: Path) -> Entity:
    """A job: its script, its files, its parameters, when and on what it ran."""
    parameters = [
        add(crate, f"#parameter/{name}/{key}", "PropertyValue", name=key, value=plain(value))
        for key, value in record["params"].items()
    ]
    files = [add_file(crate, file, folder=folder) for file in record["inputs"]]
    return add(
        crate, f"#job/{name}", "CreateAction", name=name, actionStatus=FINISHED,
        instrument=add_tool(crate, record), object=unique([*files, *parameters]),
        result=unique(add_file(crate, file, folder=folder) for file in record["outputs"]),
        startTime=record["started"], endTime=record["ended"],
        description=f"on {record['device']}, {record['threads']} threads, {record['environment']['system']}; "
        f"code {record['code']['digest']} of commit {commit_words(record['code'])}",
    )  # fmt: skip


def add_tool(crate: ROCrate, record: Record) -> Entity:
    """A script, with the digest of the code that ran and the packages that it ran with."""
    tool = add_project_file(crate, record["code"]["script"])
    tool["version"] = unique([*as_list(tool.get("version") or []), record["code"]["digest"]])
    packages = {"python": record["environment"]["python"]} | record["environment"]["packages"]
    used = [add_software(crate, name, version) for name, version in packages.items()]
    tool["softwareRequirements"] = unique([*as_list(tool.get("softwareRequirements") or []), *used])
    return tool


def add_software(crate: ROCrate, name: str, version: str) -> Entity:
    """A package in the version that a job recorded."""
    return add(
        crate, f"#software/{name}-{version}", "SoftwareApplication", name=name, softwareVersion=version
    )


def add_project_file(crate: ROCrate, file: str) -> Entity:
    """A file of the project, copied to code/. Raises CrateError."""
    if not (PROJECT / file).is_file():
        raise CrateError(
            f"{file}: a job ran it, this checkout has it not; check out the commit of the results"
        )
    known = crate.dereference(f"{CODE}/{file}")
    described = facts(PROJECT / file) | {"@type": ["File", "SoftwareSourceCode"]}
    return known or crate.add_file(PROJECT / file, f"{CODE}/{file}", properties=described)


def add_file(crate: ROCrate, recorded: Mapping[str, Any], *, folder: Path) -> Entity:
    """A file that a job read or wrote. Raises CrateError where its bytes are not those recorded."""
    name, of_project = recorded["file"], recorded.get("of") == "project"
    path = PROJECT / name if of_project else folder / name
    identifier = f"{CODE}/{name}" if of_project else name
    if known := crate.dereference(identifier):
        if known["sha256"] != recorded["sha256"]:
            raise CrateError(f"{path}: two jobs saw other bytes of it; run the workflow again")
        return known
    if not path.is_file() or sha256(path) != recorded["sha256"]:
        raise CrateError(f"{path}: not the file that its job recorded; `collapse lineage` says more")
    return crate.add_file(path, identifier, properties=facts(path))


def facts(path: Path) -> dict[str, Any]:
    """What is said of every file."""
    kind = FORMATS.get(path.suffix, "application/octet-stream")
    size = str(path.stat().st_size)
    return {"name": path.name, "encodingFormat": kind, "contentSize": size, "sha256": sha256(path)}


def add(crate: ROCrate, identifier: str, kind: str, **properties: Any) -> Entity:
    """An entity that is no file; the one that is there where the crate has it."""
    if known := crate.dereference(identifier):
        return known
    entity = crate.add(ContextEntity(crate, identifier, properties={"@type": kind}))
    for name, value in properties.items():
        entity[name] = value
    return entity


def plain(value: Any) -> Any:
    """A parameter as JSON-LD has a value: a number or text."""
    return value if isinstance(value, int | float | str) else json.dumps(value, sort_keys=True)


def rules_of(records: Mapping[str, Record]) -> list[str]:
    """The rules in the order in which their first jobs began."""
    return unique(r["rule"] for r in sorted(records.values(), key=lambda r: (r["started"], r["rule"])))


def latest(records: Mapping[str, Record]) -> Record:
    """The record of the job that ended last."""
    return max(records.values(), key=lambda record: record["ended"])


def is_file(entity: Entity) -> bool:
    return "File" in as_list(entity.type)


def unique(values: Iterable[Any]) -> list[Any]:
    """Each once, in order; entities count by their identifiers."""
    return list({getattr(value, "id", value): value for value in values}.values())
