"""The lineage for the eye and for programs, and the command `collapse lineage`."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from collapse.lineage.audit import Lineage, evidence, links
from collapse.lineage.audit.cells import plain, read_parquet
from collapse.lineage.audit.links import Link
from collapse.measuring.evidence_files import RUNS
from collapse.metrics.conventions import CONVENTIONS, DIAGNOSTICS
from collapse.metrics.further import CENTRED
from collapse.records.provenance import commit_words
from collapse.study.settings import SETTINGS, UNSAID

LABEL, WIDTH = 18, 118  # letters: of the first column, of a line of words
MOST_FILES = 8  # of one link; of more, those that are not as recorded, and how many are
STATES = {links.OK: "ok", links.CHANGED: "CHANGED", links.MISSING: "MISSING", links.UNKNOWN: "unknown"}
HASH_LENGTH = 64
NUMBERS = {("metrics", "metrics.parquet"), (evidence.EVIDENCE, RUNS)}  # of a link, where a run's metrics are
SHOWN_SETTINGS = [name for name in SETTINGS if name != "measure_every"]


def as_json(found: Lineage) -> dict[str, Any]:
    """All of it, as JSON has it."""
    problems = links.verdict(found.links)
    return {
        "subject": found.subject,
        "verified": not problems,
        "problems": problems,
        "metric": metric_facts(found),
        "runs": found.keys,
        "run": found.run,
        "links": [
            {
                "link": one.name,
                "files": [f._asdict() | {"path": str(f.path)} for f in one.files],
                "record": None if one.record is None else str(one.record_file),
                "problems": one.problems,
            }
            for one in found.links
        ],
        "jobs": [links.job_facts(one) for one in found.links if one.record is not None],
    }


def lines(found: Lineage) -> list[str]:
    """The chain from the cell to the machine, a paragraph a link, and the verdict."""
    shown = [
        *paragraph("cell" if "value" in found.subject else "asked about", [subject_words(found.subject)])
    ]
    for name, its in grouped(found.links):
        if name == "checkpoint":  # the numbers before it are the networks', those after it the run's
            shown += link_lines(name, its, []) + run_lines(found)
        elif name == evidence.EVIDENCE:
            shown += link_lines(name, its, [metric_words(found), *evidence.words(its, found.keys)])
            shown += run_lines(found)
        elif name == "metrics":
            shown += link_lines(name, its, [metric_words(found)])
        elif name == "dataset":
            shown += link_lines(
                name, its, [links.dataset_words(f.path.stem) for one in its for f in one.files]
            )
        else:
            shown += link_lines(name, its, [])
    made = [one for one in found.links if one.record is not None]
    shown += code_lines(made) + environment_lines(made)
    return [*shown, *verdict_lines(found.links)]


def grouped(chain: Sequence[Link]) -> list[tuple[str, list[Link]]]:
    """The links of one name, those of several packs, together."""
    return [
        (name, [one for one in chain if one.name == name]) for name in dict.fromkeys(o.name for o in chain)
    ]


def paragraph(label: str, words: Iterable[str]) -> list[str]:
    """A label and beside it words, each wrapped."""
    wrapped = [line for one in words if one for line in textwrap.wrap(one, WIDTH - LABEL)]
    return [f"{label if number == 0 else '':<{LABEL}}{line}" for number, line in enumerate(wrapped or [""])]


def subject_words(subject: Mapping[str, Any]) -> str:
    """What was asked about: "NC3 of Adam = 0.3282..., in results/mini/tables/table_2.csv"."""
    if "run" in subject:
        return f"run {subject['run']} of study {subject['study']}"
    where = subject["file"]
    if "column" in subject:
        value = "not found" if subject["value"] is None else subject["value"] or "empty"
        status = f" ({subject['status']})" if subject.get("status") else ""
        return f"{subject['column']} of {subject['row']} = {value}{status}, in {where}"
    return f"row {subject['row']} of {where}" if "row" in subject else where


def link_lines(name: str, its: Sequence[Link], words: Sequence[str]) -> list[str]:
    """A link's words, then its files as sha256sum prints them, with their states."""
    files = list(dict.fromkeys(file for one in its for file in one.files))
    shown = files if len(files) <= MOST_FILES else [file for file in files if file.state != links.OK]
    listed = [f"{STATES[f.state]:<8} {f.sha256 or '-':<{HASH_LENGTH}}  {f.path}" for f in shown]
    if len(shown) < len(files):
        listed.append(f"ok       {len(files) - len(shown)} files of {len(its)} packs")
    listed += [f"no record {one.record_file}: made by an older version" for one in its if one.unrecorded]
    listed += [f"BROKEN   {words}" for one in its for words in one.problems]
    head = paragraph(name, words) if any(words) else []
    labels = [name, *[""] * len(listed)] if not head else [""] * len(listed)
    return head + [f"{label:<{LABEL}}{line}" for label, line in zip(labels, listed, strict=False)]


