"""The works that are reproduced: the paper, and related ones, whose studies say `family` in params.yaml.

The targets of a related work begin with its prefix in targets.yaml. To add a work: an entry here, its studies
and its targets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PAPER = "zhao2026"


@dataclass(frozen=True)
class Family:
    """A work. prefix: of its targets. reference_study: says what is the work's own scale."""

    prefix: str
    reference_study: str
    citation: str


FAMILIES = {
    PAPER: Family("", "paper", "arXiv 2602.16642"),
    "zhu2021": Family("zhu_", "zhu_paper", "Zhu et al. 2021, arXiv 2105.02375"),
    "jacot2024": Family("jacot_", "jacot_paper", "Jacot et al. 2024, arXiv 2410.04887"),
}


def family_of(study: Mapping[str, Any]) -> Family:
    """The work that a study of params.yaml is of: the paper, unless it names another."""
    return FAMILIES[study.get("family", PAPER)]


def is_of(family: Family, target: str) -> bool:
    """Whether a target, by its name, is of a work."""
    if family.prefix:
        return target.startswith(family.prefix)
    return not any(other.prefix and target.startswith(other.prefix) for other in FAMILIES.values())


def of_family(study: Mapping[str, Any], targets: Mapping[str, Any]) -> dict[str, Any]:
    """Of the targets those of the work that the study is of."""
    family = family_of(study)
    return {name: target for name, target in targets.items() if is_of(family, name)}


def without_prefix(target: str) -> str:
    """ "figure_3" of "zhu_figure_3"."""
    prefixes = [its.prefix for its in FAMILIES.values() if its.prefix and target.startswith(its.prefix)]
    return target.removeprefix(prefixes[0]) if prefixes else target
