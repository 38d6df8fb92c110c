"""workflow/code.json: what the code of every rule does, as a digest each, for DVC to hold results against.

DVC cannot compute a digest, it compares files. Every call of Snakemake, a dry run too, keeps this one true
to the code beside it. By study it holds the digests that the rules have as `params.code`, and nothing of
where it was written: they cover the entries of the registries that the study uses.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from collapse.datasets.registry import DATASETS
from collapse.files.atomic import write_atomically
from collapse.records.code_digest import Entries, code_digest, yaml_digest
from collapse.study.entries import entries_used, rows_in
from collapse.study.families import of_family
from collapse.study.parameters import TARGETS_FILE, read_yaml
from collapse.study.runs import PROTOCOL

RULES_OF_RUNS = ("extract_statistics", "measure", "measure_depth", "collect", "collect_further")
RULES_OF_TABLES = ("key_numbers", "summary")


def code_digests(workflow: Path) -> dict[str, dict[str, Any]]:
    """By study of the params.yaml beside the folder `workflow`: see `digests_of`."""
    studies = read_yaml(workflow.parent / "params.yaml")["studies"]
    targets = read_yaml(workflow.parent / TARGETS_FILE)
    reported = yaml_digest(workflow.parent / "reference/reported.yaml")
    return {
        name: digests_of(
            workflow / "scripts",
            entries_used(studies, name),
            reported,
            drawn=scripts_of(targets, study),
            further=rules_beside(study),
        )
        for name, study in studies.items()
    }


def scripts_of(targets: Mapping[str, Any], study: Mapping[str, Any]) -> set[str]:
    """The scripts that draw the targets of the work which a study is of."""
    sections = (targets[section] for section in ("theory", "analysis", "tables", "figures"))
    of_work = [target for section in sections for target in of_family(study, section).values()]
    return {target["script"] for target in of_work if "script" in target}


def rules_beside(study: Mapping[str, Any]) -> list[str]:
    """The rules of runs that only some studies have jobs of."""
    has_layers = any("linear_layers" in row for row in rows_in(study))
    return ["measure_layers"] * has_layers + ["unconstrained_features"] * ("unconstrained_features" in study)


def digests_of(
    scripts: Path, entries: Entries, reported: str, *, drawn: set[str], further: Sequence[str]
) -> dict[str, Any]:
    """By stage of dvc.yaml: the data's checksums, the training's protocol, the digest of each script.

    entries: of the registries, those that the study uses. reported: a digest of the paper's numbers. drawn:
    the names of the scripts of its tables and figures. further: rules that it has beside every study's.
    """
    drawn = {
        kind: [file for file in sorted((scripts / kind).glob("*.py")) if file.stem in drawn]
        for kind in ("tables", "figures")
    }
    of_runs = [scripts / f"{rule}.py" for rule in (*RULES_OF_RUNS, *further)]
    of_tables = [*drawn["tables"], *(scripts / f"{rule}.py" for rule in RULES_OF_TABLES)]
    of_figures = [*drawn["figures"], scripts / "explorer.py"]
    return {
        "datasets": {name: DATASETS[name].digest for name in entries["dataset"]},
        "runs": {"train": f"protocol {PROTOCOL}"} | digests(of_runs, entries),
        "tables": digests(of_tables, entries) | {"reported": reported},
        "figures": digests(of_figures, entries) | {"explorer_page": digest_of_page(scripts.parent)},
    }


def digest_of_page(workflow: Path) -> str:
    """Of the explorer's template: HTML, style and scripts that are no Python."""
    content = [path.read_bytes() for path in sorted((workflow / "explorer").iterdir())]
    return hashlib.sha256(b"\0".join(content)).hexdigest()[:16]


def digests(scripts: Iterable[Path], entries: Entries) -> dict[str, str]:
    """The digest of each script by its name."""
    return {script.stem: code_digest(script, entries=entries) for script in scripts}


def keep_code_digests(workflow: str | Path) -> None:
    """Write code.json into the folder where it does not say what the code does now.

    Where the checkout cannot be written, nothing is: then its code is not being changed either.
    """
    file = Path(workflow) / "code.json"
    text = json.dumps(code_digests(Path(workflow)), indent=1) + "\n"
    try:
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            write_atomically(file, lambda partial: partial.write_text(text, encoding="utf-8"))
    except OSError:
        pass
