"""Which code made a file: a digest that follows what the code does, not how it is written."""

from __future__ import annotations

import ast
import hashlib
import json
from functools import cache
from pathlib import Path

import yaml

PACKAGE = Path(__file__).resolve().parents[1]


def code_digest(script: str | Path) -> str:
    """A hash of the syntax trees of a script and of everything of this package that it imports.

    Comments, docstrings and formatting are not part of a syntax tree, so they change nothing; a
    changed file time changes nothing either, nor does the place of the project.
    """
    reached: dict[Path, str] = {}
    waiting = [Path(script).resolve()]
    while waiting:
        path = waiting.pop()
        if path not in reached:  # by its path: scripts and modules share names, as collect.py
            reached[path], imported = examined(path)
            waiting.extend(imported)
    lines = "\n".join(sorted(f"{short_name(path)} {digest}" for path, digest in reached.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def short_name(path: Path) -> str:
    """A module as seen from the package, a script by its file's name: the same in every checkout."""
    return path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else path.name


@cache
def examined(path: Path) -> tuple[str, tuple[Path, ...]]:
    """The digest of one file's syntax tree, and the files of this package that it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    imported = tuple(file for node in ast.walk(tree) for file in imported_files(node))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and is_docstring(body[0]):
            node.body = body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), imported


def is_docstring(statement: ast.AST) -> bool:
    """A bare string: it does nothing."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


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
    content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]
