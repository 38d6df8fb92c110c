"""What in a study's results its settings ask for no more: `collapse prune` removes it, crates lack it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from collapse.measuring.evidence_files import measured_experiments
from collapse.paper.target_checks import is_table
from collapse.paper.targets import targets_of
from collapse.study.families import of_family, without_prefix
from collapse.study.runs import run_table
from collapse.study.unconstrained import FOLDER, unconstrained_rows
from collapse.training.pack_lock import holder_lives

# Rules with a job a pack.
OF_PACKS = ("train", "extract_statistics", "measure", "measure_depth", "measure_layers")
OF_STUDY = ("collect", "collect_further", "explorer", "key_numbers", "summary")
OF_JOBS = {"lineage": ".json", "logs": ".log", "benchmarks": ".tsv"}  # what jobs leave beside their results


class Members(NamedTuple):
    """What a study is made of, by name; of packs also those of unconstrained features. keys: of its runs."""

    packs: set[str]
    datasets: set[str]
    tables: set[str]
    figures: set[str]
    keys: set[str]

    def jobs(self) -> set[str]:
        """The names of their records: "train/{pack}", "figure_7"."""
        of_packs = {f"{rule}/{pack}" for rule in OF_PACKS for pack in self.packs}
        of_datasets = {f"prepare_dataset/{dataset}" for dataset in self.datasets}
        of_packs |= {pack.replace(FOLDER, "unconstrained_features/", 1) for pack in self.packs}
        return of_packs | of_datasets | self.tables | self.figures | set(OF_STUDY)


def members_of(parameters: Mapping[str, Any], study: str) -> Members:
    """What params.yaml and targets.yaml ask for. Raises ParameterError, EvidenceError."""
    table = run_table(parameters, study)
    studies = {**parameters["studies"], study: measured_experiments(parameters, study)}
    parameters = {**parameters, "studies": studies}
    trains = "evidence" not in studies[study]
    theory = of_family(studies[study], parameters["theory"])
    tables = {name for name in theory if is_table(name)}
    return Members(
        packs=(set(table.pack) if trains else set())
        | {f"{FOLDER}{optimizer}" for optimizer in unconstrained_rows(studies[study])},
        datasets=set(table.dataset) if trains else set(),
        tables=tables
        | {without_prefix(name) for name in of_family(studies[study], parameters["analysis"])}
        | {*targets_of(parameters, study, "tables")},
        figures=(theory.keys() - tables) | {*targets_of(parameters, study, "figures")},
        keys=set(table.key),
    )


def with_needed_packs(members: Members, folder: Path) -> Members:
    """The same with the former packs that have a run of the study which no pack of the study has.

    Training takes such runs over (collapse.training.reuse). Raises PackFileError.
    """
    from collapse.training.reuse import keys_in  # with torch, which a crate can do without

    own = [keys_in(folder / "packs" / pack / "outcomes.parquet") for pack in members.packs]
    wanted = members.keys.difference(*own)
    former = [path for path in folder.glob("packs/*/") if path.name not in members.packs]
    needed = {path.name for path in former if wanted & keys_in(path / "outcomes.parquet")}
    return members._replace(packs=members.packs | needed)


def orphans(folder: Path, members: Members) -> list[Path]:
    """Files and folders of packs in a study's results that are of no member. Raises PackFileError."""
    members = with_needed_packs(members, folder)
    found = [path for path in folder.glob("packs/*/") if path.name not in members.packs]
    found += [path for path in folder.glob("unfinished/*/") if is_left_behind(path, members)]
    made = {
        "tables/*table_*.*": members.tables,
        "figures/*figure_*.*": members.figures,
        "datasets/*.safetensors": members.datasets,
    }
    for pattern, names in made.items():
        found += [file for file in folder.glob(pattern) if file.stem not in names]
    for part, suffix in OF_JOBS.items():
        for file in folder.glob(f"{part}/**/*{suffix}"):
            if file.relative_to(folder / part).with_suffix("").as_posix() not in members.jobs():
                found.append(file)
    return sorted(found)


def is_left_behind(unfinished: Path, members: Members) -> bool:
    """Whether the folder of a pack under way has no run of the study, and nobody is at it."""
    if unfinished.name in members.packs or members.keys & {path.name for path in unfinished.iterdir()}:
        return False
    try:
        return holder_lives(unfinished) is False
    except OSError:
        return True  # no lock


def size_of(path: Path) -> int:
    """Bytes of a file or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
