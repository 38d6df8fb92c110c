"""`collapse evidence`: what `collapse train` measured of an experiment, as a few small files for git.

Checkpoints and what was measured on the way stay where they are. A call adds what was trained since, here or
on another machine, to what there is: a run that is there already is replaced by the one trained now.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from collapse.lineage.audit import links
from collapse.measuring.collect import (
    OF_HISTORY_METRICS,
    OF_METRICS,
    OF_OUTCOMES,
    TRAINED_COLUMNS,
    joined,
    on_run_table,
    stacked,
    with_validity,
)
from collapse.measuring.evidence_files import (
    ABOUT,
    DEPTH,
    STATISTICS,
    EvidenceError,
    require_training,
    same_runs,
    tables_in,
    under_known_keys,
)
from collapse.measuring.evidence_tables import (
    Evidence,
    both,
    only,
    read_evidence,
    require_same_metrics,
    write_evidence,
)
from collapse.measuring.results import DEPTH_COLUMNS, OUTCOME, RUN_COLUMNS, with_kernels
from collapse.paper.selection import run_name
from collapse.study.depth import EXPERIMENT
from collapse.study.parameters import load_parameters
from collapse.study.runs import chosen_runs, records, run_table, valid_accuracies
from collapse.study.settings import SETTINGS
from collapse.training.pack_files import key_of, read_table, read_tensors

# What is read of a pack: its tables, and of each the columns.
OF_A_PACK = {
    "histories": ("history.parquet", TRAINED_COLUMNS),
    "outcomes": ("outcomes.parquet", OF_OUTCOMES),
    "metrics": ("metrics.parquet", OF_METRICS),
    "history_metrics": ("history_metrics.parquet", OF_HISTORY_METRICS),
}
NEEDED = (STATISTICS, *(name for name, _ in OF_A_PACK.values()))
IN_WORDS = ["learning_rate", "momentum", "weight_decay"]  # of every run, beside what else tells runs apart
MADE_ON = [name for name in OUTCOME if name not in ("status", "reason", "epochs_done", "seconds")]
FRACTIONS = {name: kind for name, kind in SETTINGS.items() if kind is float}  # NaN, not None, where none is
MOST_NAMED = 6  # missing runs in the line of an experiment


def run(arguments: argparse.Namespace) -> int:
    """The command. Raises ParameterError, EvidenceError and PackFileError; then nothing is written."""
    parameters = load_parameters(arguments.params)
    require_training(parameters, arguments.study)
    table = run_table(parameters, arguments.study).astype(FRACTIONS)
    chosen_runs(table, arguments.experiment)  # which are known, or it raises
    results, out = arguments.results / arguments.study, arguments.out / arguments.study
    accuracies = valid_accuracies(parameters, arguments.study)
    planned = {name: table[table.experiment == name] for name in arguments.experiment}
    measured = {name: measured_runs(its, folder=results) for name, its in planned.items()}
    merged = {
        name: with_earlier(new, planned[name], place=out / name, accuracies=accuracies)
        for name, new in measured.items()
    }
    for name, evidence in merged.items():
        words = in_words(under_known_keys(planned[name], evidence.runs))
        missing = {key: words[key] for key in words if key not in evidence.made}
        write_evidence(evidence, out / name, study=arguments.study, experiment=name, missing=missing)
        print(summary(out / name, planned[name], missing))
    return 0


def measured_runs(table: pd.DataFrame, *, folder: Path) -> Evidence:
    """What the packs in a study's results have of the runs of an experiment. Raises EvidenceError.

    A run that several packs have, the workflow's and one of a part of its runs, is that of the workflow's.
    """
    [experiment] = table.experiment.unique()
    needed = (*NEEDED, DEPTH) if experiment == EXPERIMENT else NEEDED
    packs = dict(packs_with(table, folder=folder, needed=needed))
    if not packs:
        raise EvidenceError(
            f"no run of {experiment} is trained and measured in {folder}; "
            f"`collapse train --study {folder.name} --experiment {experiment}` does both"
        )
    statistics, made = {}, {}
    for pack, keys in packs.items():
        require_as_recorded(pack, results=folder, needed=needed)
        its = read_tensors(pack / STATISTICS)
        statistics |= {name: tensor for name, tensor in its.items() if key_of(name) in keys}
        made |= made_by(pack, keys, results=folder)
    tables = {kind: of_packs(packs, *named) for kind, named in OF_A_PACK.items()}
    depth = of_packs(packs, DEPTH, DEPTH_COLUMNS) if DEPTH in needed else None
    found = Evidence(*joined(table[table.key.isin(made)], **tables), statistics, made, depth)
    require_same_metrics(found)
    return found


def packs_with(
    table: pd.DataFrame, *, folder: Path, needed: Sequence[str]
) -> Iterator[tuple[Path, set[str]]]:
    """The packs that have measured runs of the table, each with those that no pack before it has."""
    of_workflow = [folder / "packs" / pack for pack in dict.fromkeys(table.pack)]
    wanted = set(table.key)
    for pack in (*of_workflow, *sorted(set(folder.glob("packs/*/")) - set(of_workflow))):
        if keys := measured_keys(pack, needed) & wanted:
            wanted -= keys
            yield pack, keys


def measured_keys(pack: Path, needed: Sequence[str]) -> set[str]:
    """The runs of a pack that were done or diverged, and were measured. Raises PackFileError."""
    if not all((pack / name).exists() for name in needed):
        return set()
    on_the_way, at_the_end = (
        set(read_table(pack / f"{name}.parquet").key) for name in ("history_metrics", "metrics")
    )
    outcomes = read_table(pack / "outcomes.parquet")
    done, diverged = (set(outcomes.key[outcomes.status == status]) for status in ("done", "diverged"))
    found = on_the_way & (diverged | done & at_the_end)
    return found & set(read_table(pack / DEPTH).key) if DEPTH in needed else found


def require_as_recorded(pack: Path, *, results: Path, needed: Sequence[str]) -> None:
    """That what is read of a pack is as its jobs recorded it, where they did. Raises EvidenceError."""
    of_depth = [("depth", "measure_depth/{}", (DEPTH,))] if DEPTH in needed else []
    for name, record, files in (*links.OF_A_PACK, *of_depth):
        read = [pack / file for file in files if file in needed]
        one = links.link(name, read, folder=results, record=record.format(pack.name))
        changed = [file.path for file in one.files if file.state == links.CHANGED]
        if one.problems or changed:
            words = (one.problems or [f"{changed[0]}: its bytes are not those recorded when it was made"])[0]
            remedy = "delete it and its pack's history_metrics.parquet, and `collapse train` makes them again"
            raise EvidenceError(f"{words}; {remedy}")


def of_packs(packs: Mapping[Path, set[str]], name: str, columns: Sequence[str]) -> pd.DataFrame:
    """One table of all packs, of each the runs that are taken from there."""
    tables = {pack: stacked([pack / name], columns) for pack in packs}
    return pd.concat(
        [table[table.key.isin(packs[pack])] for pack, table in tables.items()], ignore_index=True
    )


def made_by(pack: Path, keys: set[str], *, results: Path) -> dict[str, dict[str, Any]]:
    """By key, on what and by whose code a run was trained; and the job that wrote its pack, where recorded.

    Packs of older versions do not name the commit; the job may have trained only some of the pack's runs.
    """
    one = links.link("checkpoint", [pack / "outcomes.parquet"], folder=results, record=f"train/{pack.name}")
    job = one.record and {name: one.record[name] for name in ("started", "ended", "environment")}
    outcomes = read_table(pack / "outcomes.parquet").reindex(
        columns=["key", "status", *MADE_ON, "commit", "code"]
    )
    outcomes = with_kernels(outcomes).drop(columns="status")
    return {
        row["key"]: {name: row[name] for name in row if name != "key"} | {"job": job}
        for row in records(outcomes[outcomes.key.isin(keys)])
    }


def with_earlier(
    new: Evidence, table: pd.DataFrame, *, place: Path, accuracies: Mapping[str, float]
) -> Evidence:
    """The new runs, and of what is at `place` those that the experiment still has, as the run table has them.

    Runs at `place` are found by their settings. Raises EvidenceError where something there has changed.
    """
    every = new
    if any((place / name).exists() for name in (ABOUT, *tables_in(place))):
        old = read_evidence(place)
        known = same_runs(table, old.runs)
        if gone := [words["settings"] for key, words in old.made.items() if key not in known.values()]:
            print(f"{place}: no longer runs of the experiment, dropped: {'; '.join(gone)}")
        if kept := [its for key, its in known.items() if key not in new.made]:
            old = only(old, kept)
            require_same_metrics(old)
            every = both(new, old)
    table = under_known_keys(table, every.runs)
    every = only(every, [key for key in table.key if key in every.made])
    runs = with_validity(on_run_table(table[table.key.isin(every.made)], every.runs), accuracies)
    words = in_words(table)
    made = {key: facts | {"settings": words[key]} for key, facts in every.made.items()}
    return every._replace(runs=runs[RUN_COLUMNS], made=made)


def in_words(table: pd.DataFrame) -> dict[str, str]:
    """The runs of an experiment by key: "SGD at learning rate 0.0679, momentum 0.9, weight decay 0.0005"."""
    varying = [name for name in SETTINGS if table[name].nunique(dropna=False) > 1]
    shown = [name for name in SETTINGS if name != "optimizer" and name in {*IN_WORDS, *varying}]
    return {row["key"]: run_name(row, by=shown) for _, row in table.iterrows()}


def summary(place: Path, table: pd.DataFrame, missing: Mapping[str, str]) -> str:
    """ "evidence/core/table_2: 5 of 6 runs, 0.61 MB; missing: SignumW at learning rate 0.001, ..."."""
    size = sum((place / name).stat().st_size for name in (ABOUT, *tables_in(place)))
    named = list(missing.values())[:MOST_NAMED]
    named += [f"and {len(missing) - len(named)} more"] if len(missing) > len(named) else []
    lacking = f"; missing: {'; '.join(named)}" if named else ""
    return f"{place}: {len(table) - len(missing)} of {len(table)} runs, {size / 1e6:.2f} MB{lacking}"
