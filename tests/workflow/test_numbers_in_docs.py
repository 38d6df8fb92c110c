"""The numbers in README and docs are those of the files that they come from."""

import json
import re

import pandas as pd
import pytest
import yaml
from claim_rows import TABLE_102, THEOREMS
from conftest import ROOT
from pages import as_printed, prose, read, table_under

from collapse.commands.evidence import FRACTIONS
from collapse.measuring.collect import taken_over, with_validity
from collapse.measuring.evidence_files import evidence_folders, measured_experiments
from collapse.measuring.results import read_depth, read_runs
from collapse.paper.claims import findings
from collapse.paper.comparison.paper_scale import paper_scale
from collapse.paper.comparison.table import comparison_table
from collapse.paper.optimizer_table import optimizer_rows
from collapse.paper.target_checks import is_table
from collapse.paper.targets import aliases_of, target_settings, targets_of
from collapse.study.families import of_family
from collapse.study.parameters import load_parameters
from collapse.study.runs import run_table, unique_runs, valid_accuracies

EVIDENCE = ROOT / "evidence/core/table_2"
IN_WORDS = {"three": 3, "five": 5, "six": 6, "seven": 7, "twelve": 12}


@pytest.fixture(scope="module")
def evidence():
    return pd.read_parquet(EVIDENCE / "runs.parquet").set_index("optimizer")


SECTIONS = ("theory", "tables", "figures")


def test_the_table_of_results(evidence):
    """Ours are those of evidence/, the paper's those of reference/, both to the printed digits."""
    reported = yaml.safe_load(read("reference/reported.yaml"))["table2"]
    rows = table_under(read("README.md"), "## Results at the paper's own size")
    assert [row["optimizer"] for row in rows] == list(reported)
    for row in rows:
        for metric in ("NC0", "NC3"):
            assert float(row[f"{metric}, paper"]) == reported[row["optimizer"]][metric]
            ours = row[f"{metric}, ours"]
            if row["optimizer"] in evidence.index:
                assert as_printed(evidence.loc[row["optimizer"], metric], ours), row
            else:
                assert ours == "not run yet"
    times = re.search(r"NC3 ends at ([\d.]+) times Adam's", prose(read("README.md")))[1]
    assert as_printed(evidence.NC3["AdamW"] / evidence.NC3["Adam"], times)
    number = IN_WORDS[
        re.search(r"(\w+) of these runs have been trained", prose(read("README.md")))[1].lower()
    ]
    assert number == len(evidence)


@pytest.fixture(scope="module")
def comparison(evidence):
    """Every number of the paper beside ours, as `make evidence` has it."""
    parameters = load_parameters(ROOT / "params.yaml")
    reported = yaml.safe_load(read("reference/reported.yaml"))
    settings = target_settings(parameters, "evidence", parameters["analysis"]["comparison"]["settings"])
    known = paper_scale(parameters, "evidence")
    return comparison_table(evidence.reset_index(), reported, known, **settings)


def test_the_closed_forms_in_the_table(comparison):
    of_nc0 = comparison[comparison.quantity == "NC0"].set_index("item")
    theirs = of_nc0[of_nc0.target == "table2"].closed_form
    for row in table_under(read("README.md"), "## Results at the paper's own size"):
        printed, known = row["NC0, closed form"], theirs[row["optimizer"]]
        assert printed == "–" if pd.isna(known) else as_printed(known, printed), row
    figure_5 = of_nc0[of_nc0.target == "figure5"].closed_form_verdict
    assert f"all {(figure_5 == 'agrees').sum()} values of NC0 in its figure 5" in prose(read("README.md"))
    assert (figure_5 == "agrees").all()


def test_the_numbers_that_agree(comparison):
    compared = comparison[(comparison.target == "table2") & (comparison.verdict != "not run")]
    agree = int((compared.verdict == "agrees").sum())
    words = prose(read("README.md"))
    assert f"Of the {len(compared)} numbers of these three runs, {agree} agree within a tenth" in words
    assert f"{agree} of {len(compared)} agree within a tenth" in prose(read("docs/evidence.md"))
    others = compared[compared.verdict != "agrees"].groupby(["verdict", "quantity"]).item.apply(list)
    assert others.to_dict() == {
        ("differs", "NC1"): ["SGD", "Adam"],
        ("differs", "NC2"): ["SGD", "Adam"],
        ("other initial value", "NC1 change"): ["SGD", "AdamW"],
    }, "README names them"


def test_sgd_follows_its_closed_form(evidence):
    history = pd.read_parquet(EVIDENCE / "history.parquet")
    its = history[history.key == evidence.loc["SGD", "key"]]
    deviation = (its.NC0 / its.NC0_closed_form - 1).abs()
    assert "agrees with this closed form within 0.2% down to NC0 = 0.01" in prose(read("README.md"))
    assert deviation[its.NC0 >= 0.01].max() < 0.002
    assert its.NC0[its.epoch >= 70].between(1.9e-4, 2.2e-4).all(), "README: levels off at 2e-4"


