"""Builds the environment in .venv, or says in one line why it cannot: `make setup`, before every other verb.

Any Python can run this file, so that one which is too old is told so; it imports nothing of the package. An
environment is ready where the file .venv/ready says that it was built in this folder, of the files that say
what is in it, and for a Python that still starts.
"""

from __future__ import print_function

import hashlib
import os
import shutil
import subprocess
import sys

PROJECT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), *[os.pardir] * 3))
OLDEST, NEWEST = (3, 11), (3, 13)  # as requires-python in pyproject.toml
LISTS = ("pyproject.toml", os.path.join("envs", "lock.txt"))  # of what is installed
NOT_BUILT, MOVED, OTHER_PACKAGES = "was not finished", "was built elsewhere", "has other packages"


def main():
    """Make .venv ready. Returns the exit status."""
    state, words = compared(recorded(PROJECT), wanted(PROJECT))
    build = state in (NOT_BUILT, MOVED)
    problem = problem_of_path(PROJECT) or (build and problem_of_python(sys.version_info))
    if sys.argv[1:] == ["check"]:  # whether this Python can run the program at all, for `make doctor`
        problem = problem_of_python(sys.version_info)
        state = None
    if problem:
        print("make setup: %s" % problem, file=sys.stderr)
        return 1
    if not state:
        return 0
    venv = os.path.join(PROJECT, ".venv")
    if build and os.path.isdir(venv):
        print("make setup: .venv %s (%s) and is made anew" % (state, words), file=sys.stderr)
        shutil.rmtree(venv)
    install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--constraint",
        LISTS[1],
        "--editable",
        ".[workflow,cluster,dev]",
    ]
    commands = [[sys.executable, "-m", "venv", venv]] if build else []
    for command in commands + [[python_in(PROJECT)] + install]:
        status = subprocess.call(command, cwd=PROJECT)
        if status:
            print("make setup: that failed; mend what the lines above name, then again", file=sys.stderr)
            return status
    with open(os.path.join(venv, "ready"), "w") as file:
        file.write("".join("%s: %s\n" % pair for pair in sorted(wanted(PROJECT).items())))
    return 0


def problem_of_python(version):
    """One sentence on a Python that is not supported, else None."""
    if OLDEST <= tuple(version[:2]) <= NEWEST:
        return None
    words = "Python %d.%d to %d.%d is needed and this is %d.%d; install one and name it: "
    words += "make setup PYTHON=python%d.%d"
    return words % (OLDEST + NEWEST + tuple(version[:2]) + NEWEST)


def problem_of_path(path):
    """One sentence on a folder in which Snakemake, which does not quote its Python, starts no script."""
    bad = [letter for letter in path if letter.isspace() or letter in "'\"\\$&;|<>()*?[]{}`!#~"]
    if not bad:
        return None
    return "Snakemake cannot run in %s, whose path has the character %r; move the project" % (path, bad[0])


def compared(found, here):
    """How .venv differs from what this folder wants, as a state and in words; nothing where it is ready."""
    if not found:
        return NOT_BUILT, "it has no record that it was"
    if found.get("project") != here["project"]:
        return MOVED, "in %s" % found.get("project")
    if here["python"] is None or found.get("python") != here["python"]:
        return MOVED, "its Python was %s and is %s" % (found.get("python"), here["python"] or "gone")
    if found.get("packages") != here["packages"]:
        return OTHER_PACKAGES, "pyproject.toml or envs/lock.txt has changed"
    return None, None


def recorded(project):
    """What .venv/ready says; of one without a word, as earlier versions wrote it, what pyvenv.cfg says."""
    venv = os.path.join(project, ".venv")
    try:
        with open(os.path.join(venv, "ready")) as file:
            text = file.read()
        if text:
            return dict(line.split(": ", 1) for line in text.splitlines())
        with open(os.path.join(venv, "pyvenv.cfg")) as file:
            config = dict(line.split(" = ", 1) for line in file.read().splitlines())
        place = os.path.dirname(os.path.realpath(config["command"].split(" -m venv ")[1]))
        return {"project": place, "python": ".".join(config["version"].split(".")[:2])}
    except (EnvironmentError, ValueError, LookupError):
        return {}


def wanted(project):
    """What .venv/ready must say: where, of which packages, for which Python."""
    digest = hashlib.sha256()
    for name in LISTS:
        with open(os.path.join(project, name), "rb") as file:
            digest.update(file.read())
    return {"project": project, "packages": digest.hexdigest(), "python": version_of(python_in(project))}


def python_in(project):
    """The Python of the environment."""
    return os.path.join(project, ".venv", "bin", "python")


def version_of(python):
    """ "3.11"; None where it does not start."""
    try:
        words = subprocess.check_output([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
        return words.decode().strip()
    except (EnvironmentError, subprocess.CalledProcessError):
        return None


if __name__ == "__main__":
    sys.exit(main())
