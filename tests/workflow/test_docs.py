"""README and docs name only what exists, and their numbers are those of the files that they come from."""

import json
import re
import shlex
from decimal import Decimal
from pathlib import Path
from pkgutil import resolve_name

import pandas as pd
import pytest
import yaml
from conftest import ROOT
from snakemake.cli import parse_args

from collapse.commands import arguments as common
from collapse.commands import options
from collapse.commands.main import COMMANDS, parser
from collapse.paper.comparison.paper_scale import paper_scale
from collapse.paper.comparison.table import comparison_table
from collapse.paper.targets import aliases_of, target_settings, targets_of
from collapse.study.parameters import load_parameters
from collapse.study.runs import run_table, unique_runs

PAGES = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "DEVIATIONS")] + sorted(
    ROOT.glob("docs/*.md")
)
EVIDENCE = ROOT / "evidence/core/table_2"
METRICS = ("NC0", "NC1", "NC2", "NC3")
FOLDERS = "src|workflow|tests|docs|profiles|reference|envs|benchmarks|evidence"
OF_THE_ROOT = r"Snakefile|Makefile|params\.yaml|targets\.yaml|dvc\.yaml|dvc\.lock|[A-Z]+\.md"
REFUSED = {("demo", "figure_31")}  # asked for in the docs to show the message
# Files that a reader makes who follows docs/extending.md; tests/workflow/test_extending.py does.
MADE_BY_A_RECIPE = set(
    re.findall(r"In `([^`]+)`, new:", (ROOT / "docs/extending.md").read_text(encoding="utf-8"))
)
IN_WORDS = {"three": 3, "five": 5, "six": 6, "seven": 7, "twelve": 12}
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def prose(text):
    """The text on one line, so that a sentence can be found in it."""
    return " ".join(text.split())


