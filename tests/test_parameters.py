"""params.yaml: what is refused, and that one line says which key and what to do."""

import copy

import pytest
import yaml
from conftest import ROOT

from collapse.datasets import DATASETS
from collapse.optimizers import OPTIMIZERS
from collapse.parameters import ParameterError, load_parameters, validate_parameters
from collapse.runs import SETTINGS, SMALLEST_IMAGE, crossed, run_table
from collapse.schedules import SCHEDULES, sum_of_schedule
from collapse.target_checks import check_targets
from collapse.targets import (
    aliases_of,
    lacking_of,
    rows_of,
    scale_note,
    target_note,
    targets_of,
)

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
    speeds = SCHEMA["properties"]["images_per_second"]
    assert list(speeds["properties"]) == speeds["required"] == list(ARCHITECTURES)


def set_row(parameters, **changes):
    parameters["studies"]["demo"]["experiments"]["table_2"]["rows"][0].update(changes)


def top(**changes):
    return lambda parameters: parameters.update(**changes)


def speed(**changes):
    return lambda parameters: parameters["images_per_second"].update(**changes)


def row(**changes):
    return lambda parameters: set_row(parameters, **changes)


def grid(**changes):
    return lambda p: p["studies"]["demo"]["experiments"]["grid"].update(**changes)


