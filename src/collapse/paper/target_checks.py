"""Checks before any training that every table and figure of targets.yaml can be drawn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema

from collapse.datasets.registry import DATASETS
from collapse.measuring.results import FIT, LAYER_METRICS, MEASURES, RUN_COLUMNS
from collapse.metrics.depth import POINT_METRICS, VIEWS
from collapse.optimizers import OPTIMIZERS
from collapse.paper.layer_summaries import SUMMARIES
from collapse.paper.signatures import schema_of_arguments
from collapse.paper.targets import ALL
from collapse.study.families import without_prefix
from collapse.study.parameters import PROJECT_ROOT, TARGETS_FILE, ParameterError, describe, suggestion, walk

SCRIPTS = PROJECT_ROOT / "workflow/scripts"


def check_targets(parameters: Mapping[str, Any], *, source: str = TARGETS_FILE) -> None:
    """That every table and figure can be drawn, before anything is trained. Raises ParameterError.

    source: as the message names it.
    """
    experiments = {name for study in parameters["studies"].values() for name in study["experiments"]}
    known = {
        "experiment": experiments,
        "beside": experiments,
        "dataset": set(DATASETS),
        "optimizer": set(OPTIMIZERS),
        "optimizers": set(OPTIMIZERS),
        "metric": {*MEASURES, *FIT, "running_loss"},
        "metrics": {*MEASURES, *FIT, "running_loss", *SUMMARIES},
        "layer_metrics": set(LAYER_METRICS),
        "pairs": {*MEASURES, *FIT},
        "run_of_smallest": {*MEASURES, *FIT},
        "point_metrics": set(POINT_METRICS),
        "view": set(VIEWS),
        "views": set(VIEWS),
        **{key: set(RUN_COLUMNS) for key in ("line", "dash", "rows_by", "setting")},
        "between": set(OPTIMIZERS),
    }
    theory, tables, figures = parameters["theory"], parameters["tables"], parameters["figures"]
    analysis = parameters["analysis"]
    drawn = {name: target for name, target in theory.items() if not is_table(name)}
    for kind, function, section, targets in (
        ("tables", "make", "tables", tables),
        ("figures", "draw", "figures", figures),
        ("tables", "make", "theory", {name: theory[name] for name in theory if name not in drawn}),
        ("figures", "draw", "theory", drawn),
        ("tables", "make", "analysis", analysis),
    ):
        scripts = {path.stem: path for path in sorted((SCRIPTS / kind).glob("*.py"))}
        for name, target in targets.items():
            where = f"{source}: {section}.{name}"
            if "same_as" in target:
                check_alias(target["same_as"], targets, where=where)
                continue
            if target["script"] not in scripts:
                remedy = suggestion(target["script"], list(scripts))
                raise ParameterError(f"{where}.script: no script {target['script']!r}; {remedy}")
            settings = target["settings"]
            if settings.get("optimizers") == ALL:
                settings = settings | {"optimizers": list(OPTIMIZERS)}
            check_settings(settings, scripts[target["script"]], function, where=where)
            check_names(settings, known, where=where)
    may_be_named = experiments | set(parameters.get("without", []))
    for name, target in analysis.items():
        for _, experiment in walk(target["settings"].get("experiments", {})):
            if experiment not in may_be_named:
                where = f"{source}: analysis.{name}.settings.experiments"
                remedy = suggestion(str(experiment), sorted(may_be_named))
                raise ParameterError(f"{where}: unknown experiment {experiment!r}; {remedy}")


def is_table(target: str) -> bool:
    """Whether a target of the theory is a table; else it is a figure."""
    return without_prefix(target).startswith("table_")


def check_alias(same_as: str, targets: Mapping[str, Any], *, where: str) -> None:
    """That what is shown again is a target itself. Raises ParameterError."""
    known = [name for name, target in targets.items() if "same_as" not in target]
    if same_as not in known:
        raise ParameterError(
            f"{where}.same_as: no target {same_as!r} to repeat; {suggestion(same_as, known)}"
        )


def check_names(settings: Mapping[str, Any], known: Mapping[str, set], *, where: str) -> None:
    """That experiments, optimizers and metrics in a target's settings exist. Raises ParameterError."""
    for path, value in walk(settings):
        key = next(part for part in reversed(path) if isinstance(part, str))  # the innermost: "metric"
        if key in known and value is not None and value not in known[key]:
            remedy = suggestion(str(value), sorted(known[key]))
            raise ParameterError(f"{where}.settings: unknown {key} {value!r}; {remedy}")


def check_settings(settings: Mapping[str, Any], script: Path, function: str, *, where: str) -> None:
    """That the settings are the keyword arguments of a script's function. Raises ParameterError."""
    validator = jsonschema.Draft202012Validator(schema_of_arguments(script, function))
    if errors := list(validator.iter_errors(settings)):
        raise ParameterError(describe(min(errors, key=lambda e: len(e.path)), within=f"{where}.settings"))
