"""The comparison for the eye: a summary, a table a reported table, figure 5 as grids."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from os import PathLike
from pathlib import Path

import pandas as pd

from collapse.paper.comparison.table import (
    AGREES,
    BELOW_FLOOR,
    DIFFERS,
    NOT_RUN,
    OPPOSITE,
    OTHER_HARDWARE,
    OTHER_INITIAL,
    OTHER_SCALE,
    SAME,
)
from collapse.paper.html_tables import STYLE, html_table
from collapse.paper.tables import MISSING, format_change, format_value

VERDICTS = [AGREES, DIFFERS, OTHER_INITIAL, SAME, OPPOSITE, OTHER_SCALE, OTHER_HARDWARE, NOT_RUN]
HEADINGS = {
    "table2": "Table 2",
    "table3": "Table 3",
    "table5": "Table 5",
    "table6": "Table 6",
    "table7": "Table 7",
    "figure5": "Figure 5",
    "grid": "The grid",
    "vit": "ViT",
}
LEGEND = (
    "agrees, differs: said only where the study ran this at the paper's scale; same or opposite direction: "
    "of a change against initialisation, at another scale; other scale: shown, not compared; closed form: "
    "NC0 as theory gives it at the paper's own setting; below the floor: there NC0 is rounding of float32; "
    "other initial value: compare final values; the paper's changes of NC1 to NC3 are against a network in "
    "training mode, ours against one in eval mode (DEVIATIONS.md)."
)
Sections = list[tuple[str, str, pd.DataFrame]]


def print_summary(table: pd.DataFrame) -> pd.DataFrame:
    """How many of the reported numbers of each target have which verdict, and the closed form's."""
    rows = []
    for target, its in table.groupby("target", sort=False):
        row: dict[str, object] = {"Target": HEADINGS[target], "Numbers": len(its)}
        row |= {verdict.capitalize(): int((its["verdict"] == verdict).sum()) for verdict in VERDICTS}
        rows.append(row | {"Closed form against the paper": _closed_form_counts(its)})
    printed = pd.DataFrame(rows)
    return printed[[name for name in printed if name in ("Target", "Numbers") or printed[name].any()]]


def _closed_form_counts(its: pd.DataFrame) -> str:
    """ "3 of 4 agree, 1 below the floor"; a dash where theory is silent."""
    verdicts = its["closed_form_verdict"].fillna("").astype(str)
    known = int((verdicts != "").sum())
    if not known:
        return MISSING
    below = int((verdicts == BELOW_FLOOR).sum())
    words = f"{int((verdicts == AGREES).sum())} of {known} agree"
    return words + (f", {below} below the floor" if below else "")


def sections(table: pd.DataFrame) -> Sections:
    """Heading, what is not the paper's scale, and the printed table of every target."""
    parts: Sections = []
    for target, its in table.groupby("target", sort=False):
        scale = its["scale"].iloc[0]
        if target == "figure5":
            for metric, cells in its.groupby("quantity", sort=False):
                parts.append((f"Figure 5, {metric}: the paper's / ours", scale, heatmap_grid(cells)))
        else:
            parts.append((HEADINGS[target], scale, print_rows(its)))
    return parts


def print_rows(its: pd.DataFrame) -> pd.DataFrame:
    """The rows of one reported table; columns without any content are left out."""
    records = its.to_dict("records")
    printed = pd.DataFrame(
        {
            "Of": [row["item"].replace("_", " ") for row in records],
            "Quantity": [row["quantity"].replace("_", " ") for row in records],
            "Paper": [_number(row["reported"], row) for row in records],
            "Ours": [_number(row["ours"], row) for row in records],
            "Closed form": [_number(row["closed_form"], row) for row in records],
            "Difference": [_difference(row) for row in records],
            "Initial, paper / ours": [_initial(row) for row in records],
            "Verdict": [row["verdict"] for row in records],
            "Closed form against the paper": [row["closed_form_verdict"] or MISSING for row in records],
            "Run": [_run(row) for row in records],
        }
    )
    return printed[[name for name in printed if (printed[name] != MISSING).any() or name == "Ours"]]


def heatmap_grid(cells: pd.DataFrame) -> pd.DataFrame:
    """One heatmap: a row a momentum, a column a weight decay, "1.48 / 1.49" or "1.48 / –" in a cell."""
    rows: dict[str, dict[str, str]] = {}
    for cell in cells.to_dict("records"):
        momentum, decay = (part.split()[-1] for part in cell["item"].split(","))
        text = f"{cell['reported']:.2f} / {_number(cell['ours'], cell)}"
        mark = "" if cell["verdict"] in (AGREES, OTHER_SCALE, NOT_RUN) else " *"
        rows.setdefault(momentum, {})[decay] = text + mark
    grid = pd.DataFrame.from_dict(rows, orient="index")
    return grid.rename_axis("Momentum, weight decay").reset_index()


def _number(value: object, row: Mapping[str, object]) -> str:
    """As the paper prints it: a change in percent, a metric in two decimals, the rest in four digits."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    if isinstance(value, str):
        return value
    if row["quantity"].endswith("change"):
        return format_change(value)
    if row["target"] in ("table2", "table3", "table7", "figure5"):
        return format_value(value)
    return f"{value:.4g}"


def _difference(row: Mapping[str, object]) -> str:
    """Ours - the paper's; of changes in percentage points."""
    value = row["difference"]
    if math.isnan(value):
        return MISSING
    return f"{100 * value:+.1f} points" if row["quantity"].endswith("change") else f"{value:+.3g}"


def _initial(row: Mapping[str, object]) -> str:
    """ "7.14 / 5.65": the initial value that the paper's change implies, and ours."""
    if math.isnan(row["initial_reported"]):
        return MISSING
    ours = MISSING if math.isnan(row["initial"]) else format_value(row["initial"])
    return f"{format_value(row['initial_reported'])} / {ours}"


def _run(row: Mapping[str, object]) -> str:
    if row["key"] and isinstance(row["key"], str):
        return f"`{row['key']}`" + ("" if row["status"] == "valid" else f" ({row['status']})")
    return row["status"] if row["verdict"] == NOT_RUN else MISSING


def write_comparison(
    table: pd.DataFrame,
    *,
    csv: str | PathLike,
    markdown: str | PathLike,
    html: str | PathLike,
    title: str,
    study: str,
) -> None:
    """The table as CSV in full precision; the summary and all sections as Markdown and as one HTML page."""
    table.to_csv(csv, index=False, lineterminator="\n")
    every: Sections = [(f"Summary, study {study}", LEGEND, print_summary(table)), *sections(table)]
    text = [f"**{title}**\n"]
    text += [f"### {heading}\n\n*{note}*\n\n{_markdown(printed)}\n" for heading, note, printed in every]
    Path(markdown).write_text("\n".join(text), encoding="utf-8")
    body = "<br>\n".join(html_table(printed, title=heading, note=note) for heading, note, printed in every)
    page = f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(title)}</title>\n'
    page += f"<style>{STYLE}</style></head>\n<body>\n<h1>{escape(title)}</h1>\n{body}</body>\n</html>\n"
    Path(html).write_text(page, encoding="utf-8")


def _markdown(printed: pd.DataFrame) -> str:
    return printed.astype(str).to_markdown(index=False, disable_numparse=True)
