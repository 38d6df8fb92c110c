"""The comparison with the paper: what is comparable, what agrees, and what is never said."""

from __future__ import annotations

import copy
import math
import runpy

import pandas as pd
import pytest
import yaml
from as_job import as_job
from conftest import ROOT
from synthetic import SCRIPTS, fail, make_study

from collapse.paper.comparison.paper_scale import paper_scale
from collapse.paper.comparison.reported_numbers import (
    ABOVE,
    BELOW,
    implied_initial,
    initial_value,
    printed_unit,
    reported_number,
)
from collapse.paper.comparison.table import (
    AGREES,
    BELOW_FLOOR,
    COLUMNS,
    DIFFERS,
    NOT_RUN,
    OPPOSITE,
    OTHER_HARDWARE,
    OTHER_INITIAL,
    OTHER_SCALE,
    SAME,
    comparison_table,
    is_near,
    judge,
)
from collapse.paper.comparison.text import heatmap_grid, print_summary, sections, write_comparison
from collapse.paper.targets import target_settings

TOLERANCES = {"relative_tolerance": 0.1, "floor": 0.001}


@pytest.fixture(scope="module")
def reported():
    return yaml.safe_load((ROOT / "reference/reported.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def runs():
    return make_study(seed=0)[0]


@pytest.fixture
def compare(parameters, reported):
    """comparison_table of a study with params.yaml's settings."""

    def made(runs: pd.DataFrame, study: str, known: dict | None = None) -> pd.DataFrame:
        settings = parameters["analysis"]["comparison"]["settings"]
        known = paper_scale(parameters, study) if known is None else known
        return comparison_table(runs, reported, known, **target_settings(parameters, study, settings))

    return made


def cell(table: pd.DataFrame, target: str, item: str, quantity: str) -> pd.Series:
    its = table[(table["target"] == target) & (table["item"] == item) & (table["quantity"] == quantity)]
    assert len(its) == 1
    return its.iloc[0]


def row(reported: object, ours: object, **more: object) -> dict:
    made = reported_number("t", "i", "NC0", reported, ours, kind="value", unit=0.01, key="k", status="valid")
    return made | {"comparable": True} | more


# ---- One number ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reported", "ours", "more", "agrees"),
    [
        (0.50, 0.554, {}, True),  # 10% and half a digit: up to 0.555
        (0.50, 0.556, {}, False),
        (0.00, 0.004, {}, True),
        (0.00, 0.006, {}, False),
        (-0.80, -0.781, {"kind": "change", "unit": 0.001}, True),  # 0.2 of the start, give or take 0.02
        (-0.80, -0.779, {"kind": "change", "unit": 0.001}, False),
        (BELOW, -0.996, {"kind": "change"}, True),
        (BELOW, -0.99, {"kind": "change"}, False),
        (ABOVE, 1.5, {"kind": "change"}, True),
        (ABOVE, 0.9, {"kind": "change"}, False),
        (0.05, 0.05, {"kind": "exact"}, True),
        (0.05, 0.0501, {"kind": "exact"}, False),
        ("AdamW", "Adam", {"kind": "exact"}, False),
        ("8 to 16", 9.0, {"kind": "range", "range": (8, 16)}, True),
        ("8 to 16", 7.0, {"kind": "range", "range": (8, 16)}, False),
    ],
)
def test_ours_agrees_up_to_rounding_and_tolerance(reported, ours, more, agrees):
    judged = judge(row(reported, ours, **more), **TOLERANCES)
    assert judged["verdict"] == (AGREES if agrees else DIFFERS)
    expected = ours - reported if isinstance(reported, float) else math.nan
    assert judged["difference"] == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("metric", "low", "high"), [("NC1", 6.8, 7.2), ("NC2", 0.794, 0.800), ("NC3", 1.413, 1.423)]
)
def test_the_initial_values_that_the_papers_changes_imply(reported, metric, low, high):
    """They are one value for all optimizers of table 2: ours in training mode, not in eval mode."""
    for numbers in reported["table2"].values():
        implied = implied_initial(numbers[metric], numbers["change"][metric])
        assert implied[0] <= high and low <= implied[1]
    measured = pd.read_csv(ROOT / "reference/initial_values.csv").set_index("mode")[metric]
    assert low <= measured["training"] <= high and not low <= measured["eval"] <= high
    assert implied_initial(0.34, None) is None