BAD = {
    "a speed of zero": (
        speed(ResNet9=0),
        ["images_per_second.ResNet9", "greater than 0"],
    ),
    "packs without length": (top(pack_minutes=0), ["pack_minutes", "greater than 0"]),
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


def exposure(row):
    """learning_rate * sum of the schedule: what a unit of weight decay acts through."""
    return row["learning_rate"] * sum_of_schedule(
        schedule=row["schedule"],
        epochs=row["epochs"],
        num_samples=row.get("train_size", DATASETS[row["dataset"]].train_size),
        batch_size=row["batch_size"],
    )


# Experiments in which a scaled study has another learning rate than the paper, for want of steps.
PAPERS_RATES = {
    "momentum_heatmap": 0.001,
    "momentum_dynamics": 0.001,
    "zero_weight_decay": 0.01,
    "vit": 0.001,
}


@pytest.mark.parametrize("study", ["demo", "mini"])
def test_scaled_decay_keeps_the_papers_exposure(parameters, study):
    """weight_decay * sum(learning_rate) of every scaled run is the paper's, to a percent."""
    stood_in = {ours: papers for papers, ours in parameters["studies"][study].get("stand_ins", {}).items()}
    for name in parameters["studies"][study]["experiments"]:
        for row in rows_of(parameters["studies"][study], name, architecture=None, dataset=None):
            for ours in crossed(
                {key: row[key] for key in row if key not in ("optimizer", "momentum", "weight_decay")}
            ):
                scale = ours["weight_decay_scale"]
                if name in ("mlp", "ufm"):  # at the paper's size, or the paper does not say
                    assert scale == 1
                    continue
                if name == "long_training" and ours["epochs"] == max(row["epochs"]):
                    continue  # the decay of the shorter run
                rate = 0.001 if (name, row["optimizer"]) == ("long_training", "SGD") else None
                if name == "zero_weight_decay" and row["weight_decay"] == 0:
                    continue
                dataset = stood_in.get(ours["dataset"], ours["dataset"])
                paper = {
                    "dataset": dataset, "epochs": 200, "batch_size": 512 if name == "vit" else 128,
                    "learning_rate": rate or PAPERS_RATES.get(name, ours["learning_rate"]),
                    "schedule": ours["schedule"],
                }  # fmt: skip
                assert scale * exposure(ours) == pytest.approx(exposure(paper), rel=0.01), (name, ours)


def test_a_key_that_stands_twice_is_refused(tmp_path):
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    path = tmp_path / "params.yaml"
    path.write_text(text.replace("      momentum_heatmap:\n", "      grid:\n", 1), encoding="utf-8")
    with pytest.raises(ParameterError, match=r"line \d+: .*the key 'grid' stands twice"):
        load_parameters(path)


def figure(**changes):
    return lambda p: p["figures"]["figure_7"]["settings"].update(**changes)


BAD_TARGETS = {
    "unknown column": (
        lambda p: p["figures"]["figure_8"]["settings"].update(line="coupled_fracton"),
        ["figure_8.settings: unknown line 'coupled_fracton'", "coupled_fraction"],
    ),
    "unknown metric to be smallest": (
        lambda p: p["figures"]["figure_17"]["settings"].update(run_of_smallest="NC9"),
        ["figure_17.settings: unknown run_of_smallest 'NC9'"],
    ),
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
    """65 in the paper; of those the paper study lacks none, mini but ImageNet's."""
    numbered = {*parameters["tables"], *parameters["figures"], "table_1"}
    assert numbered == {f"table_{n}" for n in range(1, 8)} | {f"figure_{n}" for n in range(1, 59)}
    assert lacking_of(parameters, "paper") == {}
    assert set(lacking_of(parameters, "mini")) == {"figure_30", "figure_31"}
    assert aliases_of(parameters, "mini", "figures") == {"figure_10": "figure_2"}
    for study in parameters["studies"]:
        lacking = lacking_of(parameters, study)
        built = {
            *targets_of(parameters, study, "tables"),
            *targets_of(parameters, study, "figures"),
            "table_1",
        }
        built |= set(aliases_of(parameters, study, "figures"))
        assert not built & set(lacking) and built | set(lacking) == numbered
    core = {f"figure_{n}" for n in (4, 5, 6, 7, 8, 22, 23, 24, 25, 29)}
    assert set(targets_of(parameters, "core", "figures")) == core
    assert set(targets_of(parameters, "core", "tables")) == {"table_2", "table_7"}


def test_what_a_study_lacks_is_said_in_a_line(parameters):
    lacking = lacking_of(parameters, "core")
    assert lacking["figure_32"] == (
        "study core has no run of experiment grid, VGG9, FashionMNIST, of which figure_32 is made; "
        "ask for it with --config study=mini"
    )
    assert "study=paper" in lacking["figure_31"]
    parameters["studies"]["demo"]["stand_ins"] = {"MNIST": "Digits"}
    assert "figure_1" in lacking_of(parameters, "demo"), "its runs stand in for another dataset"


def test_an_alias_repeats_a_target(parameters):
    parameters["figures"]["figure_10"] = {"same_as": "figure_99"}
    with pytest.raises(ParameterError, match=r"figures\.figure_10\.same_as: no target 'figure_99'"):
        check_targets(parameters)


def test_a_targets_note_is_of_its_own_runs(parameters):
    """The grid of mini is not scaled alike everywhere."""
    on = {"experiment": "grid", "architecture": "ResNet9", "dataset": "FashionMNIST"}
    note = target_note(parameters, "mini", on)
    assert "images of 14 pixels a side; 5000 training images; 42 epochs" in note and "2000" not in note
    note = target_note(parameters, "mini", on | {"architecture": "VGG9"})
    assert "images of 16 pixels a side; 2000 training images; 40 epochs" in note and "5000" not in note
    rows = parameters["studies"]["mini"]["experiments"]["grid"]["rows"]
    rows[0] = rows[0] | {"learning_rate": 0.5}
    assert "learning rate 0.5" in target_note(parameters, "mini", on | {"optimizers": ["SGD", "Adam"]})
    assert "learning rate" not in target_note(parameters, "mini", on | {"optimizers": ["Adam", "AdamW"]})
    figure_14 = target_note(parameters, "mini", parameters["figures"]["figure_14"]["settings"])
    assert "30, 300 epochs" in figure_14 and "1.938" not in figure_14, "its panels show Adam and AdamW alone"


def test_the_arguments_of_an_imported_function_are_known_too(parameters):
    """table_1 and comparison call the library's function as it is."""
    parameters["theory"]["table_1"]["settings"]["stepz"] = 1
    with pytest.raises(ParameterError, match=r"theory\.table_1\.settings: unknown key 'stepz'.*'steps'"):
        check_targets(parameters)
