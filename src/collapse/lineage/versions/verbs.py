"""`collapse record`, `restore`, `changed` and `snapshot`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from collapse.files.atomic import write_atomically
from collapse.lineage.versions import stored, tools
from collapse.lineage.versions.snakemake_records import VersionError, restore_records, write_archive
from collapse.lineage.versions.stored import Stored
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


def recorded_studies() -> list[str]:
    """The studies of which dvc.yaml has stages. Raises VersionError."""
    text = RECORDED.read_text(encoding="utf-8") if RECORDED.is_file() else ""
    try:
        return (yaml.safe_load(text) or {}).get("recorded") or []
    except (yaml.YAMLError, AttributeError):
        raise VersionError(f"{RECORDED} is not a list of studies under `recorded:`; mend it") from None


def add_to_recorded(study: str) -> None:
    """Let dvc.yaml have stages of the study; the comments above the list stay. Raises VersionError."""
    if study not in (known := recorded_studies()):
        text = RECORDED.read_text(encoding="utf-8") if RECORDED.is_file() else ""
        comments = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
        added = comments + yaml.safe_dump({"recorded": [*known, study]})
        write_atomically(RECORDED, lambda partial: partial.write_text(added, encoding="utf-8"))


def changed(study: str) -> int:
    """Print what both tools say; 0 where both say up to date. Raises VersionError."""
    stored.require_no_conflict(study)
    planned = tools.planned_jobs(study)
    print(f"Snakemake: results/{study}: " + (tools.jobs_in_words(planned) if planned else "up to date"))
    if folder := load_parameters("params.yaml")["studies"][study].get("evidence"):
        print(f"DVC: results/{study}: made of {folder}, which git has")
        return int(bool(planned))
    if not tools.is_clone():
        print(f"DVC: {NO_CLONE}")
        return int(bool(planned))
    if study not in recorded_studies():
        print(f"DVC: results/{study}: never recorded; make study STUDY={study} makes and records it")
        return 1
    stages = tools.changed_stages(study)
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
        raise VersionError(not_restored(study, problems, cache=cache, said=said))
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


def not_restored(study: str, problems: Mapping[Stored, str], *, cache: Path, said: str) -> str:
    """Why: what DVC's cache lacks and the remote could not give, and what to do. said: by `dvc fetch`."""
    lines = [
        f"{one.path}: {problem} ({stored.in_cache(cache, one.md5)})"
        for folder, problem in problems.items()
        for one in stored.lacking_in(folder, tools.listing_in_remote, cache=cache)
    ]
    if "missing" in problems.values() and not tools.has_remote():
        why = "DVC has no remote to fetch from what its cache lacks"
        remedy = f"dvc remote add --default NAME URL, or make study STUDY={study} makes it again"
        return shortened(f"nothing was restored; {why}: {remedy}", lines)
    remedy = "delete a corrupted object there and in the remote; `dvc push` where the results are whole"
    return shortened(f"nothing was restored; {remedy}{said and f' (dvc fetch: {said})'}", lines)


def shortened(head: str, lines: list[str]) -> str:
    """A message of one line, then a line each; of many the first few."""
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "\n    ".join([head, *lines[:SHOWN], *more])