def test_a_change_against_another_initial_value_is_no_difference_of_the_dynamics():
    its = {"kind": "change", "unit": 0.001, "initial_reported": (6.8, 7.5)}
    assert judge(row(-0.972, -0.963, initial=5.65, **its), **TOLERANCES)["verdict"] == OTHER_INITIAL
    assert judge(row(-0.972, -0.963, initial=7.1, **its), **TOLERANCES)["verdict"] == DIFFERS
    assert judge(row(-0.972, -0.972, initial=5.65, **its), **TOLERANCES)["verdict"] == AGREES


def test_at_another_scale_only_the_direction_of_a_change_is_said():
    def verdict(reported: object, ours: float, kind: str) -> dict:
        return judge(row(reported, ours, kind=kind, comparable=False), **TOLERANCES)

    assert verdict(0.5, 0.5, "value")["verdict"] == OTHER_SCALE
    assert verdict(-0.8, -0.1, "change")["verdict"] == SAME
    assert verdict(-0.8, 0.1, "change")["verdict"] == OPPOSITE
    assert verdict(BELOW, -0.1, "change")["verdict"] == SAME
    assert verdict(ABOVE, -0.1, "change")["verdict"] == OPPOSITE
    assert verdict(ABOVE, 0.3, "change")["verdict"] == SAME
    assert math.isnan(verdict(-0.8, -0.8, "change")["difference"])
    assert judge(row(0.5, math.nan), **TOLERANCES)["verdict"] == NOT_RUN
    assert judge(row(0.5, None), **TOLERANCES)["verdict"] == NOT_RUN
    assert judge(row("x", "y", other_hardware=True), **TOLERANCES)["verdict"] == OTHER_HARDWARE


def test_the_closed_form_is_held_to_the_printed_digits():
    def verdict(reported: object, closed: float, **more: object) -> str:
        return judge(row(reported, math.nan, closed_form=closed, **more), **TOLERANCES)["closed_form_verdict"]

    assert verdict(0.55, 0.5453) == AGREES
    assert verdict(0.55, 0.5449) == DIFFERS
    assert verdict(2.14e-4, 1.4e-5, unit=1e-6) == BELOW_FLOOR
    assert verdict(0.31, 1e-5) == DIFFERS
    assert verdict(BELOW, -0.99999, kind="change") == AGREES
    assert verdict(0.55, math.nan) == ""


def test_printed_digits_and_what_the_tables_start_from(reported):
    assert [printed_unit(v) for v in (2.14e-4, 1.53e-5, 0.05, 3185.69, 0.0)] == pytest.approx(
        [1e-6, 1e-7, 0.01, 0.01, 0.01]
    )
    implied = {name: initial_value(reported["table2"], name) for name in ("NC0", "NC1", "NC2", "NC3")}
    assert implied == pytest.approx({"NC0": 1.75, "NC1": 7.0, "NC2": 0.80, "NC3": 1.41}, rel=0.02)
    assert is_near(0.5, row(0.5, 0), relative_tolerance=0.0)


# ---- What is comparable ----------------------------------------------------------------------------


def test_only_the_paper_and_core_have_the_papers_scale(parameters):
    comparable = {
        study: {
            target for target, its in paper_scale(parameters, study)["scales"].items() if its["comparable"]
        }
        for study in parameters["studies"]
    }
    assert comparable["demo"] == comparable["mini"] == set()
    assert {"table2", "figure5"} <= comparable["core"] and not comparable["core"] & {"table3", "grid", "vit"}
    assert comparable["paper"] == set(parameters["analysis"]["comparison"]["settings"]["experiments"])
    scale = paper_scale(parameters, "core")["scales"]["table3"]["scale"]
    assert scale == "no run of grid, ResNet9, FashionMNIST in this study"
    assert "width 0.125" in paper_scale(parameters, "mini")["scales"]["table2"]["scale"]
    assert "Digits stands in for FashionMNIST" in paper_scale(parameters, "demo")["scales"]["table2"]["scale"]


