"""The digest of code: what it follows, and what it does not."""

import ast
import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import ROOT
from other_pythons import OTHERS

from collapse.records import code_digest as digests
from collapse.records.code_digest import code_digest
from collapse.records.syntax import plain

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


def forget():
    """What was read of files that change."""
    digests.examined.cache_clear()
    digests.registries_in.cache_clear()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A package `pack` of two modules and a script that imports one of them."""
    monkeypatch.setattr(digests, "PACKAGE", tmp_path / "pack")
    forget()
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
            forget()
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
    monkeypatch.setattr(
        digests, "examined", lambda path, used: seen.append(path.name) or examined(path, used)
    )
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
        monkeypatch.setattr(digests, "examined", lambda path, used: reached.add(path) or examined(path, used))  # noqa: B023
        code_digest(script)
        assert len(loaded[script]) > 3 and {Path(file) for file in loaded[script]} <= reached, script


def test_extraction_reaches_no_metric_and_no_optimizer(monkeypatch):
    """So that neither a formula nor a colour asks for a pass over the data."""
    seen, examined = [], digests.examined
    monkeypatch.setattr(digests, "examined", lambda path, used: seen.append(path) or examined(path, used))
    code_digest(ROOT / "workflow/scripts/extract_statistics.py")
    names = {path.relative_to(ROOT).as_posix() for path in seen}
    assert "src/collapse/training/evaluation.py" in names
    assert not {"src/collapse/metrics/neural_collapse.py", "src/collapse/optimizers/__init__.py"} & names


REGISTRY = """
    from pack import constants, formula
    from pack.lion import lion
    from pack.wrong import *

    MODULES = {"one": constants, "two": formula}
    OPTIMIZERS: dict[str, object] = {"SGD": max, "Lion": lion, **MODULES}
    OTHERS = {"Lion": lion}
"""


@pytest.fixture
def registry(project, tmp_path):
    """The digest of a script that reads a registry, after a change."""
    files = {"registry.py": REGISTRY, "lion.py": "def lion(): return 1\n", "wrong.py": ""}
    for name, text in files.items():
        (tmp_path / "pack" / name).write_text(textwrap.dedent(text), encoding="utf-8")
    script = tmp_path / "script.py"
    script.write_text("from pack.registry import OPTIMIZERS\n", encoding="utf-8")

    def digest_after(used, name=None, old="", new=""):
        if name:
            project(name, old, new)
        return code_digest(script, entries=used)

    return digest_after


def test_entries_that_a_job_does_not_use_are_not_covered(registry):
    used = {"optimizer": ["SGD"], "architecture": ["one"]}
    before = registry(used)
    added = ("pack/registry.py", '"SGD": max,', '"SGD": max, "Adam": min,')
    assert before == registry(used, *added)
    assert before == registry(used, "pack/registry.py", '"two": formula', '"two": formula, "three": 3')
    assert before != registry(used, "pack/registry.py", '"SGD": max', '"SGD": sum'), "its own entry"
    before = registry(used)
    assert before != registry(used, "pack/constants.py", "ZERO = 0", "ZERO = 1"), "what its own entry imports"
    assert registry(used) != registry({"optimizer": ["SGD", "Adam"], "architecture": ["one"]})
    assert registry(None) == registry({}), "nothing said: all entries"


def test_what_is_imported_for_another_entry_alone_is_not_reached(registry):
    used = {"optimizer": ["SGD"], "architecture": ["one"]}
    before = registry(used)
    assert before == registry(used, "pack/formula.py", "x * x", "x * x * x"), "of the entry two"
    assert before != registry(used, "pack/lion.py", "1", "2"), "OTHERS, which is no registry, has it too"
    before = registry(used, "pack/registry.py", 'OTHERS = {"Lion": lion}', "")
    assert before == registry(used, "pack/lion.py", "2", "3")
    assert registry(None) != registry(None, "pack/lion.py", "3", "4")


STRINGS = """
f"{x:}", f"{x}", f"a" "b" f"{y!r:>{w}}", f"{x:{w}.{p}}", f"{x=}", f"{{}}{x}", f"", "", u"text", b"bytes",
1e-8, f"{x:a{y}b}", f"{x:%H:%M}", "\N{GREEK SMALL LETTER ALPHA}\U0001fae8", 1j, ..., None, True, 
10**400, {**a, 1: 2}
async def f(a, /, b=None, *c, d, e: int = 3, **g) -> None: return
def h(*, a, b=1): return None
x[:1], x[1:], x[::2]
match x:
    case {"a": None, **rest}: pass
    case [1, *_]: pass
"""


def test_the_form_tells_apart_what_does_something_else():
    assert plain(ast.parse('f"{x:}"')) == plain(ast.parse('f"{x}"'))
    values = ["''", "None", "1", "True", "1.0", "b'1'", "'1'", "{**a}", "{None: a}", "x[1:]", "x[:1]"]
    different = ['f"{x!r}"', *values]
    forms = [json.dumps(plain(ast.parse(text))) for text in different]
    assert len(set(forms)) == len(different)
    function = "def f(*, a, b=1): pass", "def f(*, a=1, b): pass", "def f(a, *, b=1): pass"
    assert len({json.dumps(plain(ast.parse(text))) for text in function}) == 3


ELSEWHERE = """
import ast, json, sys
from collapse.records.code_digest import code_digest
from collapse.records.syntax import plain
used = {"optimizer": ["SGD"], "dataset": ["Digits"], "architecture": ["ResNet9"]}
scripts = {s: [code_digest(s), code_digest(s, entries=used)] for s in sys.argv[2:]}
print(json.dumps([scripts, plain(ast.parse(sys.argv[1]))]))
"""


@pytest.mark.skipif(not OTHERS, reason="no second Python here")
@pytest.mark.parametrize("python", OTHERS, ids=lambda path: path.parts[-3])
def test_another_version_of_python_has_the_same_digests(python):
    scripts = [str(path) for path in sorted((ROOT / "workflow/scripts").rglob("*.py"))]
    found = [
        subprocess.run(
            [each, "-c", ELSEWHERE, STRINGS, *scripts],
            capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT / "src")},
        ).stdout
        for each in (sys.executable, python)
    ]  # fmt: skip
    assert json.loads(found[0]) == json.loads(found[1])
