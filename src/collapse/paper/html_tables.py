"""A printed table as HTML, readable by itself and in a report: a table, its title and its note."""

from __future__ import annotations

import re
from html import escape

import pandas as pd

STYLE = """
body {margin: 1.5rem; color: #1e293b; background: white; font: 13px/1.45 system-ui, sans-serif}
table {border-collapse: collapse; max-width: 100%}
caption {text-align: left; max-width: 60rem; padding-bottom: .8rem; font-weight: 600}
caption small {display: block; font-weight: normal; font-style: italic; color: #475569}
th, td {padding: .35rem .8rem .35rem 0; text-align: left; vertical-align: top; overflow-wrap: break-word}
th {border-bottom: 1.5px solid #334155}
td {border-bottom: 1px solid #e2e8f0; min-width: 3.5rem}
th.number, td.number {text-align: right; font-variant-numeric: tabular-nums}
td.number, td code {white-space: nowrap}
td.lines {min-width: 18rem}
code {font-size: 11px}
"""
# Numbers, their signs and brackets, and the dash of a missing one.
NUMBERS = re.compile(r"[-–+±<>\s\d.,:%()\[\]/]*([eE][-+]?\d+[-–+±<>\s\d.,:%()\[\]/]*)*")


def html_page(printed: pd.DataFrame, *, title: str, note: str | None) -> str:
    """A whole document with one table."""
    table = html_table(printed, title=title, note=note)
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style></head>\n<body>\n{table}</body>\n</html>\n"
    )


def html_table(printed: pd.DataFrame, *, title: str | None = None, note: str | None = None) -> str:
    """The `<table>` alone: every cell as text, columns of numbers set flush right.

    Of the Markdown that `printed` may hold, `code` and <br> are kept; all else is escaped.
    """
    cells = printed.astype(str)
    kinds = [_kind(cells.iloc[:, place]) for place in range(cells.shape[1])]
    head = _row(cells.columns, kinds, tag="th")
    body = "".join(_row(row, kinds, tag="td") for row in cells.itertuples(index=False, name=None))
    small = f"<small>{escape(note)}</small>" if note else ""
    caption = f"<caption>{escape(title)}{small}</caption>\n" if title else ""
    return f"<table>\n{caption}<thead>\n{head}</thead>\n<tbody>\n{body}</tbody>\n</table>\n"


def _kind(column: pd.Series) -> str:
    """The class of a column's cells: numbers flush right, cells of several lines with room for them."""
    if any(column) and all(NUMBERS.fullmatch(cell) for cell in column):
        return ' class="number"'
    return ' class="lines"' if column.str.contains("<br>").any() else ""


def _row(cells, kinds: list[str], *, tag: str) -> str:
    pairs = zip(cells, kinds, strict=True)
    return "<tr>" + "".join(f"<{tag}{kind}>{_inline(cell)}</{tag}>" for cell, kind in pairs) + "</tr>\n"


def _inline(text: str) -> str:
    text = escape(text).replace("&lt;br&gt;", "<br>")
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
