"""Which code made a file: a digest that follows what the code does, not how it is written."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def code_digest(script: str | Path) -> str:
    """A hash of the syntax trees of a script and of everything of this package that it imports.

    Comments, docstrings and formatting are not part of a syntax tree, so they change nothing; a
    changed file time changes nothing either.
    """
    reached: dict[str, str] = {}
    waiting = [Path(script).resolve()]
    while waiting:
        path = waiting.pop()
        name = path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else path.name
        if name not in reached:
            digest, imported = examined(path)
            reached[name] = digest
            waiting.extend(imported)
    lines = "\n".join(f"{name} {digest}" for name, digest in sorted(reached.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


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
    """The files of this package behind `import collapse.x` or `from collapse.x import y`."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    else:
        return []
    files = []
    for name in names:
        package, _, rest = name.partition(".")
        if package == PACKAGE.name:
            place = PACKAGE.joinpath(*rest.split(".")) if rest else PACKAGE
            candidates = [place.with_suffix(".py"), place / "__init__.py"]
            files += [candidate for candidate in candidates if candidate.is_file()]
    return files
