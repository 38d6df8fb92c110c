"""Every number that the paper reports beside ours and beside the closed form of theory.

`comparison_table` has a row a reported number. Whether ours agrees is said only where the study ran
that setting at the paper's scale; elsewhere ours is shown and marked, and no more is said than whether
a change against initialisation goes the same way. The closed form against the paper needs no run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypedDict

import pandas as pd

from collapse.paper.comparison.paper_scale import EVERY_SETTING
from collapse.paper.comparison.reported_numbers import (
    ABOVE,
    BELOW,
    Row,
    figure_5_rows,
    grid_rows,
    table_2_rows,
    table_3_rows,
    table_5_rows,
    table_6_rows,
    table_7_rows,
    vit_rows,
)
from collapse.paper.selection import select

AGREES, DIFFERS, OTHER_SCALE, NOT_RUN = "agrees", "differs", "other scale", "not run"
SAME, OPPOSITE, OTHER_HARDWARE = "same direction", "opposite direction", "other hardware"
BELOW_FLOOR = "below the floor"
OTHER_INITIAL = "other initial value"  # of a change that differs because its reference does
COLUMNS = [
    "target", "item", "quantity", "reported", "ours", "closed_form", "difference", "verdict",
    "closed_form_verdict", "initial_reported", "initial", "key", "status", "scale",
]  # fmt: skip


class ReportedIn(TypedDict):
    """The experiment in which each reported target is looked for."""

    table2: str
    table3: str
    table5: str
    table6: str
    table7: str
    figure5: str
    grid: str
    vit: str


def comparison_table(
    runs: pd.DataFrame,
    reported: Mapping[str, Any],
    known: Mapping[str, Any],
    *,
    architecture: str,
    dataset: str,
    experiments: ReportedIn,
    relative_tolerance: float,
    floor: float,
    initial_nc0: float,
) -> pd.DataFrame:
    """A row a reported number (reference/reported.yaml). Columns: COLUMNS.

    known: what collapse.paper.comparison.paper_scale says of the study. architecture, dataset: the setting of
    all but EVERY_SETTING. relative_tolerance: how far ours may be off beside rounding. NC0 below `floor` is
    rounding of float32. initial_nc0: NC0 at initialisation. Changes are fractions; `ours` and `difference`
    are NaN where there is none.
    """
    one = {"architecture": architecture, "dataset": dataset}
    on = {
        target: select(runs, experiment=name, **({} if target in EVERY_SETTING else one), valid=False)
        for target, name in experiments.items()
    }
    papers = known["papers"]
    rows = [
        *table_2_rows(on["table2"], reported["table2"], papers.get("table2", []), initial_nc0=initial_nc0),
        *table_3_rows(
            on["table3"],
            reported["table3"],
            reported["table5"],
            papers.get("table2", []),
            initial_nc0=initial_nc0,
        ),
        *table_5_rows(on["table5"], reported["table5"]),
        *table_6_rows(on["table6"], reported["table6"]),
        *table_7_rows(on["table7"], reported["table7"]),
        *figure_5_rows(
            on["figure5"],
            reported["figure5"],
            papers.get("figure5", []),
            decay_scales=known["decay_scales"],
            initial_nc0=initial_nc0,
        ),
        *grid_rows(on["grid"], reported["grid"]),
        *vit_rows(on["vit"], reported["vit"]),
    ]
    for row in rows:
        row |= known["scales"][row["target"]]
        row |= judge(row, relative_tolerance=relative_tolerance, floor=floor)
        if row["initial_reported"] is not None:  # judged by its bounds, shown by its middle
            row["initial_reported"] = sum(row["initial_reported"]) / 2
    return pd.DataFrame(rows)[COLUMNS].astype({"initial_reported": float})


def judge(row: Row, *, relative_tolerance: float, floor: float) -> Row:
    """difference, verdict and closed_form_verdict of a row."""
    judged: Row = {"difference": math.nan, "verdict": NOT_RUN, "closed_form_verdict": ""}
    if not math.isnan(row["closed_form"]):
        judged["closed_form_verdict"] = closed_form_verdict(row, floor=floor)
    if is_missing(row["ours"]):
        return judged
    if row.get("other_hardware"):
        return judged | {"verdict": OTHER_HARDWARE}
    if not row["comparable"]:
        return judged | {"verdict": direction(row) if row["kind"] == "change" else OTHER_SCALE}
    if isinstance(row["reported"], (int, float)) and not isinstance(row["ours"], str):
        judged["difference"] = row["ours"] - row["reported"]
    if is_near(row["ours"], row, relative_tolerance=relative_tolerance):
        return judged | {"verdict": AGREES}
    return judged | {"verdict": OTHER_INITIAL if has_other_initial(row) else DIFFERS}


def has_other_initial(row: Row) -> bool:
    """Whether a change is against another initial value than the one that the paper's change implies."""
    if row.get("initial_reported") is None:
        return False
    low, high = row["initial_reported"]
    return not low <= row["initial"] <= high


def is_near(value: Any, row: Row, *, relative_tolerance: float) -> bool:
    """Whether a value is the reported one up to its printed digits and the tolerance.

    A change is compared as final / initial. Bounds, ranges, words and settings admit no tolerance.
    """
    reported = row["reported"]
    if reported == BELOW:
        return value < -0.995
    if reported == ABOVE:
        return value > 1
    if row["kind"] == "range":
        low, high = row["range"]
        return low <= value <= high
    if row["kind"] == "exact":
        return value == reported if isinstance(reported, str) else math.isclose(value, reported, rel_tol=1e-6)
    size = 1 + reported if row["kind"] == "change" else abs(reported)
    return abs(value - reported) <= (row["unit"] / 2) * (1 + 1e-9) + relative_tolerance * size


def closed_form_verdict(row: Row, *, floor: float) -> str:
    """Whether the closed form is the reported number to its printed digits."""
    if is_near(row["closed_form"], row, relative_tolerance=0.0):
        return AGREES
    tiny = row["kind"] == "value" and max(row["closed_form"], row["reported"]) < floor
    return BELOW_FLOOR if tiny else DIFFERS


def direction(row: Row) -> str:
    """Of a change: whether ours has the sign of the reported one."""
    falls = row["reported"] == BELOW or (row["reported"] != ABOVE and row["reported"] < 0)
    return SAME if falls == (row["ours"] < 0) else OPPOSITE


def is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
