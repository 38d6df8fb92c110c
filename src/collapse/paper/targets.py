"""What a table or figure of the paper means in a study: its settings and its caption there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from collapse.optimizers import OPTIMIZERS
from collapse.study.entries import as_list
from collapse.study.families import family_of, of_family
from collapse.study.parameters import ParameterError

ALL = "all"  # of the setting `optimizers`


def targets_of(parameters: Mapping[str, Any], study: str, kind: str) -> dict[str, dict[str, Any]]:
    """The tables or figures (`kind`) of which the study has a run, by name; no aliases.

    Captions name the study's datasets, not those that they stand in for.
    """
    return {
        name: target | {"caption": caption_in(parameters["studies"][study], target)}
        for name, target in of_family(parameters["studies"][study], parameters[kind]).items()
        if "same_as" not in target and has_runs(parameters["studies"][study], target["settings"])
    }


def caption_in(study: Mapping[str, Any], target: Mapping[str, Any]) -> str:
    """A target's caption with the datasets that the study has in the place of the paper's."""
    stand_ins = stand_ins_of(study, target["settings"].get("experiment"))
    named = "|".join(rf"\b{re.escape(name)}\b" for name in stand_ins)
    return re.sub(named, lambda found: stand_ins[found[0]], target["caption"]) if named else target["caption"]


def aliases_of(parameters: Mapping[str, Any], study: str, kind: str) -> dict[str, str]:
    """The tables or figures that the paper prints again under another number: alias and target."""
    built = targets_of(parameters, study, kind)
    named = {name: target.get("same_as") for name, target in parameters[kind].items()}
    return {name: same_as for name, same_as in named.items() if same_as in built}


def lacking_of(parameters: Mapping[str, Any], study: str) -> dict[str, str]:
    """The targets that a study cannot build, and in one line which runs it lacks and who has them."""
    every = of_family(parameters["studies"][study], {**parameters["tables"], **parameters["figures"]})
    lacking = {}
    for name, entry in every.items():
        settings = every[entry.get("same_as", name)]["settings"]
        if has_runs(parameters["studies"][study], settings):
            continue
        wanted = [f"experiment {settings['experiment']}"]
        wanted += [settings[key] for key in ("architecture", "dataset") if settings.get(key)]
        others = [other for other, entry in parameters["studies"].items() if has_runs(entry, settings)]
        remedy = f"ask for it with --config study={others[0]}" if others else "no study has"
        if settings["experiment"] in parameters.get("without", []):
            remedy = "`without` leaves that experiment out"
        lacking[name] = f"study {study} has no run of {', '.join(wanted)}, of which {name} is made; {remedy}"
    return lacking


def refusal(reason: str) -> Callable[[object], None]:
    """An input function for a rule that cannot be built: it raises ParameterError with the reason."""

    def refuse(wildcards: object) -> None:
        raise ParameterError(reason)

    return refuse


def has_runs(study: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether a study has a run that a target with these settings would show; any, if none is named."""
    if "experiment" not in settings:
        return True
    chosen = chosen_runs(settings)
    stand_ins = stand_ins_of(study, settings["experiment"])
    chosen["dataset"] = stand_ins.get(chosen["dataset"], chosen["dataset"])
    return bool(rows_of(study, settings["experiment"], **chosen))


def chosen_runs(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The runs of its experiment that a target shows, as `rows_of` takes them; None shows all."""
    parts = settings.get("panels") or [settings]
    named = [{**settings, **part} for part in parts]
    optimizers = [as_list(part.get("optimizers") or part.get("optimizer")) for part in named]
    every = any(None in its or ALL in its for its in optimizers)
    return {
        "architecture": settings.get("architecture"),
        "dataset": settings.get("dataset"),
        "optimizers": None if every else sorted({name for its in optimizers for name in its}),
    }


def target_settings(parameters: Mapping[str, Any], study: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a table or figure, with the study's stand-in for the dataset they name.

    Where they name all optimizers, those with a run, here or in the reference study.
    """
    stand_ins = stand_ins_of(parameters["studies"][study], settings.get("experiment"))
    resolved = dict(settings)
    if resolved.get("dataset") in stand_ins:
        resolved["dataset"] = stand_ins[resolved["dataset"]]
    if resolved.get("optimizers") == ALL:
        names = optimizers_with_runs(parameters["studies"][study], resolved)
        reference = family_of(parameters["studies"][study]).reference_study
        names |= optimizers_with_runs(parameters["studies"][reference], settings)
        resolved["optimizers"] = [name for name in OPTIMIZERS if name in names]
    return resolved


def optimizers_with_runs(study: Mapping[str, Any], settings: Mapping[str, Any]) -> set[str]:
    """Of the runs in a study that a target shows which names all optimizers."""
    where = {name: settings[name] for name in ("architecture", "dataset")}
    rows = rows_of(study, settings["experiment"], **where)
    return {name for row in rows for name in as_list(row["optimizer"])}


def stand_ins_of(study: Mapping[str, Any], experiment: str | None) -> dict[str, str]:
    """The datasets that a study has in the place of the paper's, everywhere or in one experiment."""
    own = study["experiments"].get(experiment, {}).get("stand_ins", {})
    return {**study.get("stand_ins", {}), **own}


def values_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, set]:
    """Every value that rows of experiments have of every setting that params.yaml gives."""
    values: dict[str, set] = {"weight_decay_scale": set()}
    for row in rows:
        for name, value in ({"weight_decay_scale": 1} | row).items():
            values.setdefault(name, set()).update(as_list(value))
    return values


def rows_of(
    study: Mapping[str, Any],
    experiment: str,
    *,
    architecture: str | None,
    dataset: str | None,
    optimizers: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """The rows of an experiment, completed from its axes and the study's defaults; None takes all.

    A row that has other architectures, datasets or optimizers beside the chosen ones has these alone here.
    """
    found = study["experiments"].get(experiment, {"rows": []})
    wanted = {"architecture": architecture, "dataset": dataset, "optimizer": optimizers}
    wanted = {name: as_list(value) for name, value in wanted.items() if value is not None}
    rows = []
    for row in found["rows"]:
        merged = {**study["defaults"], **found.get("axes", {}), **row}
        chosen = {
            name: [value for value in as_list(merged.get(name)) if value in values]
            for name, values in wanted.items()
        }
        if all(chosen.values()):
            rows.append(merged | chosen)
    return rows
