"""The run table: every training a study asks for, one row each, from the crossed axes of params.yaml."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from collapse.datasets.registry import DATASETS
from collapse.study.parameters import ParameterError, suggestion
from collapse.study.settings import OPTIONAL, SETTINGS, UNSAID, require_form, require_possible, said

# Raised whenever a change to training, initialisation, data order or preprocessing changes a number
# (tests/training/test_golden_trajectories.py notices). Results of another protocol are trained again.
PROTOCOL = 2

# The runs of a pack always have these in common, whatever pack_by says.
PACK_SHARES = [
    "architecture", "width", "dataset", "image_size", "train_size", "augmentation",
    "schedule", "epochs", "batch_size", "measure_every", "precision",
]  # fmt: skip
IN_PACK_NAME = ["architecture", "dataset", "optimizer", "learning_rate"]


def run_table(parameters: Mapping[str, Any], study: str) -> pd.DataFrame:
    """All runs of a study: columns experiment, key, pack and SETTINGS.

    A run asked for by two experiments has a row in each, with the same key; it is trained once.
    Raises ParameterError.
    """
    if study not in parameters["studies"]:
        raise ParameterError(f"unknown study {study!r}; one of {', '.join(parameters['studies'])}")
    settings = parameters["studies"][study]
    rows = [
        {"experiment": name} | run
        for name, experiment in settings["experiments"].items()
        for run in experiment_runs(
            settings["defaults"], experiment, where=f"studies.{study}.experiments.{name}"
        )
    ]
    table = pd.DataFrame(rows)
    table.insert(1, "key", [run_key(row) for row in rows])
    if (repeated := table.duplicated(["experiment", "key"])).any():
        first = table[repeated].iloc[0]
        raise ParameterError(
            f"studies.{study}.experiments.{first.experiment}: two rows ask for the same run "
            f"({first.optimizer}, learning_rate {first.learning_rate}, momentum {first.momentum}, "
            f"weight_decay {first.weight_decay}); remove one"
        )
    packs = pack_names(table, parameters.get("pack_by", settings["pack_by"]))
    speeds, longest = parameters["images_per_second"], parameters["pack_minutes"]
    table.insert(2, "pack", parts_of_packs(table, packs, images_per_second=speeds, pack_minutes=longest))
    return table


def valid_accuracies(parameters: Mapping[str, Any], study: str) -> dict[str, float]:
    """The training accuracy from which on a run of each experiment counts in the analysis."""
    return {
        name: experiment.get("valid_accuracy", parameters["valid_accuracy"])
        for name, experiment in parameters["studies"][study]["experiments"].items()
    }


def unique_runs(table: pd.DataFrame) -> pd.DataFrame:
    """The trainings behind a run table: a row a key, without the experiment."""
    return table.drop_duplicates("key").drop(columns="experiment").reset_index(drop=True)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dicts, with None, no such setting, where a column of pandas has NaN."""
    rows = table.astype(object).to_dict("records")
    return [{name: plain_value(name, value) for name, value in row.items()} for row in rows]


def plain_value(name: str, value: Any) -> Any:
    """None of NaN; a whole number that pandas has as a float for want of others as one."""
    if value is None or value != value:
        return None
    return int(value) if SETTINGS.get(name) is int else value


