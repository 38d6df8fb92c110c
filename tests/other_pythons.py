"""Other versions of Python on this machine, for tests of what must not hang on the version."""

import subprocess
import sys
from pathlib import Path

SUPPORTED = range(11, 14)  # pyproject.toml's requires-python, a test compares
VERSION = "import sys; print(*sys.version_info[:2])"


def pythons(minors):
    """An interpreter of each of the given 3.x that is installed, but for the one that runs this."""
    found = {}
    places = [Path("/usr/bin"), Path("/usr/local/bin"), *Path.home().glob(".pyenv/versions/3.*/bin")]
    for minor in minors:
        for path in (place / f"python3.{minor}" for place in places):
            if minor != sys.version_info.minor and path.exists() and works(path, minor):
                found.setdefault(minor, path)
    return list(found.values())


def works(path, minor):
    """A wrapper of pyenv may be there without a Python behind it."""
    done = subprocess.run([path, "-c", VERSION], capture_output=True, text=True)
    return done.stdout.split() == ["3", str(minor)]


OTHERS = pythons(SUPPORTED)
TOO_OLD = pythons(range(6, 11))
