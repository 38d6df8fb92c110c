"""Where a table or figure stands in the report: the paper's sections, in the published numbering."""

from __future__ import annotations

import re
from collections.abc import Mapping

from collapse.study.families import without_prefix

EXPLORER_CAPTION = "Every run of the study, with its history: choose, compare, click one for its settings."
APPENDIX, FURTHER = "3 Appendix", "5 Further"
LAST_PUBLISHED, THEORY_OF_RELATED = 10, "table_11"  # of related works
# Menus sort by name, so a name begins with its number, or with that of its first figure. No figure of an
# appendix has a number of one digit.
SECTIONS = {
    "0 All runs": {"others": ("explorer",)},
    "1 Main results": {"tables": (2, 3), "figures": range(1, 9)},
    "2 Theory": {"tables": (1,), "figures": (9,), "others": ("theory",)},
    "4 Claims and comparison": {"others": ("claims", "comparison")},
}
SUBSECTIONS = {
    "0 All runs": {"others": ("explorer",)},
    "Fig. 10-13, tables 4-6: the grid and its regression": {"tables": (4, 5, 6), "figures": range(10, 14)},
    "Fig. 14, 15: longer training": {"figures": (14, 15)},
    "Fig. 16: unconstrained feature model": {"figures": (16,)},
    "Fig. 17-21: the runs of smallest NC3": {"figures": range(17, 22)},
    "Fig. 22, 25, table 7: without weight decay": {"tables": (7,), "figures": (22, 25)},
    "Fig. 23, 24: momentum through training": {"figures": (23, 24)},
    "Fig. 26-28: by learning rate and momentum": {"figures": (26, 27, 28)},
    "Fig. 29: singular values with SignumW": {"figures": (29,)},
    "Fig. 30, 31: ResNet50 on ImageNet": {"figures": (30, 31)},
    "Fig. 32-36: VGG9 on FashionMNIST": {"figures": range(32, 37)},
    "Fig. 37-41: ResNet9 on CIFAR10": {"figures": range(37, 42)},
    "Fig. 42-46: VGG9 on CIFAR10": {"figures": range(42, 47)},
    "Fig. 47-51: ResNet9 on MNIST": {"figures": range(47, 52)},
    "Fig. 52-56: VGG9 on MNIST": {"figures": range(52, 57)},
    "Fig. 57: NC4": {"figures": (57,)},
    "Fig. 58: ViT on CIFAR10": {"figures": (58,)},
}


def section_of(target: str) -> tuple[str, str | None]:
    """Section and subsection of "table_2", "figure_31", "theory", "claims".

    A target that the paper has not stands under "5 Further". Those of a related work are few: theory and
    figures have no sections below.
    """
    name = without_prefix(target)
    if name != target:
        kind, _, number = name.rpartition("_")
        if number.isdigit() and int(number) <= LAST_PUBLISHED:
            return "1 Main results", None
        return ("2 Theory" if name == THEORY_OF_RELATED else FURTHER), None
    kind, _, number = target.rpartition("_")
    of_kind, which = (f"{kind}s", int(number)) if number.isdigit() else ("others", target)
    for section, members in SECTIONS.items():
        if which in members.get(of_kind, ()):
            return section, None
    for subsection, members in SUBSECTIONS.items():
        if which in members.get(of_kind, ()):
            return APPENDIX, subsection
    return FURTHER, None


def item_name(target: str) -> str:
    """ "Figure  4" of "figure_4", "Figure histogram" of "figure_histogram".

    The report's lists sort letter by letter: a second space (which a browser does not show) puts
    figure 4 before figure 10.
    """
    target = without_prefix(target)
    kind, _, number = target.rpartition("_")
    numbered = number.isdigit() and kind in ("table", "figure")
    return f"{kind.capitalize()} {number:>2}" if numbered else target.capitalize().replace("_", " ")


def item_title(target: str, caption: str, *, aliases: Mapping[str, str]) -> str:
    """ "Figure  2, again as figure 10: NC0 against NC3": the names, and the first clause of the caption."""
    others = [item_name(alias).lower() for alias, same_as in aliases.items() if same_as == target]
    again = f", again as {' and '.join(others)}" if others else ""
    clause = re.split(r"[:;]|\.\s|\.$", caption, maxsplit=1)[0]
    return f"{item_name(target)}{again}: {clause}"


def in_report(target: str, caption: str, *, aliases: Mapping[str, str] | None = None) -> dict[str, object]:
    """The arguments of Snakemake's `report` that say where an item stands and what it is called.

    aliases: other names that the paper gives to items, and the target each is. One label alone: of
    two, Snakemake makes a switch where a section has two items.
    """
    section, subsection = section_of(target)
    label = {"Table or figure": item_title(target, caption, aliases=aliases or {})}
    return {"category": section, "subcategory": subsection, "labels": label}