def run_lines(found: Lineage) -> list[str]:
    """The one run with its settings and how it went; of several, how many."""
    if found.run is None:
        return paragraph("runs", [f"{len(found.keys)} runs; --row KEY follows one of them"])
    facts = found.run
    settings = ", ".join(
        f"{name} {facts[name]}" for name in SHOWN_SETTINGS if facts[name] != UNSAID.get(name)
    )
    ended = facts["status"] or "how it ended is not known"
    ended += f": {facts['reason']}" if facts["reason"] else ""
    if facts["epochs_done"] is not None:
        ended += f"; {facts['epochs_done']} epochs in {facts['seconds']:.1f} s, {facts['device']}"
        ended += f", {facts['threads']} threads, torch {facts['torch_version']}, {facts['kernels']} kernels"
        ended += f", protocol {facts['protocol']}"
    by = f"{facts['code']}, commit {facts['commit']}" if facts["code"] else "that was not recorded"
    trained = [] if facts["status"] == "missing" else [f"trained by code {by}"]
    asked = f"{facts['key']}" + (f", of {', '.join(facts['experiments'])}" if facts["experiments"] else "")
    return paragraph("run", [asked, settings, ended, *trained])


def metric_facts(found: Lineage) -> dict[str, Any] | None:
    """The convention in which the metrics were computed, what the cell's metric is in it, and the run's."""
    made = [one for one in found.links if one.name == "metrics" and one.record is not None]
    names = {one.record["params"]["convention"] for one in made}
    names = sorted(names | {about["convention"] for about in evidence.abouts(found.links)})
    if len(names) != 1:
        return {"conventions": names} if names else None
    known = CONVENTIONS[names[0]] | DIAGNOSTICS | CENTRED
    metric = re.sub("_(init|change)$", "", found.subject.get("column") or "")
    if metric not in known:
        return {"convention": names[0]}
    facts = {"convention": names[0], "metric": metric, "is": (known[metric].__doc__ or "").split("\n")[0]}
    return facts | ({"of_run": metric_of_run(metric, found)} if len(found.keys) == 1 else {})


def metric_of_run(metric: str, found: Lineage) -> float | None:
    """The metric of the one run, where it was first written; None where that cannot be trusted."""
    for one in filter(links.is_sound, found.links):
        for file in one.files:
            table = metrics_in(one, file.path)
            if table is not None and len(its := table[table["key"] == found.keys[0]]):
                return plain(its[metric].iloc[0])
    return None


def metrics_in(one: Link, file: Path) -> pd.DataFrame | None:
    """The runs' metrics where a link's file is where they were first written; None elsewhere."""
    if (one.name, file.name) not in NUMBERS:
        return None
    return evidence.runs_table(one) if one.name == evidence.EVIDENCE else read_parquet(file)


def metric_words(found: Lineage) -> str:
    """`metric_facts` as a sentence; nothing where nothing is recorded."""
    facts = metric_facts(found)
    if facts is None:
        return ""
    if "metric" in facts:
        its = f"; {facts['of_run']!r} of this run" if facts.get("of_run") is not None else ""
        return f"{facts['metric']}{its}. Convention {facts['convention']}: {facts['is']}"
    return "convention " + (facts.get("convention") or ", ".join(facts["conventions"]))


def code_lines(made: Sequence[Link]) -> list[str]:
    """By commit, the digest of every job's code; and which is no longer the code here."""
    by_commit: dict[str, list[str]] = {}
    other = []
    for one in made:
        code, name = one.record["code"], Path(one.record["code"]["script"]).name
        by_commit.setdefault(commit_words(code), []).append(f"{name} {code['digest']}")
        other += [name] if not links.job_facts(one)["same_code_here"] else []
    said = [f"commit {state}: {', '.join(dict.fromkeys(words))}" for state, words in by_commit.items()]
    said += [f"the code here is another today: {', '.join(dict.fromkeys(other))}"] if other else []
    return paragraph("code", said) if made else []


def environment_lines(made: Sequence[Link]) -> list[str]:
    """Python, packages, device, threads; and when the jobs ran."""
    said = []
    for one in made:
        found = one.record["environment"]
        packages = ", ".join(f"{name} {number}" for name, number in found["packages"].items())
        said.append(f"Python {found['python']}, {found['system']}; {packages}")
    times = [
        f"{' '.join([one.record['rule'], *one.record['wildcards'].values()])}: {one.record['started']}, "
        f"{one.record['seconds']:.1f} s, {one.record['device']}, threads {one.record['threads']}"
        for one in made
    ]
    if len(times) > 2 * MOST_FILES:
        times = [f"{len(times)} jobs from {min(o.record['started'] for o in made)} on; --json has each"]
    return (paragraph("environment", dict.fromkeys(said)) + paragraph("jobs", times)) if made else []


def verdict_lines(chain: Sequence[Link]) -> list[str]:
    """How much is verified; what is not."""
    files = dict.fromkeys(file for one in chain for file in one.files)
    sound = sum(file.state == links.OK for file in files)
    if not (problems := links.verdict(chain)):
        return ["", f"verified: all {sound} files are as recorded when they were made"]
    return ["", f"NOT verified: {sound} of {len(files)} files are as recorded when they were made", *problems]
