"""`collapse record`, `restore`, `changed` and `snapshot`."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from collapse.files.atomic import write_atomically
from collapse.lineage.versions import stored, tools
from collapse.lineage.versions.snakemake_records import VersionError, restore_records, write_archive
from collapse.study.parameters import load_parameters

RECORDED = Path("workflow/recorded.yaml")
NO_CLONE = "this folder is no clone, without which DVC has no versions; git clone instead of a download has"
SHOWN = 10  # problems, a line each


def snapshot(study: str) -> int:
    """Write the archive of Snakemake's records (`snakemake_records`). Raises VersionError."""
    print(write_archive(study))
    return 0


def record(study: str) -> int:
    """dvc.lock from what is there, where Snakemake calls it finished. Raises VersionError.

    A study of evidence has none of the outputs that training has, and is made again from git in a minute.
    """
    stored.require_no_conflict(study)
    if planned := tools.planned_jobs(study):
        raise VersionError(
            f"results/{study} is not what params.yaml, targets.yaml and the code now say: "
            "Snakemake would run "
            f"{tools.jobs_in_words(planned)}; make study STUDY={study} runs and records it"
        )
    if folder := load_parameters("params.yaml")["studies"][study].get("evidence"):
        print(f"results/{study} is made of {folder}, which git has: nothing for DVC to keep")
        return 0
    if not tools.is_clone():
        print(f"results/{study} is made, and no version of it is recorded: {NO_CLONE}")
        return 0
    write_archive(study)
    add_to_recorded(study)
    tools.commit(study)
    return changed(study)


def add_to_recorded(study: str) -> None:
    """Let dvc.yaml have stages of the study; the comments above the list stay. Raises VersionError."""
    text = RECORDED.read_text(encoding="utf-8") if RECORDED.is_file() else ""
    try:
        known = (yaml.safe_load(text) or {}).get("recorded") or []
    except (yaml.YAMLError, AttributeError):
        raise VersionError(f"{RECORDED} is not a list of studies under `recorded:`; mend it") from None
    if study not in known:
        comments = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
        added = comments + yaml.safe_dump({"recorded": [*known, study]})
        write_atomically(RECORDED, lambda partial: partial.write_text(added, encoding="utf-8"))


def changed(study: str) -> int:
    """Print what both tools say; 0 where both say up to date. Raises VersionError."""
    stored.require_no_conflict(study)
    planned, stages = tools.planned_jobs(study), tools.changed_stages(study) if tools.is_clone() else None
    print(f"Snakemake: results/{study}: " + (tools.jobs_in_words(planned) if planned else "up to date"))
    if stages is None:
        print(f"DVC: {NO_CLONE}")
        return int(bool(planned))
    print(f"DVC: results/{study}: " + (", ".join(stages) if stages else "up to date"))
    for stage, words in stages.items():
        for line in words:
            print(f"    {stage}: {line}")
    return int(bool(planned or stages))


def restore(study: str) -> int:
    """The results of dvc.lock, verified before a file is touched; then `changed`. Raises VersionError."""
    if not tools.is_clone():
        raise VersionError(f"no results to bring back: {NO_CLONE}")
    stored.require_no_conflict(study)
    outputs, cache = stored.outputs_of(study), tools.cache_folder()
    said = ""
    if "missing" in stored.unusable(outputs, cache=cache).values():
        fetched = tools.call("dvc", "fetch", *stored.stages_of(study))
        said = tools.last_words(fetched) if fetched.returncode else ""
    if problems := stored.unusable(outputs, cache=cache):
        lines = [
            f"{one.path}: {problem} ({stored.in_cache(cache, one.md5)})" for one, problem in problems.items()
        ]
        remedy = "delete a corrupted object there and in the remote; `dvc push` where the results are whole"
        raise VersionError(
            shortened(f"nothing was restored; {remedy}{said and f' (dvc fetch: {said})'}", lines)
        )
    files = {one.path: one.md5 for one in stored.files_in(outputs, cache=cache)}
    if lost := stored.unsaved(outputs, files, cache=cache):
        lines = [f"{path}: its bytes are nowhere else" for path in lost]
        raise VersionError(
            shortened(f"nothing was restored; make record STUDY={study}, or delete them", lines)
        )
    tools.checked("dvc", "checkout", *stored.stages_of(study))
    restore_records(study)
    print(f"{len(files)} files of results/{study} restored", file=sys.stderr)
    return changed(study)


def shortened(head: str, lines: list[str]) -> str:
    """A message of one line, then a line each; of many the first few."""
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "\n    ".join([head, *lines[:SHOWN], *more])
