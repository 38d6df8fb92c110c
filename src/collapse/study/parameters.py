"""Reads params.yaml and targets.yaml, and refuses what they must not hold in one line: file, key and remedy.

params.yaml says what is run, targets.yaml what is shown. The program sees them as one mapping.
"""

from __future__ import annotations

import difflib
import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from collapse.files.errors import CONFLICT, InputError

if TYPE_CHECKING:
    import jsonschema

log = logging.getLogger(__name__)
SCHEMAS = Path("workflow/schemas")
REFERENCE_STUDY = "paper"  # says what is the paper's
TARGETS_FILE = "targets.yaml"  # beside params.yaml
COMMAND_LINE = "--config"  # of Snakemake
TARGETS_KEYS = ("shared_settings", "theory", "analysis", "tables", "figures")
# What PyYAML lets through where a value does not fit its tag: `!!int x`, `2026-13-01`, `!!bool x`.
FROM_WRONG_TAGS = (ValueError, TypeError, LookupError, AttributeError)
# The types of JSON schema.
IN_WORDS = {
    "object": "a mapping", "array": "a list", "string": "text", "number": "a number",
    "integer": "a whole number", "boolean": "true or false", "null": "nothing",
}  # fmt: skip
PROJECT_ROOT = Path(__file__).resolve().parents[3]
# libyaml's parser is ten times as fast; a PyYAML that was built without it has its own alone.
SafeLoader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ParameterError(InputError):
    """A parameter is missing, misspelt, or has a value that no run can use."""


class UniqueKeyLoader(SafeLoader):
    """YAML without its silence about a key that stands twice: the second would win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """A mapping; merged keys (<<) may be overridden, others may not be repeated."""
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_parameters(path: str | Path) -> dict[str, Any]:
    """params.yaml and the targets.yaml beside it as one validated dict. Raises ParameterError."""
    parameters, targets = read_yaml(path), read_yaml(Path(path).with_name(TARGETS_FILE))
    for key in parameters.keys() & targets.keys():
        raise ParameterError(f"{path}: {key!r} stands in {TARGETS_FILE} as well; keep one")
    parameters |= targets
    validate_parameters(parameters, source=str(path))
    return in_one_order(parameters | {"studies": remaining_studies(parameters)})


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML file that holds a mapping. Raises ParameterError."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        if CONFLICT.search(text):
            raise ParameterError(f"{path}: has git's conflict markers; keep what you want of both sides")
        content = yaml.load(text, Loader=UniqueKeyLoader)
    except FileNotFoundError:
        raise ParameterError(f"{path}: no such file; run from the project's root") from None
    except OSError as error:
        raise ParameterError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ParameterError(f"{path}: not UTF-8 text; save it as such") from None
    except (yaml.YAMLError, *FROM_WRONG_TAGS) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or " ".join(f"{type(error).__name__}: {error}".split())
        raise ParameterError(f"{path}{line}: not usable YAML ({problem})") from None
    if not isinstance(content, dict):
        raise ParameterError(f"{path}: the file: {type_problem(content, 'object')}")
    return content


def in_one_order(value: Any) -> Any:
    """The same with the keys of every mapping sorted: their order in a file says nothing.

    So it decides neither the order of runs nor, where Snakemake compares parameters, what is made again.
    """
    if isinstance(value, Mapping):
        return {key: in_one_order(value[key]) for key in sorted(value, key=str)}
    return [in_one_order(item) for item in value] if isinstance(value, list) else value


def remaining_studies(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The studies but for the experiments that `without` leaves out. Raises ParameterError."""
    left_out, studies = parameters.get("without", []), parameters["studies"]
    known = dict.fromkeys(name for study in studies.values() for name in study["experiments"])
    for name in left_out:
        if name not in known:
            raise ParameterError(f"without: unknown experiment {name!r}; {suggestion(name, list(known))}")
    remaining = {}
    for title, study in studies.items():
        experiments = {name: entry for name, entry in study["experiments"].items() if name not in left_out}
        remaining[title] = {**study, "experiments": experiments}
    if not remaining[parameters["study"]]["experiments"]:
        raise ParameterError(
            f"without: no experiment of study {parameters['study']} is left; leave out fewer"
        )
    return remaining