def test_a_part_of_the_papers_runs_is_not_its_table(parameters):
    changed = copy.deepcopy(parameters)
    changed["studies"]["core"]["experiments"]["grid"] = {
        "rows": [{"optimizer": "SGD", "learning_rate": 0.001, "momentum": [0, 0.5], "weight_decay": 0}]
    }
    scales = paper_scale(changed, "core")["scales"]
    for target in ("table3", "table5", "table6"):
        assert scales[target] == {"comparable": False, "scale": "2 of the paper's 648 runs"}
    assert scales["grid"]["scale"] == "2 of the paper's 3888 runs"


def test_an_experiment_left_out_of_all_studies_is_not_run(parameters, compare, runs):
    changed = copy.deepcopy(parameters)
    for study in changed["studies"].values():
        study["experiments"].pop("momentum_heatmap", None)
    known = paper_scale(changed, "paper")
    assert known["scales"]["figure5"]["scale"].startswith("no run of momentum_heatmap")
    figure = compare(runs[runs["experiment"] != "momentum_heatmap"], "paper", known)
    figure = figure[figure["target"] == "figure5"]
    assert set(figure["verdict"]) == {NOT_RUN} and set(figure["closed_form_verdict"]) == {""}


# ---- The table -------------------------------------------------------------------------------------


def test_every_reported_number_has_a_row(compare, runs):
    table = compare(runs, "paper")
    assert list(table.columns) == COLUMNS
    counts = table["target"].value_counts().to_dict()
    assert counts["figure5"] == 168 and counts["table2"] == 6 * 4 * 2 and counts["table3"] == 4 * 4 * 2
    assert counts["table5"] == 6 * 3 and counts["table6"] == 5 * 10 and counts["table7"] == 6
    assert counts["grid"] == 5 and counts["vit"] == 5
    assert not table.duplicated(["target", "item", "quantity"]).any()


def test_the_closed_form_gives_figure_5_and_sgdw_whatever_was_run(compare, runs):
    for table in (compare(runs, "paper"), compare(runs[:0], "mini")):
        known = table[table["closed_form_verdict"] != ""]
        figure = known[known["target"] == "figure5"]
        assert len(figure) == 56 and set(figure["closed_form_verdict"]) == {AGREES}
        sgdw = cell(table, "table2", "SGDW", "NC0 change")
        assert sgdw["closed_form"] == pytest.approx(-0.6891, abs=5e-5)
        assert sgdw["closed_form_verdict"] == AGREES
        sgd = cell(table, "table2", "SGD", "NC0")
        assert sgd["closed_form"] == pytest.approx(1.4e-5, rel=0.05)
        assert sgd["closed_form_verdict"] == BELOW_FLOOR
        assert DIFFERS not in set(known["closed_form_verdict"])


def test_at_the_papers_scale_numbers_agree_or_differ(compare, runs):
    is_adam = (runs["experiment"] == "table_2") & (runs["optimizer"] == "Adam")
    heat = (
        (runs["experiment"] == "momentum_heatmap")
        & (runs["momentum"] == 0.9)
        & (runs["weight_decay"] == 0.005)
    )
    ours = runs.copy()
    ours.loc[is_adam, ["NC0", "NC0_init", "NC3"]] = [0.34, 1.7538, 0.58]
    ours.loc[heat, "NC2"] = 0.23
    table = compare(ours, "paper")
    nc0 = cell(table, "table2", "Adam", "NC0")
    assert (nc0["verdict"], nc0["difference"], nc0["scale"]) == (AGREES, pytest.approx(0.0), "the paper's")
    assert nc0["key"] == ours.loc[is_adam, "key"].iloc[0]
    assert cell(table, "table2", "Adam", "NC0 change")["verdict"] == AGREES  # 0.34 / 1.7538 - 1 = -80.6%
    assert cell(table, "table2", "Adam", "NC3")["verdict"] == DIFFERS  # twice the paper's 0.29
    nc2 = cell(table, "figure5", "momentum 0.9, weight decay 0.005", "NC2")
    assert nc2["verdict"] == AGREES and nc2["difference"] == pytest.approx(0.01)
    assert nc2["key"] == ours.loc[heat, "key"].iloc[0]
    assert SAME not in set(table["verdict"]) and OTHER_SCALE not in set(table["verdict"])


