"""params.yaml: what is refused, and that one line says which key and what to do."""

import copy

import pytest
import yaml
from conftest import ROOT

from collapse.datasets import DATASETS
from collapse.optimizers import OPTIMIZERS
from collapse.parameters import ParameterError, load_parameters, validate_parameters
from collapse.runs import SETTINGS, SMALLEST_IMAGE, run_table
from collapse.schedules import SCHEDULES, sum_of_schedule
from collapse.targets import check_targets, scale_note, targets_of

SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/params.schema.yaml").read_text(encoding="utf-8"))


def test_schema_knows_what_the_registries_know():
    from collapse.architectures import ARCHITECTURES

    names = SCHEMA["$defs"]
    settings = names["settings"]["properties"]
    assert names["architecture"]["enum"] == list(ARCHITECTURES)
    assert names["dataset"]["enum"] == list(DATASETS)
    assert names["optimizer"]["enum"] == list(OPTIMIZERS)
    assert settings["schedule"]["enum"] == list(SCHEDULES)
    assert set(settings) == {*SETTINGS, "weight_decay_scale"}
    sizes = {name: entry.smallest_image_size for name, entry in ARCHITECTURES.items()}
    assert sizes == SMALLEST_IMAGE
    assert names["pack_by"]["items"]["enum"] == list(SETTINGS)


def set_row(parameters, **changes):
    parameters["studies"]["demo"]["experiments"]["table_2"]["rows"][0].update(changes)


def top(**changes):
    return lambda parameters: parameters.update(**changes)


def row(**changes):
    return lambda parameters: set_row(parameters, **changes)


def grid(**changes):
    return lambda p: p["studies"]["demo"]["experiments"]["grid"].update(**changes)