def validate_parameters(parameters: Mapping[str, Any], *, source: str) -> None:
    """Check both files against their schemas. Raises ParameterError for the problem nearest to the top level.

    source: the path of params.yaml, beside which targets.yaml is; or COMMAND_LINE, which changes both.
    """
    targets = {key: value for key, value in parameters.items() if key in TARGETS_KEYS}
    settings = {key: value for key, value in parameters.items() if key not in TARGETS_KEYS}
    of_targets = source if source == COMMAND_LINE else Path(source).with_name(TARGETS_FILE)
    for content, schema, file in ((settings, "params", source), (targets, "targets", of_targets)):
        for error in schema_errors(content, schema=schema, file=Path(file)):
            nested = source == COMMAND_LINE and isinstance(error.instance, str) and len(error.path) > 1
            why = "; Snakemake takes all that is nested there as text: set it in the file" if nested else ""
            raise ParameterError(f"{file}: {describe(error)}{why}")
        for path, value in walk(content):
            if isinstance(value, float) and not math.isfinite(value):
                raise ParameterError(f"{file}: {dotted(path)}: {value} is not a finite number")
    if parameters["study"] not in parameters["studies"]:
        known = ", ".join(parameters["studies"])
        raise ParameterError(f"{source}: study: unknown study {parameters['study']!r}; one of {known}")


def schema_errors(content: Any, *, schema: str, file: Path) -> list[jsonschema.ValidationError]:
    """What a schema of workflow/schemas has against a file, nearest to the top first. Raises ParameterError.

    Without jsonschema, which a machine that only trains may lack, nothing, and a warning says so.
    """
    try:
        import jsonschema
    except ModuleNotFoundError:
        log.warning("%s is not checked against its schema: jsonschema is not installed", file)
        return []
    place = PROJECT_ROOT / SCHEMAS / f"{schema}.schema.yaml"
    if not place.is_file():
        raise ParameterError(f"{place}: no such file; copy the project's folder workflow as well")
    content_of_schema = yaml.load(place.read_text(encoding="utf-8"), Loader=SafeLoader)
    validator = jsonschema.Draft202012Validator(content_of_schema)
    return sorted(validator.iter_errors(content), key=lambda error: len(error.path))


def walk(value: Any, path: tuple = ()) -> Iterator[tuple[tuple, Any]]:
    """Every leaf of nested mappings and lists, with its path."""
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        yield path, value
        return
    for key, item in items:
        yield from walk(item, (*path, key))


def dotted(path: Iterable, within: str = "") -> str:
    """studies.demo.experiments.grid.rows[0].momentum"""
    text = within
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "the top level"


def describe(error: jsonschema.ValidationError, *, within: str = "") -> str:
    """One line: the key (in what is `within`), what is wrong with it, and the remedy."""
    where, found = dotted(error.absolute_path, within), error.instance
    match error.validator:
        case "additionalProperties":
            known = list(error.schema.get("properties", {}))
            extra = next(key for key in found if key not in known)
            return f"{where}: unknown key {extra!r}; {suggestion(str(extra), known)}"
        case "required":
            missing = next(key for key in error.validator_value if key not in found)
            return f"{where}: the key {missing!r} is missing; add it"
        case "enum":
            kind = error.schema.get("title", "value")
            return f"{where}: unknown {kind} {found!r}; {suggestion(str(found), error.validator_value)}"
        case "type":
            return f"{where}: {type_problem(found, error.validator_value)}"
        case "minItems" | "minProperties":
            return f"{where}: is empty; give at least one value"
        case "uniqueItems":
            return f"{where}: the same value stands twice in {found}; keep one"
        case "minimum":
            return f"{where}: {found} is too small; at least {error.validator_value} is needed"
        case "exclusiveMinimum":
            return f"{where}: {found} must be greater than {error.validator_value}"
        case "maximum":
            return f"{where}: {found} is too large; at most {error.validator_value} is allowed"
        case "exclusiveMaximum":
            return f"{where}: {found} must be less than {error.validator_value}"
        case "pattern":
            return f"{where}: {found!r} cannot be used; write {error.schema['description']}"
    return f"{where}: {error.message}"


def suggestion(found: str, known: list) -> str:
    """`did you mean 'momentum'?`, or the list to choose from."""
    close = difflib.get_close_matches(found, [str(name) for name in known], n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return "one of " + ", ".join(str(name) for name in known)


def type_problem(found: Any, wanted: str | list[str]) -> str:
    """Says what type is wanted; for YAML's 5e-4, which is text, says how to write it."""
    kinds = [wanted] if isinstance(wanted, str) else wanted
    if isinstance(found, str) and {"number", "integer"} & set(kinds):
        try:
            remedy = f"write it as {float(found):.10f}".rstrip("0").rstrip(".")
        except ValueError:
            remedy = "write a number"
        return f"{found!r} is text, not a number; {remedy}"
    shown = "nothing" if found is None else repr(found)
    return f"found {shown} where {' or '.join(IN_WORDS[kind] for kind in kinds)} is needed"
