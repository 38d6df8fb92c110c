"""Figures and tables of a made-up study, each by its own script: `python draw_targets.py FOLDER`."""

import runpy
import sys
from pathlib import Path

from as_job import as_job
from figure_kinds import KINDS, TABLE_2
from synthetic import SCRIPTS, make_study

from collapse.measuring.results import read_results
from collapse.paper.explorer.page import explorer_page

GRID = {"experiment": "grid", "architecture": "ResNet9", "dataset": "FashionMNIST"}
SIX = KINDS["metric_scatter"]["optimizers"]
TABLES = {
    "table_2": TABLE_2 | {"optimizers": SIX, "require_valid": False},
    "table_6": GRID | {"optimizers": SIX},
}
THEORY = {"num_classes": 10, "more_classes": [3, 10], "learning_rate": 0.01, "weight_decay": 0.1}
THEORY |= {"momentum": 0.9, "steps": 500, "seed": 3141}


def draw_targets(folder: Path) -> None:
    """One target of every kind, with its log and its record."""
    tables = {name: folder / f"{name}.parquet" for name in ("runs", "history")}
    for table, path in zip(make_study(seed=0), tables.values(), strict=True):
        table.to_parquet(path)
    note = {"caption": "Größe: a title", "note": "a note"}
    jobs = {f"figures/{kind}": settings for kind, settings in KINDS.items()} | {"figures/theory": THEORY}
    (folder / "explorer.html").write_text(
        explorer_page(
            *read_results(*tables.values()), study="x", title="x", notes=[], template="{{data}} {{vega}}"
        ),
        encoding="utf-8",
    )
    for script, settings in (jobs | {f"tables/{name}": its for name, its in TABLES.items()}).items():
        kinds = ("pdf", "png") if script.startswith("figures") else ("csv", "markdown", "html")
        made = {kind: folder / f"{Path(script).name}.{kind}" for kind in kinds}
        params = note | {"settings": settings}
        task = as_job(
            folder, f"{script}.py", input=tables, output=made, params=params, config={"study": "made-up"}
        )
        runpy.run_path(str(SCRIPTS / f"{script}.py"), init_globals={"snakemake": task})


if __name__ == "__main__":
    draw_targets(Path(sys.argv[1]))
