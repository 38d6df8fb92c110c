"""`make setup`: which Pythons and folders are refused, and what of .venv is kept, mended or made anew."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT
from other_pythons import SUPPORTED, TOO_OLD

from collapse.files import environment

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def test_the_supported_versions_are_said_once():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    oldest, newest = environment.OLDEST, environment.NEWEST
    assert wanted == f">=3.{oldest[1]},<3.{newest[1] + 1}"
    assert (oldest[1], newest[1]) == (SUPPORTED[0], SUPPORTED[-1])
    assert environment.problem_of_python(sys.version_info) is None
    assert "this is 3.14;" in environment.problem_of_python((3, 14, 0))


@pytest.mark.skipif(not TOO_OLD, reason="no older Python here")
@pytest.mark.parametrize("python", TOO_OLD, ids=lambda path: path.parts[-3])
def test_an_older_python_is_told_so_in_one_line(python, tmp_path):
    """In a project without an environment: one that is ready is used, whatever PYTHON says."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "envs").mkdir()
    for name in ("Makefile", "pyproject.toml", "envs/lock.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    sentence = r"Python 3.11 to 3.13 is needed and this is \d\.\d+; install one and name it: "
    sentence += "make setup PYTHON=python3.13"
    program = tmp_path / "src/collapse/files/environment.py"
    made = subprocess.run([python, program], capture_output=True, text=True)
    assert made.returncode == 1 and re.fullmatch(f"make setup: {sentence}\n", made.stderr)
    imported = subprocess.run(
        [python, "-c", "import collapse"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(tmp_path / "src")},
    )
    assert re.fullmatch(f"ImportError: collapse: {sentence}", imported.stderr.splitlines()[-1])
    verb = subprocess.run(
        ["make", "demo", f"PYTHON={python}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert verb.returncode and "needed and this is" in verb.stderr.splitlines()[0]
    assert len(verb.stderr.splitlines()) == 2, "that line, and make's own"


@pytest.mark.parametrize("letter", [" ", "'", "$", "(", "{", "\t"])
def test_a_folder_that_snakemake_cannot_use(letter):
    words = environment.problem_of_path(f"/home/a{letter}b/collapse")
    assert "\n" not in words and repr(letter) in words and "move the project" in words
    assert environment.problem_of_path("/home/jörg/collapse-1.0_x+y") is None


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with an environment that is ready, and the commands that would build one."""
    folder = (tmp_path / "project").resolve()
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / "envs").mkdir()
    for name in environment.LISTS:
        (folder / name).write_text(name)
    commands = []

    def call(command, cwd):
        commands.append(command)
        (Path(cwd) / ".venv/bin").mkdir(parents=True, exist_ok=True)
        return 0

    monkeypatch.setattr(environment, "PROJECT", str(folder))
    monkeypatch.setattr(environment, "version_of", lambda python: HERE)
    monkeypatch.setattr(environment.subprocess, "call", call)
    monkeypatch.setattr(sys, "argv", ["environment.py"])
    assert environment.main() == 0, "an environment that is not ready is built"
    assert [command[1:3] for command in commands] == [["-m", "venv"], ["-m", "pip"]]
    (folder / ".venv/kept").touch()
    commands.clear()
    return folder, commands


def kept(folder):
    return (folder / ".venv/kept").exists()


def test_what_is_ready_stays(project):
    folder, commands = project
    assert environment.main() == 0 and commands == [] and kept(folder)


def test_other_packages_are_installed_into_it(project):
    folder, commands = project
    (folder / "envs/lock.txt").write_text("other")
    assert environment.main() == 0 and kept(folder)
    assert [command[1:3] for command in commands] == [["-m", "pip"]]
    commands.clear()
    assert environment.main() == 0 and commands == []


def test_one_that_was_not_finished_is_made_anew(project, capsys):
    folder, commands = project
    (folder / ".venv/ready").unlink()
    assert environment.main() == 0 and len(commands) == 2 and not kept(folder)
    assert capsys.readouterr().err == (
        "make setup: .venv was not finished (it has no record that it was) and is made anew\n"
    )


def test_a_project_that_was_moved_or_copied(project, monkeypatch, tmp_path, capsys):
    folder, commands = project
    moved = folder.rename(tmp_path / "elsewhere").resolve()
    monkeypatch.setattr(environment, "PROJECT", str(moved))
    assert environment.main() == 0 and len(commands) == 2 and not kept(moved)
    assert f".venv was built elsewhere (in {folder}) and is made anew" in capsys.readouterr().err


@pytest.mark.parametrize("now", ["3.12", None])
def test_a_python_that_is_another_one_or_gone(now, project, monkeypatch, capsys):
    folder, commands = project
    monkeypatch.setattr(environment, "version_of", lambda python: now)
    environment.main()
    assert len(commands) == 2 and not kept(folder)
    assert f"its Python was {HERE} and is {now or 'gone'}" in capsys.readouterr().err


def test_one_of_an_earlier_version_in_its_place_is_kept(project):
    """Its `ready` is empty; pyvenv.cfg says where it was built."""
    folder, commands = project
    (folder / ".venv/ready").write_text("")
    config = f"version = {HERE}.7\ncommand = /usr/bin/python3 -m venv {folder}/.venv\n"
    (folder / ".venv/pyvenv.cfg").write_text(config)
    assert environment.main() == 0 and kept(folder)
    assert [command[1:3] for command in commands] == [["-m", "pip"]]
    (folder / ".venv/ready").write_text("")
    (folder / ".venv/pyvenv.cfg").write_text(config.replace(str(folder), "/elsewhere"))
    assert environment.main() == 0 and not kept(folder)


def test_a_failed_installation_leaves_it_not_ready(project, monkeypatch, capsys):
    folder, _ = project
    (folder / ".venv/ready").unlink()
    monkeypatch.setattr(environment.subprocess, "call", lambda command, cwd: 3)
    assert environment.main() == 3 and not (folder / ".venv/ready").exists()
    assert "that failed" in capsys.readouterr().err


def test_a_folder_with_a_space_is_refused_before_anything(project, monkeypatch, capsys):
    folder, commands = project
    monkeypatch.setattr(environment, "PROJECT", str(folder.rename(folder.with_name("my project"))))
    assert environment.main() == 1 and commands == []
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "whose path has the character ' '" in error


def test_a_python_with_a_space_is_refused_by_the_workflow(tmp_path):
    """Snakemake writes its path into a command of the shell as it is."""
    folder = tmp_path / "a b"
    folder.mkdir()
    (folder / "python").symlink_to(Path(sys.base_prefix) / "bin/python3")
    places = [str(ROOT / "src"), *(path for path in sys.path if "site-packages" in path)]
    done = subprocess.run(
        [folder / "python", "-m", "snakemake", "--dry-run", "--cores", "1"],
        cwd=ROOT, capture_output=True, text=True,
        env={"PYTHONPATH": ":".join(places), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert (
        done.returncode and "a b/python, whose path has the character ' '" in said and "Traceback" not in said
    )


@pytest.mark.parametrize("study", ["", "..", "a/b", "demo mini", "*"])
def test_make_clean_needs_a_study(study, tmp_path):
    results = tmp_path / "results/demo"
    results.mkdir(parents=True)
    command = ["make", "-f", ROOT / "Makefile", "clean", f"STUDY={study}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode and "STUDY names no study" in done.stderr and results.exists()
    subprocess.run([*command[:-1], "STUDY=demo"], cwd=tmp_path, check=True, capture_output=True)
    assert not results.exists() and results.parent.exists()
