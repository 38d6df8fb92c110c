"""Which entries of the registries a study uses, so that those added beside them make nothing run again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from collapse.study.parameters import REFERENCE_STUDY

NAMED = ("architecture", "dataset", "optimizer")  # the settings of a run that name an entry
Entries = dict[str, list[str]]


def entries_of(rows: Iterable[Mapping[str, Any]]) -> Entries:
    """By setting the names that runs, or rows of params.yaml that cross lists, have of it."""
    rows = list(rows)
    return {name: sorted({value for row in rows for value in as_list(row[name])}) for name in NAMED}


def entries_used(studies: Mapping[str, Any], study: str) -> Entries:
    """Those of a study's runs; of the optimizers the paper's too.

    Figures name these even where a study has no run of them.
    """
    used = entries_of(rows_in(studies[study]))
    papers = entries_of(rows_in(studies.get(REFERENCE_STUDY, studies[study])))
    return used | {"optimizer": sorted({*used["optimizer"], *papers["optimizer"]})}


def rows_in(study: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every row of a study, completed from its experiment's axes and the study's defaults."""
    experiments = study["experiments"].values()
    return [study["defaults"] | one.get("axes", {}) | row for one in experiments for row in one["rows"]]


def as_list(value: Any) -> list:
    """A value, or the values to cross, as a list."""
    return value if isinstance(value, list) else [value]
