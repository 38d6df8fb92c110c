"""The last link of a study that trains nothing: the evidence that its run table was made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from collapse.files.errors import InputError
from collapse.lineage.audit import links
from collapse.lineage.audit.links import Link
from collapse.measuring.evidence_files import ABOUT, EvidenceError, read_about, tables_in
from collapse.records.provenance import RecordError, read_record

EVIDENCE = "evidence"


def run_table_links(folder: Path, files: Iterable[str]) -> list[Link]:
    """The link of a study's run table, and those of the evidence that it was made of: one an experiment.

    Evidence is the project's: its files stand among what the run table's job recorded, not among the results.
    """
    table = links.run_table_link(folder, files)
    own = [file for file in table.files if file.path.parent == table.folder]
    others = [file for file in table.files if file not in own]
    places = dict.fromkeys(file.path.parent for file in others)
    return [table._replace(files=own)] + [
        evidence_link(place, [file for file in others if file.path.parent == place]) for place in places
    ]


def evidence_link(folder: Path, files: Sequence[links.File]) -> Link:
    """A folder of evidence; broken too where its files are not those that its about.json names."""
    problems = []
    try:
        read_about(folder)
    except EvidenceError as error:
        problems.append(str(error))
    return Link(EVIDENCE, folder, list(files), folder / ABOUT, None, problems, unrecorded=False)


def link_of_folder(folder: Path) -> Link:
    """The same of a folder that was asked about itself: about.json is sealed and has the others' hashes."""
    try:
        recorded = read_record(folder / ABOUT)["sha256"]
    except RecordError:
        recorded = {}
    about = links.compared(folder / ABOUT, links.hash_now(folder / ABOUT))
    others = (links.compared(folder / name, recorded.get(name)) for name in tables_in(folder))
    return evidence_link(folder, [about, *others])


def abouts(chain: Iterable[Link]) -> list[dict[str, Any]]:
    """What the evidence of a chain says of itself, where nothing in it has changed."""
    return [read_about(one.folder) for one in chain if one.name == EVIDENCE and not one.problems]


def runs_table(link: Link) -> pd.DataFrame | None:
    """The runs of a folder of evidence, their metrics as the code defines them now; None if it is damaged."""
    from collapse.measuring.evidence_tables import read_evidence  # torch: nothing else here waits for it

    try:
        return None if link.problems else read_evidence(link.folder).runs
    except InputError:
        return None


def made(chain: Iterable[Link], key: str) -> dict[str, Any] | None:
    """On what and by whose code a run was made; None where no evidence has it."""
    return next((about["runs"][key] for about in abouts(chain) if key in about["runs"]), None)


def words(chain: Sequence[Link], keys: Sequence[str]) -> list[str]:
    """Of one run the job that trained it; of several on what they were made. And what is missing."""
    every = abouts(chain)
    runs = {key: facts for about in every for key, facts in about["runs"].items() if key in keys}
    missing = [words for about in every for words in about["missing"].values()]
    said = [f"missing in it: {'; '.join(missing)}"] if missing else []
    if len(keys) != 1:
        on = dict.fromkeys(made_on(its) for its in runs.values())
        return [f"{len(runs)} runs, on {'; '.join(on)}", *said]
    for its in runs.values():
        said.append(f"{its['settings']}, on {made_on(its)}")
        if job := its["job"]:
            packages = ", ".join(f"{name} {one}" for name, one in job["environment"]["packages"].items())
            said.append(f"its job ran from {job['started']} to {job['ended']}")
            said.append(f"Python {job['environment']['python']}, {job['environment']['system']}; {packages}")
    return said


def made_on(its: Mapping[str, Any]) -> str:
    """ "NVIDIA H100, torch 2.11.0, plain kernels, protocol 2, commit 8359746".

    Where no kernels are recorded they were plain: there were no others.
    """
    return (
        f"{its['device']}, torch {its['torch_version']}, {its.get('kernels', 'plain')} kernels, "
        f"protocol {its['protocol']}, commit {str(its['commit'])[:7]}"
    )
