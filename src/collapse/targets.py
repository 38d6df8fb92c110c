"""What a table or figure of the paper means in a study: its settings there, and how far it is scaled."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collapse.datasets.registry import DATASETS
from collapse.optimizers import OPTIMIZERS
from collapse.parameters import PROJECT_ROOT, ParameterError, suggestion, walk
from collapse.results import FIT, MEASURES

REFERENCE_STUDY = "paper"
SCRIPTS = PROJECT_ROOT / "workflow/scripts"
# How the face of a scaled-down study's figure says that a setting is not the paper's.
SCALED = {
    "architecture": "{}",
    "width": "width {}",
    "image_size": "{0}x{0} images",
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
}


def targets_of(parameters: Mapping[str, Any], study: str, kind: str) -> dict[str, dict[str, Any]]:
    """The tables or figures (`kind`) whose experiment the study has, by name."""
    known = parameters["studies"][study]["experiments"]
    return {
        name: target for name, target in parameters[kind].items() if target["settings"]["experiment"] in known
    }


def target_settings(parameters: Mapping[str, Any], study: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a table or figure, with the study's stand-in for the dataset they name."""
    stand_ins = parameters["studies"][study].get("stand_ins", {})
    resolved = dict(settings)
    if resolved.get("dataset") in stand_ins:
        resolved["dataset"] = stand_ins[resolved["dataset"]]
    return resolved


def scale_note(parameters: Mapping[str, Any], study: str, experiment: str) -> str | None:
    """What stands on the face of a table or figure of a scaled-down experiment.

    It names every setting of which the experiment has a value that the paper's own has not. None when
    there is none: then the experiment is the paper's.
    """
    studies = parameters["studies"]
    if REFERENCE_STUDY not in studies:
        raise ParameterError(
            f"params.yaml: studies: {REFERENCE_STUDY!r} is missing; it says what scaled means"
        )
    ours, papers = settings_of(studies[study], experiment), settings_of(studies[REFERENCE_STUDY], experiment)
    parts = [
        f"{ours_instead} stands in for {named}"
        for named, ours_instead in studies[study].get("stand_ins", {}).items()
    ]
    for name, text in SCALED.items():
        if not_the_papers := sorted(ours.get(name, set()) - papers.get(name, set())):
            parts.append(text.format(", ".join(f"{value}" for value in not_the_papers)))
    if not parts:
        return None
    return f"{study} study, not the paper's scale: {'; '.join(parts)}"


def settings_of(study: Mapping[str, Any], experiment: str) -> dict[str, set]:
    """Every value that the runs of an experiment have of every setting that params.yaml gives."""
    found = study["experiments"].get(experiment, {"rows": [{}]})
    values: dict[str, set] = {"weight_decay_scale": set()}
    for row in found["rows"]:
        merged = {"weight_decay_scale": 1, **study["defaults"], **found.get("axes", {}), **row}
        for name, value in merged.items():
            values.setdefault(name, set()).update(value if isinstance(value, list) else [value])
    return values


def check_targets(parameters: Mapping[str, Any]) -> None:
    """That every table and figure can be drawn, before anything is trained. Raises ParameterError."""
    experiments = {name for study in parameters["studies"].values() for name in study["experiments"]}
    known = {
        "experiment": experiments,
        "dataset": set(DATASETS),
        "optimizer": set(OPTIMIZERS),
        "optimizers": set(OPTIMIZERS),
        "metric": {*MEASURES, *FIT, "running_loss"},
        "metrics": {*MEASURES, *FIT, "running_loss"},
        "pairs": {*MEASURES, *FIT},
    }
    theory, tables, figures = parameters["theory"], parameters["tables"], parameters["figures"]
    for kind, function, section, targets in (
        ("tables", "make", "tables", tables),
        ("figures", "draw", "figures", figures),
        ("tables", "make", "theory", {"table_1": theory["table_1"]}),
        ("figures", "draw", "theory", {"theory": theory["theory"]}),
    ):
        scripts = {path.stem: path for path in sorted((SCRIPTS / kind).glob("*.py"))}
        for name, target in targets.items():
            where = f"params.yaml: {section}.{name}"
            if target["script"] not in scripts:
                remedy = suggestion(target["script"], list(scripts))
                raise ParameterError(f"{where}.script: no script {target['script']!r}; {remedy}")
            check_arguments(target["settings"], scripts[target["script"]], function, where=where)
            check_names(target["settings"], known, where=where)


def check_names(settings: Mapping[str, Any], known: Mapping[str, set], *, where: str) -> None:
    """That experiments, optimizers and metrics in a target's settings exist. Raises ParameterError."""
    for path, value in walk(settings):
        key = next(part for part in reversed(path) if isinstance(part, str))  # the innermost: "metric"
        if key in known and value is not None and value not in known[key]:
            remedy = suggestion(str(value), sorted(known[key]))
            raise ParameterError(f"{where}.settings: unknown {key} {value!r}; {remedy}")


def check_arguments(settings: Mapping[str, Any], script: Path, function: str, *, where: str) -> None:
    """That the settings are the keyword arguments of a script's function. Raises ParameterError."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    found = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)
    arguments = [argument.arg for argument in found.args.kwonlyargs]
    for name in settings:
        if name not in arguments:
            raise ParameterError(f"{where}.settings: unknown key {name!r}; {suggestion(name, arguments)}")
    for name in arguments:
        if name not in settings:
            raise ParameterError(f"{where}.settings: the key {name!r} is missing; add it")