BAD = {
    "unknown top-level key": (top(sutdy=1), ["'sutdy'", "did you mean 'study'"]),
    "unknown key in a row": (row(momentun=0.9), ["rows[0]", "did you mean 'momentum'"]),
    "unknown optimizer": (row(optimizer="AdamV"), ["optimizer 'AdamV'", "did you mean 'Adam"]),
    "unknown optimizer in a list": (row(optimizer=["SGD", "Lion"]), ["'Lion'", "one of SGD"]),
    "number as text": (row(weight_decay="5e-4"), ["weight_decay", "'5e-4'", "0.0005"]),
    "number as text in a list": (row(weight_decay=[0, "5e-4"]), ["weight_decay[1]", "0.0005"]),
    "text for a number": (row(momentum="high"), ["momentum", "'high'", "write a number"]),
    "empty axis": (row(momentum=[]), ["momentum", "is empty"]),
    "negative decay": (row(weight_decay=-0.1), ["weight_decay", "-0.1", "too small"]),
    "negative decay in a list": (row(weight_decay=[0, -1]), ["weight_decay[1]", "too small"]),
    "momentum 1": (row(momentum=1), ["momentum", "less than 1"]),
    "learning rate 0": (row(learning_rate=0), ["learning_rate", "greater than 0"]),
    "value twice": (row(momentum=[0.9, 0.9]), ["momentum", "stands twice"]),
    "not a number": (row(weight_decay=float("nan")), ["weight_decay", "not a finite number"]),
    "infinite": (row(learning_rate=float("inf")), ["learning_rate", "not a finite number"]),
    "a seed no generator takes": (row(seed=2**40), ["seed", "too large"]),
    "half an epoch": (row(epochs=1.5), ["epochs", "1.5"]),
    "boolean for a number": (row(momentum=True), ["momentum", "True"]),
    "unknown study": (top(study="dmeo"), ["study", "'dmeo'", "demo"]),
    "no rows": (grid(rows=[]), ["rows", "is empty"]),
    "rows that are no list": (grid(rows=None), ["grid.rows", "nothing", "a list is needed"]),
    "a list for a mapping": (top(studies=[]), ["studies", "a mapping is needed"]),
    "unknown pack column": (top(pack_by=["optimiser"]), ["pack_by[0]", "did you mean 'optimizer'"]),
    "unknown device": (top(device="gpu"), ["device", "'gpu'", "did you mean 'cpu'"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_parameters_are_refused_in_one_line(parameters, case):
    spoil, wanted = BAD[case]
    spoiled = copy.deepcopy(parameters)
    spoil(spoiled)
    with pytest.raises(ParameterError) as caught:
        validate_parameters(spoiled, source="params.yaml")
    message = str(caught.value)
    assert message.startswith("params.yaml: ") and "\n" not in message
    for part in wanted:
        assert part in message


BAD_RUNS = {
    "num_runs": (
        lambda p: p["studies"]["demo"]["experiments"]["table_2"].update(num_runs=7),
        "num_runs says 7, the axes cross to 6",
    ),
    "train_size": (lambda p: set_row(p, train_size=5000), "train_size 5000 is more than the 1500"),
    "fraction": (lambda p: set_row(p, coupled_fraction=0.5), "coupled_fraction goes with"),
    "part of a channel": (lambda p: set_row(p, width=0.1), "width 0.1"),
    "a batch of one": (lambda p: set_row(p, batch_size=1499), "leaves a batch of one"),
    "one image a class": (lambda p: set_row(p, train_size=10), "two a class"),
    "small image": (lambda p: set_row(p, image_size=4), "image_size 4"),
    "same run twice": (
        lambda p: p["studies"]["demo"]["experiments"]["table_2"].update(
            rows=p["studies"]["demo"]["experiments"]["table_2"]["rows"] * 2, num_runs=12
        ),
        "two rows ask for the same run",
    ),
    "missing setting": (
        lambda p: p["studies"]["demo"]["defaults"].pop("epochs"),
        "epochs is set neither here nor",
    ),
}


@pytest.mark.parametrize("case", BAD_RUNS)
def test_impossible_runs_are_refused(parameters, case):
    spoil, wanted = BAD_RUNS[case]
    spoiled = copy.deepcopy(parameters)
    spoil(spoiled)
    validate_parameters(spoiled, source="params.yaml")
    with pytest.raises(ParameterError, match=r"studies\.demo\.experiments") as caught:
        run_table(spoiled, "demo")
    assert wanted in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("a: [1,\nb: 2", "not usable YAML"), ("", "a mapping is needed"), ("- 1", "a mapping is needed")],
)
def test_files_that_are_not_parameters(tmp_path, text, wanted):
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ParameterError, match=wanted) as caught:
        load_parameters(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(ParameterError, match="no such file"):
        load_parameters(tmp_path / "absent.yaml")
    with pytest.raises(ParameterError, match="cannot be read"):
        load_parameters(tmp_path)


@pytest.mark.parametrize("study", ["demo", "mini"])
def test_scaled_decay_keeps_the_papers_exposure(parameters, study):
    """weight_decay * sum(learning_rate) of every scaled experiment is the paper's, to a percent."""
    defaults = parameters["studies"][study]["defaults"]
    schedule = {"schedule": defaults["schedule"]}
    ours = sum_of_schedule(
        epochs=defaults["epochs"],
        num_samples=defaults.get("train_size", DATASETS[defaults["dataset"]].train_size),
        batch_size=defaults["batch_size"],
        **schedule,
    )
    paper = sum_of_schedule(epochs=200, num_samples=60_000, batch_size=128, **schedule)
    for name, experiment in parameters["studies"][study]["experiments"].items():
        for row in experiment["rows"]:
            scale = row.get("weight_decay_scale", defaults["weight_decay_scale"])
            # The heatmap has ten times the paper's learning rate, 0.001.
            rates = row["learning_rate"] / 0.001 if name == "momentum_heatmap" else 1
            assert scale * rates == pytest.approx(paper / ours, rel=0.01)


def test_a_key_that_stands_twice_is_refused(tmp_path):
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    path = tmp_path / "params.yaml"
    path.write_text(text.replace("      momentum_heatmap:\n", "      grid:\n", 1), encoding="utf-8")
    with pytest.raises(ParameterError, match=r"line \d+: .*the key 'grid' stands twice"):
        load_parameters(path)


def figure(**changes):
    return lambda p: p["figures"]["figure_7"]["settings"].update(**changes)


BAD_TARGETS = {
    "unknown experiment": (
        figure(experiment="gird"), ["figure_7", "experiment 'gird'", "did you mean 'grid'"],
    ),
    "unknown metric": (
        lambda p: p["figures"]["figure_1"]["settings"]["panels"][0].update(metric="NC9"),
        ["figure_1", "unknown metric 'NC9'"],
    ),
    "unknown optimizer": (figure(optimizers=["SGD", "Sgdw"]), ["figure_7", "unknown optimizers 'Sgdw'"]),
    "unknown argument": (figure(scales="log"), ["figure_7", "'scales'", "did you mean 'scale'"]),
    "missing argument": (
        lambda p: p["figures"]["figure_7"]["settings"].pop("scale"), ["figure_7", "'scale' is missing"],
    ),
    "unknown script": (
        lambda p: p["tables"]["table_2"].update(script="table_22"),
        ["tables.table_2.script", "'table_22'", "did you mean 'table_2'"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_TARGETS)
def test_a_figure_that_cannot_be_drawn_is_refused_before_training(parameters, case):
    spoil, wanted = BAD_TARGETS[case]
    check_targets(parameters)
    spoil(parameters)
    with pytest.raises(ParameterError) as caught:
        check_targets(parameters)
    message = str(caught.value)
    assert "\n" not in message
    for part in wanted:
        assert part in message


def test_the_scale_note_names_what_is_not_the_papers(parameters):
    assert scale_note(parameters, "paper", "grid") is None
    assert scale_note(parameters, "core", "table_2") is None
    note = scale_note(parameters, "demo", "table_2")
    for part in ("demo study", "Digits stands in for FashionMNIST", "width 0.125", "weight decay x 82.4"):
        assert part in note
    assert "learning rate 0.01" in scale_note(parameters, "mini", "momentum_heatmap")
    table_2 = parameters["studies"]["core"]["experiments"]["table_2"]
    table_2["axes"] = {"epochs": 5, "beta2": 0.9}
    table_2["rows"] = [{**table_2["rows"][0], "schedule": "constant"}]
    note = scale_note(parameters, "core", "table_2")
    for part in ("5 epochs", "beta2 0.9", "schedule constant"):
        assert part in note


def test_a_study_has_the_targets_whose_runs_it_has(parameters):
    assert set(targets_of(parameters, "paper", "figures")) == set(parameters["figures"])
    assert set(targets_of(parameters, "core", "figures")) == {"figure_5", "figure_6", "figure_7", "figure_29"}
    assert set(targets_of(parameters, "core", "tables")) == {"table_2"}
