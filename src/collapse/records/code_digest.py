"""Which code made a file: a digest that follows what the code does, not how it is written."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from collapse.records.syntax import mappings, only_entries, plain, without_docstrings

PACKAGE = Path(__file__).resolve().parents[1]
# The registries by their variable, and the setting of a run that names an entry.
REGISTRIES = {
    "MODULES": "architecture",
    "SMALLEST_IMAGE": "architecture",
    "NUM_FEATURES": "architecture",
    "TRUNK_POINTS": "architecture",
    "DATASETS": "dataset",
    "OPTIMIZERS": "optimizer",
}
Entries = Mapping[str, Iterable[str]]  # by setting of a run
Frozen = frozenset[tuple[str, frozenset[str]]]


def code_digest(script: str | Path, *, entries: Entries | None = None) -> str:
    """A hash of the syntax trees of a script and of everything of this package that it imports.

    Comments, docstrings and formatting are not part of a syntax tree, so they change nothing; a
    changed file time changes nothing either, nor does the place of the project or the version of Python.

    entries: by setting ("optimizer") the names that the job uses of its registry. The other entries, and what
    is imported for them alone, are not part of the digest; without, all are.
    """
    reached: dict[Path, str] = {}
    waiting = [Path(script).resolve()]
    while waiting:
        path = waiting.pop()
        if path not in reached:  # by its path: scripts and modules share names, as collect.py
            reached[path], imported = examined(path, used_in(path, entries))
            waiting.extend(imported)
    lines = "\n".join(sorted(f"{short_name(path)} {digest}" for path, digest in reached.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def short_name(path: Path) -> str:
    """A module as seen from the package, a script by its file's name: the same in every checkout."""
    return path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else path.name


@cache
def registries_in(path: Path) -> frozenset[str]:
    """Which of the registries a file has."""
    text = path.read_bytes()
    if not any(name.encode() in text for name in REGISTRIES):  # most files, without parsing them
        return frozenset()
    return frozenset(name for name, _ in mappings(ast.parse(text))) & REGISTRIES.keys()


def used_in(path: Path, entries: Entries | None) -> Frozen:
    """The entries in use of each registry that a file has."""
    if entries is None:
        return frozenset()
    named = {name: entries.get(REGISTRIES[name]) for name in registries_in(path)}
    return frozenset((name, frozenset(used)) for name, used in named.items() if used is not None)


@cache
def examined(path: Path, used: Frozen = frozenset()) -> tuple[str, tuple[Path, ...]]:
    """The digest of one file's syntax tree, and the files of this package that it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    tree = only_entries(without_docstrings(tree), dict(used))
    imported = tuple(file for node in ast.walk(tree) for file in imported_files(node))
    return hashlib.sha256(json.dumps(plain(tree)).encode()).hexdigest(), imported


def imported_files(node: ast.AST) -> list[Path]:
    """The files of this package that `import collapse.x` or `from collapse.x import y` runs, x first.

    Those of the packages around a module are among them: `import collapse.x.y` runs x/__init__.py.
    """
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    else:
        return []
    files = []
    for name in names:
        package, *inner = name.split(".")
        if package == PACKAGE.name:
            places = [PACKAGE.joinpath(*inner[:depth]) for depth in range(len(inner), -1, -1)]
            candidates = [
                file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")
            ]
            files += [candidate for candidate in candidates if candidate.is_file()]
    return files


def yaml_digest(path: str | Path) -> str:
    """A hash of what a YAML file says, whatever its comments, its layout and the order of its keys."""
    import yaml  # the digest of code needs the standard library alone

    content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]
