"""A syntax tree as plain lists, the same from every version of Python that can read the file.

`ast.dump` is no such form: 3.12 added a field and leaves empty strings in some f-strings, 3.13 leaves out
what is empty. Only the standard library is used here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

# Whether a name is read or written follows from its place; the others say how something was written.
NO_MEANING = ("ctx", "kind", "type_comment", "type_ignores")


def plain(node: Any) -> Any:
    """A syntax tree as nested lists of JSON's types: class, then name and value of every set field."""
    if isinstance(node, ast.Constant):
        value = node.value  # repr(text) hangs on the version's Unicode tables
        return ["Constant", type(value).__name__, value if isinstance(value, str) else repr(value)]
    if isinstance(node, ast.JoinedStr):
        return ["JoinedStr", *map(plain, joined_parts(node.values))]
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if name not in NO_MEANING]
        return [type(node).__name__, *([name, plain(value)] for name, value in fields if is_set(value))]
    if isinstance(node, list):
        return [plain(item) for item in node]
    return node


def is_set(value: Any) -> bool:
    """Whether a field says anything: an empty format, f"{x:}", is none."""
    return value is not None and value != [] and not (isinstance(value, ast.JoinedStr) and not value.values)


def joined_parts(values: Sequence[ast.expr]) -> Iterator[ast.expr]:
    """The parts of an f-string without empty texts, neighbouring texts as one."""
    text = ""
    for value in values:
        if isinstance(value, ast.Constant):
            text += value.value
            continue
        if text:
            yield ast.Constant(text)
        text = ""
        yield value
    if text:
        yield ast.Constant(text)


def without_docstrings(tree: ast.Module) -> ast.Module:
    """The same tree, changed in place: docstrings do nothing."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and is_text(body[0]):
            node.body = body[1:] or [ast.Pass()]
    return tree


def is_text(statement: ast.AST) -> bool:
    """A bare string: it does nothing."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def mappings(tree: ast.Module) -> Iterator[tuple[str, ast.Dict]]:
    """The names at the top of a module that are given a mapping written out, {"key": ..., ...}."""
    for statement in tree.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        targets = [statement.target] if isinstance(statement, ast.AnnAssign) else targets
        if len(targets) == 1 and isinstance(targets[0], ast.Name) and isinstance(statement.value, ast.Dict):
            yield targets[0].id, statement.value


def only_entries(tree: ast.Module, wanted: Mapping[str, Iterable[str]]) -> ast.Module:
    """The same tree, changed in place: of the mappings named in `wanted` those keys alone.

    Imports that only a removed entry used are removed with it.
    """
    if not wanted:
        return tree
    before = names_in(tree)
    for name, mapping in mappings(tree):
        if name in wanted:
            pairs = zip(mapping.keys, mapping.values, strict=True)
            kept = [(key, value) for key, value in pairs if key_of(key) in {None, *wanted[name]}]
            mapping.keys, mapping.values = [key for key, _ in kept], [value for _, value in kept]
    unused = before - names_in(tree)
    for statement in [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]:
        statement.names = [alias for alias in statement.names if bound_by(alias) not in unused]
    tree.body = [node for node in tree.body if getattr(node, "names", None) != []]
    return tree


def key_of(key: ast.expr | None) -> Any:
    """The key of an entry; None where it is no constant (`**others`, a name): such an entry stays."""
    return key.value if isinstance(key, ast.Constant) else None


def names_in(tree: ast.AST) -> set[str]:
    """Every name that is used or given."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def bound_by(alias: ast.alias) -> str:
    """The name that an import gives."""
    return alias.asname or alias.name.partition(".")[0]