def test_numbers_of_a_scaled_study_are_never_said_to_agree(compare, runs):
    identical = runs.copy()
    table = compare(identical, "mini")
    assert not {AGREES, DIFFERS} & set(table["verdict"])
    assert table["difference"].isna().all()
    adam = cell(table, "table2", "Adam", "NC0")
    assert adam["verdict"] == OTHER_SCALE and adam["ours"] > 0
    assert adam["scale"].startswith("mini study, not the paper's scale: width 0.125")
    assert cell(table, "table2", "AdamW", "NC0 change")["verdict"] in (SAME, OPPOSITE)


def test_a_scaled_decay_is_found_under_the_decay_that_it_was_scaled_from(compare, runs, parameters):
    known = paper_scale(parameters, "mini")
    assert known["decay_scales"] == [2.803]
    heat = runs["experiment"] == "momentum_heatmap"
    scaled = runs.copy()
    scaled.loc[heat, "weight_decay"] = [float(f"{d * 2.803:.6g}") for d in scaled.loc[heat, "weight_decay"]]
    table = compare(scaled, "mini", known)
    figure = table[(table["target"] == "figure5") & (table["quantity"] == "NC3")]
    unscaled = compare(runs, "paper")
    assert figure["key"].tolist() == unscaled.loc[figure.index, "key"].tolist()
    assert compare(runs, "mini", known | {"decay_scales": []}).loc[figure.index, "key"].eq("").all()


def test_what_was_not_run_or_broke_off_says_why(compare, runs):
    lost = fail(runs, runs["optimizer"] == "AdamW", status="diverged", reason="loss")
    table = compare(lost, "paper")
    adamw = cell(table, "table2", "AdamW", "NC1")
    assert adamw["verdict"] == NOT_RUN and adamw["status"] == "no valid run of AdamW here: 1 diverged"
    assert cell(table, "table3", "AdamW", "NC1")["status"].endswith("diverged")
    assert set(table.loc[table["target"] == "vit", "verdict"]) == {NOT_RUN}
    nothing = compare(runs[:0], "paper")
    assert set(nothing["verdict"]) == {NOT_RUN}


def test_the_grids_cost_is_compared_on_the_papers_device_alone(compare, runs):
    grid = runs["experiment"] == "grid"
    on_cpu = compare(runs.assign(device="cpu"), "paper")
    assert cell(on_cpu, "grid", "all", "gpu hours")["verdict"] == OTHER_HARDWARE
    on_gpu = compare(runs.assign(device="NVIDIA GeForce RTX 4090"), "paper")
    minutes = cell(on_gpu, "grid", "all", "minutes a run")
    assert (minutes["ours"], minutes["verdict"]) == (8.0, AGREES)
    assert cell(on_gpu, "grid", "all", "gpu hours")["ours"] == pytest.approx(grid.sum() * 480 / 3600)
    assert cell(on_gpu, "grid", "all", "runs")["verdict"] == DIFFERS  # 648 of 3,888