def runs_by_pack(table: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """What each job trains: the distinct runs of every pack, as dicts with key, pack and SETTINGS."""
    packs: dict[str, list[dict[str, Any]]] = {}
    for run in records(unique_runs(table)):
        packs.setdefault(run["pack"], []).append(run)
    return packs


def experiment_runs(
    defaults: Mapping[str, Any], experiment: Mapping[str, Any], *, where: str
) -> list[dict[str, Any]]:
    """The runs of one experiment: each of its rows, completed from its axes and the defaults."""
    runs = [
        finished_run(settings, where=f"{where}.rows[{number}]")
        for number, row in enumerate(experiment["rows"])
        for settings in crossed({**defaults, **experiment.get("axes", {}), **row})
    ]
    expected = experiment.get("num_runs", len(runs))
    if len(runs) != expected:
        raise ParameterError(
            f"{where}: num_runs says {expected}, the axes cross to {len(runs)}; correct one of them"
        )
    return runs


def crossed(axes: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The Cartesian product of all values that are lists; the others stay as they are."""
    lists = [value if isinstance(value, list) else [value] for value in axes.values()]
    for values in itertools.product(*lists):
        yield dict(zip(axes, values, strict=True))


def finished_run(settings: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """One run with every setting present, typed, and possible. Raises ParameterError."""
    settings = dict(settings)
    scale = settings.pop("weight_decay_scale", 1)
    missing = [name for name in SETTINGS if name not in settings and name not in OPTIONAL]
    if missing:
        raise ParameterError(f"{where}: {missing[0]} is set neither here nor in the study's defaults")
    settings = UNSAID | {"train_size": DATASETS[settings["dataset"]].train_size} | settings
    require_possible(settings, where=where)
    require_form(settings, where=where)
    # Six digits, so that a scaled decay is the number that tables print.
    settings["weight_decay"] = float(f"{settings['weight_decay'] * scale:.6g}")
    return {
        name: None if settings.get(name) is None else kind(settings[name]) for name, kind in SETTINGS.items()
    }


def run_key(run: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits of a hash of what determines a run's result."""
    identity = {name: run[name] for name in SETTINGS if name not in UNSAID} | said(run)
    identity |= {"dataset_digest": DATASETS[run["dataset"]].digest, "protocol": PROTOCOL}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def pack_names(table: pd.DataFrame, pack_by: list[str]) -> list[str]:
    """A name for the pack of every row: the first settings for the eye, a hash to tell packs apart.

    The name depends on the columns of `pack_by` and PACK_SHARES alone, not on which runs a pack
    holds: added runs join their pack, and the runs already trained stay.
    """
    columns = [name for name in SETTINGS if name in {*pack_by, *PACK_SHARES}]
    shown = [name for name in IN_PACK_NAME if name in columns]
    names = []
    for values in records(table[columns]):
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:6]
        names.append("-".join([*(str(values[name]) for name in shown), digest]))
    return names


def parts_of_packs(
    table: pd.DataFrame, packs: list[str], *, images_per_second: Mapping[str, float], pack_minutes: float
) -> list[str]:
    """The pack of every row, where packs that would take longer than `pack_minutes` are cut in parts.

    The number of parts is a power of two, and a run's key says which is its own: added runs join the parts
    that there are, until these become too long and are halved. Runs of over half that time are alone.
    """
    keys, rows = table.key.tolist(), records(table[["architecture", "epochs", "train_size"]])
    num_runs = Counter(pack for pack, _ in set(zip(packs, keys, strict=True)))
    names = []
    for pack, key, run in zip(packs, keys, rows, strict=True):
        minutes, parts = run_minutes(run, images_per_second), 1
        while parts < num_runs[pack] and num_runs[pack] * minutes > parts * pack_minutes:
            parts *= 2
        if parts == 1:
            names.append(pack)
        elif 2 * minutes > pack_minutes:
            names.append(f"{pack}-{key}")
        else:
            names.append(f"{pack}-{int(key, 16) % parts + 1}of{parts}")
    return names


def run_minutes(run: Mapping[str, Any], images_per_second: Mapping[str, float]) -> float:
    """How long its training should take where `images_per_second`, by architecture, is the speed.

    Raises ParameterError for an architecture without one.
    """
    if run["architecture"] not in images_per_second:
        raise ParameterError(
            f"images_per_second: no speed of {run['architecture']}; add one, a guess will do"
        )
    return run["epochs"] * run["train_size"] / images_per_second[run["architecture"]] / 60


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Runs and packs by experiment, and for the whole study, where a shared run counts once."""
    counts = (
        table.groupby("experiment", sort=False)
        .agg(
            runs=("key", "size"),
            packs=("pack", "nunique"),
            architectures=("architecture", lambda names: ", ".join(dict.fromkeys(names))),
            datasets=("dataset", lambda names: ", ".join(dict.fromkeys(names))),
            optimizers=("optimizer", lambda names: ", ".join(dict.fromkeys(names))),
        )
        .reset_index()
    )
    total = {
        "experiment": "all (distinct)",
        "runs": table.key.nunique(),
        "packs": table.pack.nunique(),
    }
    return pd.concat([counts, pd.DataFrame([total])], ignore_index=True).fillna("")


def chosen_runs(
    table: pd.DataFrame, experiments: Sequence[str], *, known: Iterable[str] = ()
) -> dict[str, list[dict[str, Any]]]:
    """The runs of a study by pack, all or those of the named experiments, without those that are known.

    Raises ParameterError.
    """
    names = list(dict.fromkeys(table.experiment))
    for name in experiments:
        if name not in names:
            raise ParameterError(f"unknown experiment {name!r}; {suggestion(name, names)}")
    keys = set(table[table.experiment.isin(experiments or names)].key) - set(known)
    packs = {pack: [run for run in runs if run["key"] in keys] for pack, runs in runs_by_pack(table).items()}
    return {pack: runs for pack, runs in packs.items() if runs}
