"""The digest of code: what it follows, and what it does not."""

import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import ROOT

from collapse.records import code_digest as digests
from collapse.records.code_digest import code_digest

SCRIPT = """
    '''A script.'''
    from pack.formula import square

    print(square(2))
"""
FORMULA = """
    '''A module.'''
    from pack import constants


    def square(x):
        '''x times x.'''
        return x * x + constants.ZERO
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A package `pack` of two modules and a script that imports one of them."""
    monkeypatch.setattr(digests, "PACKAGE", tmp_path / "pack")
    digests.examined.cache_clear()
    (tmp_path / "pack").mkdir()
    files = {
        "script.py": SCRIPT,
        "pack/__init__.py": "",
        "pack/formula.py": FORMULA,
        "pack/constants.py": "ZERO = 0\n",
        "pack/unrelated.py": "ONE = 1\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(textwrap.dedent(text), encoding="utf-8")

    def digest_after(name=None, old="", new=""):
        if name:
            path = tmp_path / name
            text = path.read_text(encoding="utf-8")
            assert old in text
            path.write_text(text.replace(old, new), encoding="utf-8")
            digests.examined.cache_clear()
        return code_digest(tmp_path / "script.py")

    return digest_after


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("pack/formula.py", "'''x times x.'''", "'''The square.'''"),
        ("pack/formula.py", "'''A module.'''", ""),
        ("pack/formula.py", "return x * x", "# a comment\n    return (x\n        * x)"),
        ("script.py", "'''A script.'''\n", "'''The script.'''\n# commented\n\n"),
        ("pack/unrelated.py", "ONE = 1", "ONE = 2"),
    ],
)
def test_what_changes_nothing(project, name, old, new):
    assert project() == project(name, old, new)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("script.py", "square(2)", "square(3)"),
        ("pack/formula.py", "x * x", "x * x * x"),
        ("pack/constants.py", "ZERO = 0", "ZERO = 1"),
    ],
)
def test_what_changes_it(project, name, old, new):
    assert project() != project(name, old, new)


def test_the_measure_script_reaches_the_metrics_and_not_the_trainer(monkeypatch):
    seen = []
    examined = digests.examined
    monkeypatch.setattr(digests, "examined", lambda path: seen.append(path.name) or examined(path))
    code_digest(ROOT / "workflow/scripts/measure.py")
    assert {"measure.py", "measurement.py", "neural_collapse.py", "conventions.py"} <= set(seen)
    assert not {"run.py", "packs.py", "rules.py"} & set(seen)


def test_a_script_and_a_module_of_the_same_name_both_count(project, tmp_path):
    """As workflow/scripts/collect.py and collapse/collect.py."""
    (tmp_path / "pack/script.py").write_text("TWO = 2\n")
    before = project("script.py", "from pack.formula import square", "from pack import formula, script")
    assert before != project("pack/script.py", "TWO = 2", "TWO = 3")


def test_the_package_around_a_module_counts_and_its_place_does_not(project, tmp_path, monkeypatch):
    before = project()
    shutil.copytree(tmp_path, tmp_path / "moved")
    monkeypatch.setattr(digests, "PACKAGE", tmp_path / "moved/pack")
    assert code_digest(tmp_path / "moved/script.py") == before
    monkeypatch.setattr(digests, "PACKAGE", tmp_path / "pack")
    assert before != project("pack/__init__.py", "", "START = 1\n")


def test_the_digest_of_yaml_follows_what_it_says(tmp_path):
    file = tmp_path / "a.yaml"
    seen = []
    for text in ("a: 1\nb: [2, 3]\n", "# words\nb:\n- 2\n- 3\na: 1\n", "a: 1\nb: [3, 2]\n"):
        file.write_text(text)
        seen.append(digests.yaml_digest(file))
    assert seen[0] == seen[1] != seen[2]


IMPORTING = """
import ast, json, sys
loaded = {}
for script in sys.argv[1:]:
    for name in [name for name in sys.modules if name.split(".")[0] == "collapse"]:
        del sys.modules[name]
    for node in ast.parse(open(script, encoding="utf-8").read()).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            exec(ast.unparse(node))
    loaded[script] = [m.__file__ for name, m in sys.modules.items() if name.split(".")[0] == "collapse"]
print(json.dumps(loaded))
"""


def test_the_digest_of_every_script_reaches_all_that_python_imports_for_it(monkeypatch):
    """And more: what a function imports when it is called."""
    scripts = [str(path) for path in sorted((ROOT / "workflow/scripts").rglob("*.py"))]
    command = [sys.executable, "-c", IMPORTING, *scripts]
    loaded = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    examined = digests.examined
    for script in scripts:
        reached = set()
        monkeypatch.setattr(digests, "examined", lambda path: reached.add(path) or examined(path))  # noqa: B023
        code_digest(script)
        assert len(loaded[script]) > 3 and {Path(file) for file in loaded[script]} <= reached, script


def test_extraction_reaches_no_metric_and_no_optimizer(monkeypatch):
    """So that neither a formula nor a colour asks for a pass over the data."""
    seen, examined = [], digests.examined
    monkeypatch.setattr(digests, "examined", lambda path: seen.append(path) or examined(path))
    code_digest(ROOT / "workflow/scripts/extract_statistics.py")
    names = {path.relative_to(ROOT).as_posix() for path in seen}
    assert "src/collapse/training/evaluation.py" in names
    assert not {"src/collapse/metrics/neural_collapse.py", "src/collapse/optimizers/__init__.py"} & names