def test_tables_5_6_7_and_the_vit(compare, runs):
    vit = runs[runs["experiment"] == "table_2"].assign(
        experiment="vit", architecture="ViT", dataset="CIFAR10"
    )
    vit = vit.assign(test_accuracy=[0.5, 0.6, 0.7, 0.8361, 0.4, 0.3], momentum=0.95, weight_decay=0.5)
    zero = runs[
        (runs["experiment"] == "grid") & (runs["optimizer"] == "SGD") & (runs["learning_rate"] == 0.01)
    ]
    zero = zero.assign(experiment="zero_weight_decay")
    zero.loc[zero["weight_decay"] == 0, "epochs"] = 2000
    zero.loc[zero["weight_decay"] == 0, "NC3"] = 0.71
    table = compare(pd.concat([runs, vit, zero], ignore_index=True), "paper")
    best = cell(table, "vit", "best run", "best_test_accuracy")
    assert (best["ours"], best["verdict"]) == (0.8361, AGREES)
    assert cell(table, "vit", "best run", "optimizer")["ours"] == "AdamW"
    assert cell(table, "vit", "best run", "momentum")["verdict"] == AGREES
    assert cell(table, "table7", "no_weight_decay_2000_epochs", "NC3")["verdict"] == AGREES
    valid = runs[(runs["experiment"] == "grid") & runs["valid"]]
    assert cell(table, "table6", "all", "n")["ours"] == len(valid)
    adam = valid[valid["optimizer"] == "Adam"].sort_values("NC3").iloc[0]
    assert cell(table, "table5", "Adam", "learning_rate")["ours"] == adam["learning_rate"]


# ---- For the eye -----------------------------------------------------------------------------------


def test_the_summary_counts_and_leaves_out_verdicts_that_nobody_has(compare, runs):
    table = compare(runs, "mini")
    summary = print_summary(table).set_index("Target")
    assert summary.loc["Figure 5", "Numbers"] == 168
    assert summary.loc["Figure 5", "Closed form against the paper"] == "56 of 56 agree"
    assert summary.loc["Table 2", "Closed form against the paper"] == "3 of 4 agree, 1 below the floor"
    assert "Agrees" not in summary and "Same direction" in summary
    assert (
        summary.drop(columns=["Numbers", "Closed form against the paper"]).sum(axis=1) == summary["Numbers"]
    ).all()


def test_figure_5_is_printed_as_grids(compare, runs):
    heatmaps = [part for part in sections(compare(runs, "paper")) if part[0].startswith("Figure 5")]
    assert [heading for heading, _, _ in heatmaps] == [
        f"Figure 5, {m}: the paper's / ours" for m in ("NC0", "NC2", "NC3")
    ]
    grid = heatmaps[0][2]
    assert grid.shape == (7, 9)
    assert grid.iloc[3, 0] == "0.9" and grid["0.005"].iloc[3].startswith("0.31 / ")
    empty = compare(runs[:0], "paper")
    cells = heatmap_grid(empty[(empty["target"] == "figure5") & (empty["quantity"] == "NC3")])
    assert cells["0.005"].iloc[3] == "0.30 / –"


@pytest.mark.parametrize("study", ["mini", "paper"])
def test_as_a_script_it_writes_all_files(runs, parameters, tmp_path, study):
    runs.to_parquet(tmp_path / "runs")
    settings = target_settings(parameters, study, parameters["analysis"]["comparison"]["settings"])
    known = {"known": paper_scale(parameters, study), "study": study}
    job = as_job(
        tmp_path,
        "tables/comparison.py",
        input={"runs": tmp_path / "runs", "reported": ROOT / "reference/reported.yaml"},
        output={kind: tmp_path / kind for kind in ("csv", "markdown", "html")},
        params={"settings": settings, "caption": "Its caption", **known},
    )
    runpy.run_path(str(SCRIPTS / "tables" / "comparison.py"), init_globals={"snakemake": job})
    written = pd.read_csv(tmp_path / "csv")
    assert len(written) == 332
    assert len(print_summary(written)) == 8, "the report reads the file again"
    text = (tmp_path / "markdown").read_text(encoding="utf-8")
    assert text.startswith("**Its caption**\n\n### Summary, study " + study)
    assert ("not the paper's scale" in text) == (study == "mini")
    page = (tmp_path / "html").read_text(encoding="utf-8")
    assert page.count("<table>") == 1 + 7 + 3 and "<td>0.00 / " not in text


def test_missing_numbers_print_as_dashes(compare, runs, tmp_path):
    table = compare(runs[:0], "paper")
    files = {kind: tmp_path / kind for kind in ("csv", "markdown", "html")}
    write_comparison(table, **files, title="T", study="paper")
    text = files["markdown"].read_text(encoding="utf-8")
    assert "nan" not in text.lower() and "–" in text
    assert pd.read_csv(files["csv"])["difference"].isna().all()
