"""What a job costs beside training, on a study that has been run: seconds a pack, from the jobs' own records.

    python benchmarks/overhead.py [demo]

A job of rule train starts Python, imports torch, reads the data, trains, and writes; Snakemake's benchmark
file has the wall-clock time of all of it, the pack's outcomes that of each training. Only packs of which one
job trained all runs tell anything. Of the other rules, the time that their records say.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from alternating import record, spread

from collapse.measuring.pace import beside_training, seconds_by_rule

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", nargs="?", default="demo", help="default: %(default)s")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="default: %(default)s")
    chosen = parser.parse_args()
    results = chosen.results / chosen.study
    if not results.is_dir():
        parser.error(f"{results} is not there; make study STUDY={chosen.study} makes it")
    what = {"benchmark": f"overhead, {chosen.study}", "unit": "s"}
    rows = [spread(beside_training(results), case="train", quantity="a job beside its training", **what)]
    for rule, its in seconds_by_rule(results).groupby("rule").seconds:
        if rule in ("extract_statistics", "measure", "collect", "prepare_dataset"):
            rows.append(spread(its, case=rule, quantity="a job", **what))
    record(pd.DataFrame(rows))


if __name__ == "__main__":
    main()
