"""params.yaml and targets.yaml: what is refused, and that one line says which key and what to do."""

import copy
import shutil

import pytest
import yaml
from conftest import ROOT

from collapse.datasets import DATASETS
from collapse.optimizers import OPTIMIZERS
from collapse.paper.target_checks import check_targets
from collapse.paper.targets import rows_of
from collapse.study.parameters import COMMAND_LINE, ParameterError, load_parameters, validate_parameters
from collapse.study.runs import crossed, run_table
from collapse.study.schedules import SCHEDULES, sum_of_schedule
from collapse.study.settings import SETTINGS, SMALLEST_IMAGE

SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/params.schema.yaml").read_text(encoding="utf-8"))


def test_schema_knows_what_the_registries_know():
    from collapse.architectures import ARCHITECTURES
    from collapse.training.kernels.trust import NAMES

    names = SCHEMA["$defs"]
    settings = names["settings"]["properties"]
    assert sorted(names["architecture"]["enum"]) == sorted(ARCHITECTURES)
    assert sorted(names["dataset"]["enum"]) == sorted(DATASETS)
    assert sorted(names["optimizer"]["enum"]) == sorted(OPTIMIZERS)
    assert settings["schedule"]["enum"] == list(SCHEDULES)
    assert set(settings) == {*SETTINGS, "weight_decay_scale"}
    sizes = {name: entry.smallest_image_size for name, entry in ARCHITECTURES.items()}
    assert sizes == SMALLEST_IMAGE
    assert names["pack_by"]["items"]["enum"] == list(SETTINGS)
    assert set(SCHEMA["properties"]["kernels"]["enum"]) == set(NAMES)


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
    "a speed of no architecture": (
        speed(ResNet8=1),
        ["unknown architecture 'ResNet8'", "did you mean 'ResNet"],
    ),
    "packs without length": (top(pack_minutes=0), ["pack_minutes", "greater than 0"]),
    "unknown top-level key": (top(sutdy=1), ["'sutdy'", "did you mean 'study'"]),
    "unknown key in a row": (row(momentun=0.9), ["rows[0]", "did you mean 'momentum'"]),
    "unknown optimizer": (row(optimizer="AdamV"), ["optimizer 'AdamV'", "did you mean 'Adam"]),
    "unknown optimizer in a list": (row(optimizer=["SGD", "qqq"]), ["'qqq'", "one of SGD"]),
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
    "half an epoch": (row(epochs=1.5), ["epochs", "found 1.5 where a whole number or a list is needed"]),
    "boolean for a number": (row(momentum=True), ["momentum", "found True where a number or a list"]),
    "a number for text": (top(data_root=1), ["data_root: found 1 where text is needed"]),
    "a name of a study": (
        lambda p: p["studies"].update({"my study": p["studies"]["demo"]}),
        ["studies: 'my study' cannot be used; write a letter, then letters, digits and _"],
    ),
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


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (top(sutdy="mini"), "--config: the top level: unknown key 'sutdy'; did you mean 'study'?"),
        (top(study="dmeo"), "--config: study: unknown study 'dmeo'"),
        (
            lambda p: p["studies"]["demo"]["defaults"].update(epochs="5"),
            "--config: studies.demo.defaults.epochs: '5' is text, not a number; write it as 5; "
            "Snakemake takes all that is nested there as text: set it in the file",
        ),
        (
            lambda p: p["figures"]["figure_1"].update(caption="W^{T}"),
            "--config: figures.figure_1.caption: 'W^{T}' cannot be used; write it without braces",
        ),
        (
            lambda p: p["figures"]["figure_1"].update(settings="3"),
            "--config: figures.figure_1.settings: found '3' where a mapping is needed",
        ),
    ],
)
def test_what_the_command_line_changed_is_not_blamed_on_the_files(parameters, change, wanted):
    change(parameters)
    with pytest.raises(ParameterError) as caught:
        validate_parameters(parameters, source=COMMAND_LINE)
    assert str(caught.value).startswith(wanted)


def test_a_figure_may_have_a_name_of_its_own(parameters):
    figures = parameters["figures"]
    figures["figure_histogram"] = figures["figure_7"]
    parameters["tables"]["table_mine"] = parameters["tables"]["table_2"]
    validate_parameters(parameters, source="params.yaml")
    check_targets(parameters)
    figures["histogram"] = figures["figure_7"]
    words = "targets.yaml: figures: 'histogram' cannot be used; write figure_ and the paper's number or"
    with pytest.raises(ParameterError, match=words):
        validate_parameters(parameters, source="params.yaml")


BAD_RUNS = {
    "num_runs": (
        lambda p: p["studies"]["demo"]["experiments"]["table_2"].update(num_runs=7),
        "num_runs says 7, the axes cross to 6",
    ),
    "train_size": (lambda p: set_row(p, train_size=5000), "train_size 5000 is more than the 1500"),
    "fraction": (lambda p: set_row(p, coupled_fraction=0.5), "coupled_fraction goes with"),
    "part of a channel": (lambda p: set_row(p, width=0.1), "width 0.1"),
    "a batch of more than all": (
        lambda p: set_row(p, batch_size=2000),
        "batch_size 2000 is more than the 1500 images that are trained on",
    ),
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
    "momentum_control": 0.01,  # over 1 - momentum
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
                if name == "momentum_control":
                    ours = ours | {"learning_rate": ours["learning_rate"] / (1 - row["momentum"])}
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
    shutil.copy(ROOT / "targets.yaml", tmp_path)
    with pytest.raises(ParameterError, match=r"line \d+: .*the key 'grid' stands twice"):
        load_parameters(path)


@pytest.mark.parametrize(
    "text",
    ["[1]: 2", "? {a: 1}\n: 2", "a: 2026-13-01", "a: !!int x", "a: !!bool x", "a: !!timestamp x",
     "a: !!binary é", "\t- x", "a: !!python/object:os.system {}",
     "&a [*a]", "a: *b", "", "- 1", "\x00", "<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> b", "a: \"\\xZZ\""],
)  # fmt: skip
def test_whatever_is_no_parameters_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ParameterError) as caught:
        load_parameters(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