def code_lines(page):
    """The lines of all code blocks, without comments."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [re.split(r"(?:^|\s)#\s", line)[0].strip() for block in blocks for line in block.splitlines()]


def code_spans(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text)


def code(page):
    return code_lines(page) + code_spans(page)


def calls(tool, lines):
    """The arguments in every line that calls a tool, also as `.venv/bin/tool` or `python -m tool`."""
    found = [re.search(rf"(?:^|\.venv/bin/|-m ){tool} (.+)", line) for line in lines]
    return [shlex.split(match[1]) for match in found if match]


def table_under(text, heading):
    """The first table under a heading, as dicts by the names of the columns."""
    lines = f"\n{text}".partition(f"\n{heading}\n")[2].splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


def as_printed(value, text):
    """A value to the digits of a printed number: 0.3469 as "0.347" is, 0.000205 as "2.05e-4" is."""
    sign, digits, exponent = Decimal(text).as_tuple()
    return Decimal(float(value)).quantize(Decimal((sign, digits, exponent))) == Decimal(text)


def anchors(page):
    """What a link may name behind #: the headings as GitHub writes them."""
    headings = re.findall(r"^#+ (.*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_links_and_pictures_are_there(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not link.startswith("https://"):
            name, _, anchor = link.partition("#")
            linked = (page.parent / name).resolve() if name else page
            assert linked.exists(), link
            assert not anchor or anchor in anchors(linked), link


@every_page
def test_files_are_there(page):
    for words in code(page):
        names = re.findall(rf"(?<![\w/.>-])(?:{FOLDERS})/[\w./*-]*", words)
        names += re.findall(rf"(?<![\w/.-])(?:{OF_THE_ROOT})(?![\w/.-])", words)
        for name in set(names) - MADE_BY_A_RECIPE:
            assert any(ROOT.glob(name.rstrip("./"))), f"{name} in: {words}"


@every_page
def test_names_of_the_library_are_there(page):
    for words in code(page):
        for name in re.findall(r"(?<![\w/.-])collapse(?:\.[a-z]\w*)+", words):
            assert resolve_name(name), words


@every_page
def test_make_has_the_verbs(page, parameters):
    verbs = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    for words in code(page):
        for verb, rest in re.findall(r"(?:^|; )make ([a-z]+)(.*)", words):
            assert verb in verbs, words
            for study in re.findall(r"STUDY=(\w+)", rest):
                assert study in parameters["studies"], words


@every_page
def test_commands_parse(page, monkeypatch):
    """Folders of the reader's own need not be here."""
    monkeypatch.chdir(ROOT)
    for module in (common, options):
        monkeypatch.setattr(module, "existing_folder", Path)
    for arguments in calls("collapse", code_lines(page)):
        parser(chosen=arguments[0]).parse_args(arguments)


@every_page
def test_options_in_sentences_exist(page, capsys):
    for arguments in calls("collapse", code_spans(page)):
        assert arguments[0] in COMMANDS, arguments
        with pytest.raises(SystemExit):
            parser(chosen=arguments[0]).parse_args([arguments[0], "--help"])
        known = set(re.findall(r"--[\w-]+", capsys.readouterr().out))
        assert {word for word in arguments if word.startswith("--")} <= known, arguments


@every_page
def test_options_of_benchmarks_exist(page):
    for line in code_lines(page):
        if found := re.search(r"python (benchmarks/\w+\.py)(.*)", line):
            for option in re.findall(r"--[\w-]+", found[2]):
                assert f'"{option}"' in read(found[1]), line


@every_page
def test_snakemake_has_the_targets(page, parameters, monkeypatch):
    monkeypatch.chdir(ROOT)
    rules = "".join(
        file.read_text(encoding="utf-8") for file in [ROOT / "Snakefile", *ROOT.glob("workflow/rules/*")]
    )
    rules = set(re.findall(r"^rule (\w+):", rules, re.MULTILINE))
    for arguments in calls("snakemake", code(page)):
        _, chosen = parse_args([word for word in arguments if "<" not in word])
        study = dict(setting.split("=") for setting in chosen.config or []).get("study", parameters["study"])
        known = rules.union(aliases_of(parameters, study, "figures"))
        known |= {name for kind in ("tables", "figures") for name in targets_of(parameters, study, kind)}
        for target in chosen.targets:
            assert target in known or (study, target) in REFUSED, arguments


@pytest.fixture(scope="module")
def evidence():
    return pd.read_parquet(EVIDENCE / "runs.parquet").set_index("optimizer")


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
def test_the_table_of_studies(page, heading, parameters):
    """Runs and targets of each study; table 1 needs no run and is in all of them."""
    rows = table_under(read(page), heading)
    assert {row["study"].strip("`") for row in rows} == set(parameters["studies"])
    total = 1 + len(parameters["tables"]) + len(parameters["figures"])
    for row in rows:
        study = row["study"].strip("`")
        trainings = len(unique_runs(run_table(parameters, study)))
        assert row["training runs"].replace(",", "").split(" of ")[0].rstrip(" ,") == str(trainings), study
        built = 1 + sum(len(targets_of(parameters, study, kind)) for kind in ("tables", "figures"))
        built += len(aliases_of(parameters, study, "figures"))
        assert row["tables and figures"] == f"{built} of {total}", study


def test_the_number_of_claims_that_hold():
    verdicts = [
        row["verdict in `mini`"]
        for row in table_under(read("docs/claims.md"), "## Scale of the verdicts below")
    ]
    found = re.search(
        r"(\w+) claims are judged by program: (\w+) hold and (\w+) fail", prose(read("README.md"))
    )
    assert [IN_WORDS[word] for word in found.groups()] == [
        len(verdicts), verdicts.count("holds"), verdicts.count("fails"),
    ]  # fmt: skip


def test_the_tree_has_every_package():
    tree = read("README.md").partition("## Where things are")[2].partition("```\n")[2].partition("```")[0]
    listed = re.findall(r"^    (\w+)/ ", tree, re.MULTILINE)
    assert sorted(listed) == sorted(init.parent.name for init in ROOT.glob("src/collapse/*/__init__.py"))
    for names in re.findall(r"^(\S.*?)(?:   |$)", tree, re.MULTILINE):
        assert all((ROOT / name).exists() for name in names.split()), names


def test_the_ratios_of_the_benchmarks():
    """Medians and extremes on the page are rows of benchmarks/results.csv."""
    measured = pd.read_csv(ROOT / "benchmarks/results.csv")
    measured = measured[measured.quantity.str.startswith("times faster")][["value", "low", "high"]]
    printed = re.findall(r"([\d.]+) \[([\d.]+), ([\d.]+)\]", read("docs/performance.md"))
    assert len(printed) == 7
    for numbers in printed:
        assert any(all(map(as_printed, row, numbers)) for row in measured.to_numpy()), numbers
