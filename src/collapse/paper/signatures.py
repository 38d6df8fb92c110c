"""What a function takes by keyword, as a JSON schema: the settings of a target are its script's arguments.

Read from the source. Importing the scripts would import all that draws, for a look at targets.yaml.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any

from collapse.records.code_digest import imported_files

SIMPLE = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "Sequence": {"type": "array", "minItems": 1},
    "Mapping": {"type": "object"},
    "object": {},
}


@cache
def schema_of_arguments(file: Path, function: str) -> dict[str, Any]:
    """Of the keyword-only arguments of a function that `file` defines, or imports from this package.

    Each is required, no other is known. Raises LookupError.
    """
    found, home = definition(file, function)
    arguments = {argument.arg: schema_of(argument.annotation, home) for argument in found.args.kwonlyargs}
    return closed_object(arguments, required=list(arguments))


def tables_of(script: str | Path, function: str = "draw") -> list[str]:
    """The tables that a script's function takes: "runs" and "history", or "depth"; for claims "table_1"."""
    found, _ = definition(Path(script), function)
    return [argument.arg for argument in found.args.args]


@cache
def definition(file: Path, name: str) -> tuple[Any, Path]:
    """The function, class or value behind a name at the top of a file, and the file that has it."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        match node:
            case ast.FunctionDef() | ast.ClassDef() if node.name == name:
                return node, file
            case ast.Assign(targets=[ast.Name(id=target)]) if target == name:
                return node.value, file
            case ast.ImportFrom():
                for alias in node.names:
                    if (alias.asname or alias.name) == name and (files := imported_files(node)):
                        return definition(files[0], alias.name)
    raise LookupError(f"{file} has no {name}")


def schema_of(annotation: ast.expr, file: Path) -> dict[str, Any]:
    """Of an annotation in `file`: SIMPLE, their unions and contents, and classes that are TypedDicts."""
    match annotation:
        case ast.Constant(value=None):
            return {"type": "null"}
        case ast.BinOp(left=left, right=right):
            one, other = schema_of(left, file), schema_of(right, file)
            return {**one, **other, "type": [one["type"], other["type"]]}
        case ast.Subscript(value=ast.Name(id="Sequence"), slice=inner):
            return SIMPLE["Sequence"] | {"items": schema_of(inner, file)}
        case ast.Subscript(value=ast.Name(id="Mapping"), slice=ast.Tuple(elts=[_, inner])):
            return SIMPLE["Mapping"] | {"additionalProperties": schema_of(inner, file)}
        case ast.Name(id=name) if name in SIMPLE:
            return SIMPLE[name]
        case ast.Name(id=name):
            found, home = definition(file, name)
            return (
                schema_of_fields(found, home) if isinstance(found, ast.ClassDef) else schema_of(found, home)
            )
    raise LookupError(f"{file}: no schema for the annotation {ast.unparse(annotation)}")


def schema_of_fields(typed_dict: ast.ClassDef, file: Path) -> dict[str, Any]:
    """Of a TypedDict: its fields, of which those that are NotRequired may be missing."""
    properties, required = {}, []
    for field in (node for node in typed_dict.body if isinstance(node, ast.AnnAssign)):
        match field.annotation:
            case ast.Subscript(value=ast.Name(id="NotRequired"), slice=inner):
                properties[field.target.id] = schema_of(inner, file)
            case annotation:
                properties[field.target.id] = schema_of(annotation, file)
                required.append(field.target.id)
    return closed_object(properties, required=required)


def closed_object(properties: dict[str, Any], *, required: list[str]) -> dict[str, Any]:
    """An object with these properties and no other."""
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}
