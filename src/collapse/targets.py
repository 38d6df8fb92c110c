"""What a table or figure of the paper means in a study: its settings there, and how far it is scaled."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from collapse.datasets.registry import DATASETS
from collapse.optimizers import OPTIMIZERS
from collapse.parameters import PROJECT_ROOT, ParameterError, suggestion, walk
from collapse.results import FIT, MEASURES, RUN_COLUMNS

REFERENCE_STUDY = "paper"
SCRIPTS = PROJECT_ROOT / "workflow/scripts"
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
}


def targets_of(parameters: Mapping[str, Any], study: str, kind: str) -> dict[str, dict[str, Any]]:
    """The tables or figures (`kind`) of which the study has a run, by name; no aliases."""
    return {
        name: target
        for name, target in parameters[kind].items()
        if "same_as" not in target and has_runs(parameters["studies"][study], target["settings"])
    }


def aliases_of(parameters: Mapping[str, Any], study: str, kind: str) -> dict[str, str]:
    """The tables or figures that the paper prints again under another number: alias and target."""
    built = targets_of(parameters, study, kind)
    named = {name: target.get("same_as") for name, target in parameters[kind].items()}
    return {name: same_as for name, same_as in named.items() if same_as in built}


def lacking_of(parameters: Mapping[str, Any], study: str) -> dict[str, str]:
    """The targets that a study cannot build, and in one line which runs it lacks and who has them."""
    every = {**parameters["tables"], **parameters["figures"]}
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
    """Whether a study has a run that a target with these settings would show."""
    stand_ins = stand_ins_of(study, settings["experiment"])
    dataset = stand_ins.get(settings.get("dataset"), settings.get("dataset"))
    optimizers = settings.get("optimizers") or [settings.get("optimizer")]
    rows = rows_of(study, settings["experiment"], architecture=settings.get("architecture"), dataset=dataset)
    return any(optimizers == [None] or set(optimizers) & set(as_list(row.get("optimizer"))) for row in rows)


def target_settings(parameters: Mapping[str, Any], study: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a table or figure, with the study's stand-in for the dataset they name."""
    stand_ins = stand_ins_of(parameters["studies"][study], settings.get("experiment"))
    resolved = dict(settings)
    if resolved.get("dataset") in stand_ins:
        resolved["dataset"] = stand_ins[resolved["dataset"]]
    return resolved


def stand_ins_of(study: Mapping[str, Any], experiment: str | None) -> dict[str, str]:
    """The datasets that a study has in the place of the paper's, everywhere or in one experiment."""
    own = study["experiments"].get(experiment, {}).get("stand_ins", {})
    return {**study.get("stand_ins", {}), **own}


def scale_note(
    parameters: Mapping[str, Any],
    study: str,
    experiment: str,
    *,
    architecture: str | None = None,
    dataset: str | None = None,
) -> str | None:
    """What stands on the face of a table or figure of a scaled-down experiment.

    It names every setting of which the experiment's runs (those of an architecture and of a dataset of
    the paper, where given) have a value that the paper's own have not. None when there is none: then
    they are the paper's.
    """
    studies = parameters["studies"]
    if REFERENCE_STUDY not in studies:
        raise ParameterError(
            f"params.yaml: studies: {REFERENCE_STUDY!r} is missing; it says what scaled means"
        )
    stand_ins = stand_ins_of(studies[study], experiment)
    chosen = {"architecture": architecture, "dataset": stand_ins.get(dataset, dataset)}
    ours = settings_of(studies[study], experiment, **chosen)
    papers = settings_of(studies[REFERENCE_STUDY], experiment, architecture=architecture, dataset=dataset)
    parts = [
        f"{ours_instead} stands in for {named}"
        for named, ours_instead in stand_ins.items()
        if ours_instead in ours.get("dataset", set()) and dataset in (None, named)
    ]
    for name, text in SCALED.items():
        if not_the_papers := sorted(ours.get(name, set()) - papers.get(name, set())):
            parts.append(text.format(", ".join(f"{value}" for value in not_the_papers)))
    if not parts:
        return None
    return f"{study} study, not the paper's scale: {'; '.join(parts)}"


def target_note(parameters: Mapping[str, Any], study: str, settings: Mapping[str, Any]) -> str | None:
    """`scale_note` of the runs that a table or figure with these settings shows."""
    chosen = {name: settings.get(name) for name in ("architecture", "dataset")}
    return scale_note(parameters, study, settings["experiment"], **chosen)


def scale_notes(parameters: Mapping[str, Any], study: str) -> dict[str, str | None]:
    """`scale_note` of every experiment of a study."""
    return {name: scale_note(parameters, study, name) for name in parameters["studies"][study]["experiments"]}


def face_note(notes: Mapping[str, str | None]) -> str | None:
    """The notes of several experiments as one: each note once, after the experiments it is of."""
    experiments: dict[str | None, list[str]] = {}
    for name, note in notes.items():
        experiments.setdefault(note, []).append(name)
    if len(experiments) < 2:
        return next(iter(experiments), None)
    opening = next(note for note in experiments if note).split(": ")[0] + ": "  # the same in every note
    parts = [
        f"{', '.join(names)}: {note.removeprefix(opening) if note else 'as the paper'}"
        for note, names in experiments.items()
    ]
    return opening + " | ".join(parts)


def settings_of(
    study: Mapping[str, Any], experiment: str, *, architecture: str | None, dataset: str | None
) -> dict[str, set]:
    """Every value that the chosen runs of an experiment have of every setting that params.yaml gives."""
    values: dict[str, set] = {"weight_decay_scale": set()}
    for row in rows_of(study, experiment, architecture=architecture, dataset=dataset):
        for name, value in ({"weight_decay_scale": 1} | row).items():
            values.setdefault(name, set()).update(as_list(value))
    return values


def rows_of(
    study: Mapping[str, Any], experiment: str, *, architecture: str | None, dataset: str | None
) -> list[dict[str, Any]]:
    """The rows of an experiment, completed from its axes and the study's defaults; None takes all.

    A row that has other architectures or datasets beside the chosen one has it alone here.
    """
    found = study["experiments"].get(experiment, {"rows": []})
    rows = []
    for row in found["rows"]:
        merged = {**study["defaults"], **found.get("axes", {}), **row}
        chosen = {"architecture": architecture, "dataset": dataset}
        chosen = {name: value for name, value in chosen.items() if value is not None}
        if all(value in as_list(merged[name]) for name, value in chosen.items()):
            rows.append(merged | chosen)
    return rows


def as_list(value: Any) -> list:
    """A value, or the values to cross, as a list."""
    return value if isinstance(value, list) else [value]


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
    tree = ast.parse(script.read_text(encoding="utf-8"))
    found = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)
    arguments = [argument.arg for argument in found.args.kwonlyargs]
    for name in settings:
        if name not in arguments:
            raise ParameterError(f"{where}.settings: unknown key {name!r}; {suggestion(name, arguments)}")
    for name in arguments:
        if name not in settings:
            raise ParameterError(f"{where}.settings: the key {name!r} is missing; add it")
