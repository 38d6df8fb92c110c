"""That every table and figure in params.yaml can be drawn, said before anything is trained."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collapse.datasets.registry import DATASETS
from collapse.lineage import imported_files
from collapse.optimizers import OPTIMIZERS
from collapse.parameters import PROJECT_ROOT, ParameterError, suggestion, walk
from collapse.results import FIT, MEASURES, RUN_COLUMNS

SCRIPTS = PROJECT_ROOT / "workflow/scripts"


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
        "run_of_smallest": {*MEASURES, *FIT},
        **{key: set(RUN_COLUMNS) for key in ("line", "dash", "rows_by")},
    }
    theory, tables, figures = parameters["theory"], parameters["tables"], parameters["figures"]
    analysis = parameters["analysis"]
    for kind, function, section, targets in (
        ("tables", "make", "tables", tables),
        ("figures", "draw", "figures", figures),
        ("tables", "make", "theory", {"table_1": theory["table_1"]}),
        ("figures", "draw", "theory", {"theory": theory["theory"]}),
        ("tables", "make", "analysis", analysis),
    ):
        scripts = {path.stem: path for path in sorted((SCRIPTS / kind).glob("*.py"))}
        for name, target in targets.items():
            where = f"params.yaml: {section}.{name}"
            if "same_as" in target:
                check_alias(target["same_as"], targets, where=where)
                continue
            if target["script"] not in scripts:
                remedy = suggestion(target["script"], list(scripts))
                raise ParameterError(f"{where}.script: no script {target['script']!r}; {remedy}")
            check_arguments(target["settings"], scripts[target["script"]], function, where=where)
            check_names(target["settings"], known, where=where)
    may_be_named = experiments | set(parameters.get("without", []))
    for name, target in analysis.items():
        for _, experiment in walk(target["settings"]["experiments"]):
            if experiment not in may_be_named:
                where = f"params.yaml: analysis.{name}.settings.experiments"
                remedy = suggestion(str(experiment), sorted(may_be_named))
                raise ParameterError(f"{where}: unknown experiment {experiment!r}; {remedy}")


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


def check_arguments(settings: Mapping[str, Any], script: Path, function: str, *, where: str) -> None:
    """That the settings are the keyword arguments of a script's function. Raises ParameterError."""
    arguments = keyword_arguments(script, function)
    for name in settings:
        if name not in arguments:
            raise ParameterError(f"{where}.settings: unknown key {name!r}; {suggestion(name, arguments)}")
    for name in arguments:
        if name not in settings:
            raise ParameterError(f"{where}.settings: the key {name!r} is missing; add it")


def keyword_arguments(script: Path, function: str) -> list[str]:
    """Of a function defined in `script`, or imported there from this package under that name.

    Read from the source: importing the scripts would import all that draws.
    """
    for node in ast.parse(script.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return [argument.arg for argument in node.args.kwonlyargs]
        for alias in node.names if isinstance(node, ast.ImportFrom) else ():
            if alias.asname == function:
                return keyword_arguments(imported_files(node)[0], alias.name)
    raise LookupError(f"{script} has no function {function}")
