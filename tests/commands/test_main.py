"""The `collapse` command."""

import argparse
import io
import subprocess
import sys
import tomllib
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT

from collapse.commands import options
from collapse.commands.arguments import existing_file, existing_folder
from collapse.commands.main import COMMANDS, main, parser
from collapse.training.kernels import trust


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_runs_as_csv_is_the_run_table(capsys):
    assert main(["runs", "paper", "--csv"]) == 0
    table = pd.read_csv(io.StringIO(capsys.readouterr().out), dtype={"key": str})
    assert table.columns[:3].tolist() == ["experiment", "key", "pack"]
    assert (table.experiment == "grid").sum() == 3888
    assert table.groupby("key").pack.nunique().eq(1).all()


def test_runs_prints_the_table_and_the_summary(capsys):
    assert main(["runs", "demo"]) == 0
    text = capsys.readouterr().out
    table = text.splitlines()
    assert sum(line.strip().startswith("table_2 ") for line in table) == 6 + 1
    assert "seed 3141" in text and "trainings; a run of two experiments is trained once" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_path_that_is_read_must_be_there(command):
    """Of each argument that is a path: what is written alone may be new."""
    top = parser(chosen=command)
    [commands] = (action for action in top._actions if action.choices)
    of_paths = [action for action in commands.choices[command]._actions if isinstance(action.default, Path)]
    of_paths += [action for action in commands.choices[command]._actions if action.type is Path]
    for action in of_paths:
        read = action.type in (existing_folder, existing_file)
        assert read or action.dest in ("out", "output") or command == "measure", (command, action.dest)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["runs", "dmeo"], "unknown study 'dmeo'"),
        (["runs", "demo", "--params", "absent.yaml"], "no such file"),
        (["runs", "demo", "--params", "."], "cannot be read"),
        (["measure", "absent.npz"], "absent.npz: no such file"),
        (["claims", "demo", "--results", "typo"], "typo: no such folder"),
        (["status", "demo", "--results", "params.yaml"], "params.yaml: not a folder"),
        (["crate", "demo", "--results", "typo"], "typo: no such folder"),
        (["lineage", "docs"], "docs is a folder; name a file in it, or the key of a run"),
        (["lineage", "0123456789ab", "--results", "typo"], "typo: no such folder"),
        (["plan", "demo", "--benchmarks", "typo.csv"], "typo.csv: no such file"),
        (["plan", "demo", "--benchmarks", "docs"], "docs: not a file"),
        (
            ["evidence", "--study", "core", "--experiment", "table_2", "--results", "typo"],
            "typo: no such folder",
        ),
    ],
)
def test_a_mistake_is_one_line_and_status_2(arguments, wanted, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert wanted in error and error.count("\n") == 1


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_no_help_waits_for_torch(command):
    code = (
        "import sys; from collapse.commands.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert 'torch' not in sys.modules"
    )
    words = [*([command] if command else []), "--help"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: collapse")


def test_the_version_is_that_of_the_project(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert capsys.readouterr().out == f"collapse {project['version']}\n"


def test_the_kernels_to_choose_from_are_those_there_are():
    top = argparse.ArgumentParser()
    options.train(top)
    [choices] = (action.choices for action in top._actions if action.dest == "kernels")
    assert tuple(choices) == trust.NAMES
