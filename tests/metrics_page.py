"""The computed tables of docs/metrics.md: `python tests/metrics_page.py` writes them into the page."""

from __future__ import annotations

import math
import re
from pathlib import Path

from reference_cases import case

from collapse.metrics.at_collapse import values_at_collapse
from collapse.metrics.class_statistics import class_statistics
from collapse.metrics.conventions import CONVENTIONS, measure_all

PAGE = Path(__file__).resolve().parents[1] / "docs/metrics.md"
CASES = ("random32", "imbalanced32")
MANY = ((1000, 512), (100, 64), (1000, 2048))  # classes, features


def digits(value: float) -> str:
    """To ten digits, of which any implementation in float64 has all."""
    return "–" if math.isnan(value) else f"{value:.10g}"


def values_table() -> list[str]:
    """Both cases in every convention, a metric that is the same in several once."""
    statistics = [class_statistics(**case(name), extended=True) for name in CASES]
    rows, known = ["| metric | convention | " + " | ".join(CASES) + " |", "|---|---|---|---|"], set()
    for convention, metrics in CONVENTIONS.items():
        found = [measure_all(each, convention=convention) for each in statistics]
        for name, metric in metrics.items():
            if metric not in known:
                cells = " | ".join(digits(values[name]) for values in found)
                rows.append(f"| {name} | `{convention}` | {cells} |")
            known.add(metric)
    return rows


def attainable_table() -> list[str]:
    """The best attainable values of several sizes; a column a size."""
    heads = [f"K = {k:,}, p = {p}" for k, p in MANY]
    found = [values_at_collapse(convention="reported", num_classes=k, num_features=p) for k, p in MANY]
    rows = ["| metric | " + " | ".join(heads) + " |", "|---|" + "---|" * len(MANY)]
    for name in ("NC1", "NC2", "NC2W", "NC2M", "NC2n", "NC2a", "NC3", "condition_number", "effective_rank"):
        rows.append(f"| {name} | " + " | ".join(known_as(values[name]) for values in found) + " |")
    return rows


def known_as(value: float) -> str:
    """A value at collapse, or that it is not known."""
    return "not known" if math.isnan(value) else f"{value:.4g}"


def written(page: str) -> str:
    """The page with its tables computed anew: each stands under a comment with its name."""
    for name, table in (("values", values_table()), ("attainable", attainable_table())):
        place = re.compile(rf"(<!-- {name} -->\n)(?:\n\|.*?\n(?=\n|\Z))?", re.DOTALL)
        lines = "\n".join(table)
        page, times = place.subn(lambda found, lines=lines: f"{found[1]}\n{lines}\n", page)
        assert times == 1, name
    return page


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
