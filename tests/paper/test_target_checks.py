"""Tables and figures in targets.yaml: what cannot be drawn is refused, what is scaled says so."""

import pytest

from collapse.paper.scale import scale_note, target_note
from collapse.paper.target_checks import check_targets
from collapse.paper.targets import (
    aliases_of,
    lacking_of,
    targets_of,
)
from collapse.study.families import of_family
from collapse.study.parameters import ParameterError


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
    "text for a number": (
        lambda p: p["figures"]["figure_1"]["settings"].update(columns="two"),
        ["figures.figure_1.settings.columns: 'two' is text, not a number"],
    ),
    "a name for a list": (figure(optimizers="SGD"), ["figure_7.settings.optimizers: found 'SGD'"]),
    "no name": (figure(dataset=["MNIST"]), ["figure_7.settings.dataset: found ['MNIST'] where text or"]),
    "an empty list": (
        lambda p: p["figures"]["figure_1"]["settings"].update(panels=[]), ["settings.panels: is empty"],
    ),
    "unknown key of a panel": (
        lambda p: p["figures"]["figure_1"]["settings"]["panels"][1].update(metrik="NC3"),
        ["figure_1.settings.panels[1]: unknown key 'metrik'; did you mean 'metric'"],
    ),
    "a claim looked for nowhere": (
        lambda p: p["analysis"]["claims"]["settings"]["experiments"].pop("C4"),
        ["analysis.claims.settings.experiments: the key 'C4' is missing"],
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


def test_the_note_on_unconstrained_features_speaks_of_no_network(parameters):
    settings = parameters["figures"]["zhu_figure_11"]["settings"]
    note = target_note(parameters, "zhu_demo", settings, tables=["ufm"])
    assert note == "zhu_demo study, not the paper's scale: 10 samples a class; 32 features; no network"
    at_scale = target_note(parameters, "zhu_paper", settings, tables=["ufm"])
    assert at_scale == "zhu_paper study, at the paper's scale"
    assert "pixels" in target_note(parameters, "zhu_demo", settings, tables=["runs"])


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
    """65 in the paper, ours from 101 on; of these the paper study lacks none, mini but ImageNet's."""
    paper = parameters["studies"]["paper"]
    numbered = of_family(paper, {**parameters["tables"], **parameters["figures"], "table_1": {}})
    in_the_paper = {name for name in numbered if int(name.rpartition("_")[2]) < 101}
    assert in_the_paper == {f"table_{n}" for n in range(1, 8)} | {f"figure_{n}" for n in range(1, 59)}
    assert lacking_of(parameters, "paper") == {}
    assert lacking_of(parameters, "zhu_paper") == lacking_of(parameters, "jacot_paper") == {}
    assert set(lacking_of(parameters, "mini")) == {"figure_30", "figure_31"}
    assert aliases_of(parameters, "mini", "figures") == {"figure_10": "figure_2"}
    for study, entry in parameters["studies"].items():
        lacking = lacking_of(parameters, study)
        built = {*targets_of(parameters, study, "tables"), *targets_of(parameters, study, "figures")}
        built |= set(aliases_of(parameters, study, "figures"))
        its = of_family(entry, {**parameters["tables"], **parameters["figures"]})
        assert not built & set(lacking) and built | set(lacking) == set(its)
    core = {f"figure_{n}" for n in (4, 5, 6, 7, 8, 22, 23, 24, 25, 29, *range(101, 107))}
    assert set(targets_of(parameters, "core", "figures")) == core
    assert set(targets_of(parameters, "core", "tables")) == {"table_2", "table_7", "table_101", "table_103"}


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
