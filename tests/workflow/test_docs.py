"""README and docs name only what exists."""

import re
import shlex
from pkgutil import resolve_name

import pytest
from conftest import ROOT
from pages import read
from snakemake.cli import parse_args

from collapse.commands.main import COMMANDS, parser
from collapse.paper.targets import aliases_of, targets_of

PAGES = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "DEVIATIONS")] + sorted(
    ROOT.glob("docs/*.md")
)
FOLDERS = "src|workflow|tests|docs|profiles|reference|envs|benchmarks|evidence"
OF_THE_ROOT = r"Snakefile|Makefile|params\.yaml|targets\.yaml|dvc\.yaml|dvc\.lock|[A-Z]+\.md"
REFUSED = {("demo", "figure_31")}  # asked for in the docs to show the message
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


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
    made = set(re.findall(r"In `([^`]+)`, new:", page.read_text(encoding="utf-8")))  # by a recipe
    for words in set(code(page)) - made:
        names = re.findall(rf"(?<![\w/.>-])(?:{FOLDERS})/[\w./*-]*", words)
        names += re.findall(rf"(?<![\w/.-])(?:{OF_THE_ROOT})(?![\w/.-])", words)
        for name in names:
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
def test_commands_parse(page, monkeypatch, tmp_path):
    """As in a shell, in the project, by a user who has a folder ~/datasets."""
    monkeypatch.chdir(ROOT)
    (tmp_path / "datasets").mkdir()
    for arguments in calls("collapse", code_lines(page)):
        words = [re.sub(r"^~", str(tmp_path), word) for word in arguments]
        parser(chosen=words[0]).parse_args(words)


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
        known |= {
            name for kind in ("theory", "tables", "figures") for name in targets_of(parameters, study, kind)
        }
        for target in chosen.targets:
            assert target in known or (study, target) in REFUSED, arguments


def test_the_tree_has_every_package():
    tree = read("README.md").partition("## Where things are")[2].partition("```\n")[2].partition("```")[0]
    listed = re.findall(r"^    (\w+)/ ", tree, re.MULTILINE)
    assert sorted(listed) == sorted(init.parent.name for init in ROOT.glob("src/collapse/*/__init__.py"))
    for names in re.findall(r"^(\S.*?)(?:   |$)", tree, re.MULTILINE):
        assert all((ROOT / name).exists() for name in names.split()), names
