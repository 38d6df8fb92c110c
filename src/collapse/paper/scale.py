"""How far a study is from the paper's scale, in words: the note on the face of its tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from collapse.optimizers import OPTIMIZERS
from collapse.paper.selection import EXTREMES, in_a_row
from collapse.paper.targets import (
    chosen_runs,
    rows_of,
    stand_ins_of,
    values_of,
)
from collapse.study.entries import as_list
from collapse.study.families import family_of
from collapse.study.parameters import ParameterError

# How the face of a scaled-down study's figure says that a setting is not the paper's.
SCALED = {
    "architecture": "{}",
    "width": "width {}",
    "image_size": "images of {} pixels a side",
    "train_size": "{} training images",
    "epochs": "{} epochs",
    "batch_size": "batch {}",
    "schedule": "schedule {}",
    "learning_rate": "learning rate {}",
    "momentum": "momentum {}",
    "weight_decay_scale": "weight decay x {}",
    "augmentation": "augmentation {}",
    "beta2": "beta2 {}",
    "epsilon": "epsilon {}",
    "seed": "seed {}",
    "relu_layers": "{} ReLU layers",
    "linear_layers": "{} linear layers",
}
# The same of features that are trained without a network.
SCALED_UNCONSTRAINED = {
    "num_classes": "{} classes",
    "samples_per_class": "{} samples a class",
    "num_features": "{} features",
    "steps": "{} steps",
}


def scale_note(
    parameters: Mapping[str, Any],
    study: str,
    experiment: str,
    *,
    architecture: str | None = None,
    dataset: str | None = None,
    optimizers: Sequence[str] | None = None,
    wheres: Sequence[Mapping[str, Any]] = ({},),
) -> str | None:
    """What stands on the face of a table or figure of a scaled-down experiment.

    It names every setting of which the experiment's runs (those of an architecture, of a dataset
    of the paper and of optimizers, where given, and as one of `wheres` narrows them) have a value that
    the paper's own of the same optimizer have not; in brackets the optimizers, where it is not so with all
    of them. None when there is none: then they are the paper's.
    """
    studies = parameters["studies"]
    reference = family_of(studies[study]).reference_study
    if reference not in studies:
        raise ParameterError(f"params.yaml: studies: {reference!r} is missing; it says what scaled means")
    stand_ins = stand_ins_of(studies[study], experiment)
    chosen = {"architecture": architecture, "optimizers": optimizers}
    ours = rows_of(studies[study], experiment, dataset=stand_ins.get(dataset, dataset), **chosen)
    papers = rows_of(studies[reference], experiment, dataset=dataset, **chosen)
    ours, papers = ([row for where in wheres for row in rows_where(rows, where)] for rows in (ours, papers))
    datasets = values_of(ours).get("dataset", set())
    parts = [
        f"{ours_instead} stands in for {named}"
        for named, ours_instead in stand_ins.items()
        if ours_instead in datasets and dataset in (None, named)
    ]
    ours_by, papers_by, all_papers = values_by_optimizer(ours), values_by_optimizer(papers), values_of(papers)
    for name, text in SCALED.items():
        for values in not_the_papers(name, ours_by, papers_by, all_papers):
            parts.append(text.format(values))
    if not parts:
        return None
    return f"{study} study, not the paper's scale: {'; '.join(parts)}"


def values_by_optimizer(rows: Sequence[dict]) -> dict[str, dict[str, set]]:
    """By optimizer of the rows, in the registry's order, `values_of` its rows."""
    ran = {each for row in rows for each in as_list(row.get("optimizer"))}
    return {
        optimizer: values_of([row for row in rows if optimizer in as_list(row.get("optimizer"))])
        for optimizer in OPTIMIZERS
        if optimizer in ran
    }


def not_the_papers(
    name: str,
    ours: Mapping[str, Mapping[str, set]],
    papers: Mapping[str, Mapping[str, set]],
    all_papers: Mapping[str, set],
) -> list[str]:
    """The values of a setting that only our rows have: ["0.003 (some runs of Adam and AdamW)"].

    ours, papers: values by optimizer. all_papers: of the paper's whole experiment, with which an optimizer
    is compared that the paper's experiment does not have.
    """
    every, of_words = [], {}
    for optimizer, its in ours.items():
        here = its.get(name, set())
        there = papers.get(optimizer, {}).get(name) or all_papers.get(name, set())
        if other := sorted(here - there):
            some = "" if here == set(other) else "some runs of "
            of_words.setdefault((", ".join(f"{value}" for value in other), some), []).append(optimizer)
    for (values, some), names in of_words.items():
        if len(names) < len(ours) or (some and len(ours) == 1):
            every.append(f"{values} ({some}{in_a_row(names)})")
        else:
            every.append(f"{values} ({some.removesuffix(' of ')})" if some else values)
    return every


