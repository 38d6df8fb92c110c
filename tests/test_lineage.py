"""The digest of code: what it follows, and what it does not."""

import textwrap

import pytest

from collapse import lineage
from collapse.lineage import code_digest

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
    monkeypatch.setattr(lineage, "PACKAGE", tmp_path / "pack")
    lineage.examined.cache_clear()
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
            lineage.examined.cache_clear()
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
    from conftest import ROOT

    seen = []
    examined = lineage.examined
    monkeypatch.setattr(lineage, "examined", lambda path: seen.append(path.name) or examined(path))
    code_digest(ROOT / "workflow/scripts/measure.py")
    assert {"measure.py", "measurement.py", "metrics.py", "conventions.py"} <= set(seen)
    assert not {"training.py", "packs.py", "rules.py"} & set(seen)
