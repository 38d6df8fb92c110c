"""Targets are the same bytes whatever the user has set: matplotlibrc, locale, time zone, umask, hash seed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

TESTS = ROOT / "tests"
MATPLOTLIBRC = """
text.usetex: True
font.size: 31
figure.dpi: 51
figure.facecolor: red
figure.constrained_layout.h_pad: 0.5
savefig.bbox: tight
savefig.transparent: True
savefig.facecolor: yellow
pdf.compression: 1
lines.antialiased: False
lines.dashed_pattern: 9, 9
path.simplify_threshold: 1.0
axes.formatter.use_locale: True
axes.unicode_minus: False
axes.xmargin: 0.3
axes.titlelocation: left
axes.labelcolor: red
xtick.top: True
mathtext.fontset: cm
image.cmap: jet
scatter.edgecolors: red
legend.loc: lower left
"""
# What a user's own start-up code may do before any job.
SITECUSTOMIZE = """
import locale
import numpy
import pandas
import seaborn
seaborn.set_theme(style="darkgrid", font_scale=3)
pandas.set_option("display.precision", 1)
pandas.set_option("display.float_format", "{:.1f}".format)
pandas.set_option("display.max_rows", 2)
pandas.set_option("display.max_colwidth", 3)
numpy.set_printoptions(precision=1, floatmode="fixed")
locale.setlocale(locale.LC_ALL, "")
"""


def drawn(folder: Path, *, environment: dict[str, str], umask: int) -> dict[str, bytes]:
    """The files that `draw_targets` makes in a process of its own, by their name."""
    folder.mkdir()
    known = {"PATH": os.environ["PATH"], "HOME": str(folder), "MPLCONFIGDIR": str(folder.parent / "fonts")}
    result = subprocess.run(
        [sys.executable, TESTS / "draw_targets.py", folder],
        env=known | environment, cwd=folder, umask=umask, capture_output=True, text=True, errors="replace",
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    kinds = ("*.png", "*.pdf", "*.csv", "*.markdown", "*.html")
    return {path.name: path.read_bytes() for kind in kinds for path in folder.glob(kind)}


@pytest.fixture
def german(tmp_path):
    """A German locale in Latin-1, which has a comma for a point; the C locale where none can be made."""
    if shutil.which("localedef") is None:
        return {"LC_ALL": "C"}
    (tmp_path / "locales").mkdir()
    made = tmp_path / "locales/de_DE.ISO-8859-1"
    subprocess.run(["localedef", "-i", "de_DE", "-f", "ISO-8859-1", made], capture_output=True)
    if not made.exists():
        return {"LC_ALL": "C"}
    return {"LC_ALL": "de_DE.ISO-8859-1", "LOCPATH": str(made.parent)}


def test_the_same_bytes_in_a_hostile_environment(tmp_path, german):
    source = os.pathsep.join([str(ROOT / "src"), str(TESTS)])
    plain = {"PYTHONPATH": source, "PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8"}
    expected = drawn(tmp_path / "plain", environment=plain, umask=0o022)
    assert len(expected) == 7 * 2 + 2 * 3 + 1
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "matplotlibrc").write_text(MATPLOTLIBRC, encoding="utf-8")
    (theirs / "sitecustomize.py").write_text(SITECUSTOMIZE, encoding="utf-8")
    hostile = german | {
        "PYTHONPATH": os.pathsep.join([str(theirs), source]), "PYTHONHASHSEED": "4711",
        "TZ": "Pacific/Chatham", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LANGUAGE": "de",
        "MATPLOTLIBRC": str(theirs), "MPLBACKEND": "pdf", "COLUMNS": "20",
    }  # fmt: skip
    found = drawn(tmp_path / "hostile", environment=hostile, umask=0o077)
    assert set(found) == set(expected)
    assert [name for name in expected if found[name] != expected[name]] == []