def rows_where(rows: Sequence[dict], where: Mapping[str, Any]) -> list[dict]:
    """The rows of an experiment with those values alone that `where` (collapse.paper.selection) lets pass."""
    for name, wanted in where.items():
        if wanted is None:
            continue
        scaled = [scaled_values(row, name) for row in rows]
        if isinstance(wanted, str) and wanted in EXTREMES:
            ends = {"smallest": min, "largest": max}
            wanted = ends[wanted]((value for its in scaled for value in its.values()), default=None)
        rows = [
            row | {name: kept}
            for row, its in zip(rows, scaled, strict=True)
            if (kept := [value for value, run in its.items() if run in as_list(wanted)])
        ]
    return list(rows)


def scaled_values(row: Mapping[str, Any], name: str) -> dict[Any, Any]:
    """A row's values of a setting, and what its runs have: a weight decay times its scale."""
    scale = row.get("weight_decay_scale", 1) if name == "weight_decay" else None
    return {value: value * scale if scale else value for value in as_list(row.get(name))}


def target_note(
    parameters: Mapping[str, Any], study: str, settings: Mapping[str, Any], *, tables: Sequence[str] = ()
) -> str:
    """`scale_note` of the runs that a table or figure with these settings shows, or that it is the paper's.

    Of a figure that shows one run an optimizer, that of the smallest metric, it speaks of all candidates.
    tables: that it is made of. Of unconstrained features alone it says their numbers, not a network's.
    """
    if list(tables) == ["ufm"]:
        return unconstrained_note(parameters, study)
    if "experiment" not in settings:
        return shared_note(scale_notes(parameters, study)) or f"{study} study, as published"
    wheres = [part.get("where") or {} for part in settings.get("panels") or [settings]]
    note = scale_note(parameters, study, settings["experiment"], **chosen_runs(settings), wheres=wheres)
    if note and settings.get("run_of_smallest"):
        note = note.replace("(some runs", "(some candidates")
    return note or f"{study} study, at the paper's scale"


def unconstrained_note(parameters: Mapping[str, Any], study: str) -> str:
    """Which numbers of a study's unconstrained features are not those of its family's reference study."""
    studies = parameters["studies"]
    reference = studies[family_of(studies[study]).reference_study]
    ours, papers = (its.get("unconstrained_features", {}) for its in (studies[study], reference))
    parts = [
        text.format(ours[name])
        for name, text in SCALED_UNCONSTRAINED.items()
        if name in ours and ours[name] != papers.get(name)
    ]
    if not parts:
        return f"{study} study, at the paper's scale"
    return f"{study} study, not the paper's scale: {'; '.join(parts)}; no network"


def scale_notes(parameters: Mapping[str, Any], study: str) -> dict[str, str | None]:
    """`scale_note` of every experiment of a study."""
    return {name: scale_note(parameters, study, name) for name in parameters["studies"][study]["experiments"]}


def shared_note(notes: Mapping[str, str | None]) -> str | None:
    """What the notes of all experiments have in common, for a figure of all runs; None where none has one."""
    scaled = [note for note in notes.values() if note]
    if not scaled:
        return None
    opening, *_ = scaled[0].split(": ")
    parts = [note.removeprefix(f"{opening}: ").split("; ") for note in scaled]
    shared = [part for part in parts[0] if all(part in others for others in parts)]
    return f"{opening}: {'; '.join([*shared, 'by experiment: on the first page of the report'])}"


def experiments_by_note(notes: Mapping[str, str | None]) -> dict[str | None, str]:
    """The names of the experiments that share a note, by note."""
    names: dict[str | None, list[str]] = {}
    for name, note in notes.items():
        names.setdefault(note, []).append(name)
    return {note: ", ".join(its) for note, its in names.items()}


def face_note(notes: Mapping[str, str | None]) -> str | None:
    """The notes of several experiments as one: each note once, after the experiments it is of."""
    experiments = experiments_by_note(notes)
    if len(experiments) < 2:
        return next(iter(experiments), None)
    opening = next(note for note in experiments if note).split(": ")[0] + ": "  # the same in every note
    parts = [
        f"{names}: {note.removeprefix(opening) if note else 'as the paper'}"
        for note, names in experiments.items()
    ]
    return opening + " | ".join(parts)