def test_hardware_and_initial_values_are_named(evidence):
    words, about = prose(read("README.md")), json.loads((EVIDENCE / "about.json").read_text(encoding="utf-8"))
    made = list(about["runs"].values())
    assert {run["device"] for run in made} == {"NVIDIA H100 80GB HBM3"} and "NVIDIA H100 80GB HBM3" in words
    assert {run["commit"][:7] for run in made} == {"8359746"} and "commit 8359746" in words
    assert {run["torch_version"].partition("+")[0] for run in made} == {
        "2.11.0"
    } and "PyTorch 2.11.0" in words
    assert set(evidence.precision) == {"tf32"} and set(evidence.seed) == {3141} and "one seed (3141)" in words
    initial = re.search(r"At initialisation NC0 is ([\d.]+) and NC3 is ([\d.]+[^.\D])", words)
    for metric, printed in zip(("NC0", "NC3"), initial.groups(), strict=True):
        assert all(as_printed(value, printed) for value in evidence[f"{metric}_init"])


def test_the_runs_on_the_page_of_evidence(evidence):
    rows = table_under(read("docs/evidence.md"), "# Evidence: measurements at the paper's size, kept in git")
    assert [row["run"] for row in rows] == list(evidence.index)
    for row in rows:
        assert as_printed(evidence.loc[row["run"], "seconds"], row["time"].removesuffix(" s"))


@pytest.mark.parametrize(("page", "heading"), [("README.md", "## Studies"), ("docs/studies.md", "# Studies")])
def test_the_table_of_studies(page, heading, parameters, evidence, monkeypatch):
    """Runs and targets of each study, of evidence as far as measured; tables of the theory need no run."""
    monkeypatch.chdir(ROOT)
    parameters["studies"]["evidence"] = measured_experiments(parameters, "evidence")
    rows = table_under(read(page), heading)
    assert {row["study"].strip("`") for row in rows} == set(parameters["studies"])
    assert f"of which {len(evidence)} are measured" in read(page)
    for row in rows:
        study = row["study"].strip("`")
        sections = (of_family(parameters["studies"][study], parameters[its]) for its in SECTIONS)
        theory, tables, figures = sections
        of_theory = sum(map(is_table, theory))
        total = of_theory + len(tables) + len(figures)
        trainings = len(unique_runs(run_table(parameters, study)))
        assert re.match(r"[\d,]*\d", row["training runs"])[0].replace(",", "") == str(trainings), study
        built = of_theory + sum(len(targets_of(parameters, study, kind)) for kind in ("tables", "figures"))
        built += len(aliases_of(parameters, study, "figures"))
        assert row["tables and figures"] == f"{built} of {total}", study


def test_the_number_of_claims_that_hold():
    verdicts = [
        row["verdict in `mini`"]
        for row in table_under(read("docs/claims.md"), "## Scale of the verdicts below")
    ]
    found = re.search(
        r"(\w+) claims are judged by a program: (\w+) hold and (\w+) fail", prose(read("README.md"))
    )
    assert [IN_WORDS[word] for word in found.groups()] == [
        len(verdicts), verdicts.count("holds"), verdicts.count("fails"),
    ]  # fmt: skip


def test_the_ratios_of_the_benchmarks():
    """Medians and extremes on the page are rows of benchmarks/results.csv."""
    measured = pd.read_csv(ROOT / "benchmarks/results.csv")
    measured = measured[measured.quantity.str.startswith("times faster")][["value", "low", "high"]]
    printed = re.findall(r"([\d.]+) \[([\d.]+), ([\d.]+)\]", read("docs/performance.md"))
    assert len(printed) == 7
    for numbers in printed:
        assert any(all(map(as_printed, row, numbers)) for row in measured.to_numpy()), numbers


def test_the_table_beyond_the_paper():
    """Rows of table 101, at the smaller decay, of the runs in evidence/mini."""
    runs = read_runs(ROOT / "evidence/mini/optimizers/runs.parquet")
    printed = table_under(read("docs/beyond-the-paper.md"), "## What was measured")
    names = [row["optimizer"] for row in printed]
    table = optimizer_rows(runs, optimizers=names, floor=0.001)
    table = table.sort_values("weight_decay").drop_duplicates("optimizer").set_index("optimizer")
    columns = {"NC0": "NC0", "NC0 / closed form": "ratio", "NC3": "NC3", "NC3 of centred W": "NC3_centred"}
    for row in printed:
        its = table.loc[row["optimizer"]]
        assert row["row sum kept"] == its["keeps_row_sum"] and row["seeds"] == str(its["valid"]), row
        assert all(as_printed(its[column], row[name]) for name, column in columns.items()), row


def test_the_verdicts_on_the_pages_are_those_of_the_evidence(parameters):
    """Of every claim that looks at runs; theorems are checked elsewhere."""
    folders = evidence_folders(ROOT / "evidence/mini")
    table = run_table(parameters, "mini_evidence").astype(FRACTIONS)
    runs, history = taken_over(table, folders)
    runs = with_validity(runs, valid_accuracies(parameters, "mini_evidence"))
    assert set(runs["status"]) == {"done"}, "all of mini is measured"
    settings = {**parameters["analysis"]["claims"]["settings"]}
    del settings["alternatives"]
    settings["bootstrap"] = {**settings["bootstrap"], "resamples": 1}
    depth = read_depth(ROOT / "evidence/mini/depth/depth.parquet")
    found = findings(runs, history, THEOREMS, depth, TABLE_102, **settings)
    printed = {
        row[""]: row["verdict in `mini`"]
        for row in table_under(read("docs/claims.md"), "## Scale of the verdicts below")
    }
    beyond = prose(read("docs/beyond-the-paper.md"))
    printed |= dict(re.findall(r"- ([OD]\d) (?:is )?\*\*(holds|fails|not testable)", beyond))
    assert {name: found[name].verdict for name in printed} == printed
    assert {*printed} == {*found} - {"C5c"} and found["C5c"].verdict == "holds"
