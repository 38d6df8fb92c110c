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

from collapse.records.provenance import read_record

ROOT = Path(__file__).resolve().parents[1]


def beside_training(results: Path) -> pd.Series:
    """By pack, the seconds of its job that no training took."""
    found = {}
    for file in sorted((results / "benchmarks/train").glob("*.tsv")):
        job = read_record(results / f"lineage/train/{file.stem}.json")
        seconds = pd.read_csv(file, sep="\t").s.iloc[0]
        trained = pd.read_parquet(results / f"packs/{file.stem}/outcomes.parquet").seconds.sum()
        if len(job["params"]["runs"]) and seconds > trained:
            found[file.stem] = seconds - trained
    return pd.Series(found, dtype=float)


def seconds_by_rule(results: Path) -> pd.DataFrame:
    """A row a job: rule and seconds."""
    jobs = [read_record(file) for file in sorted((results / "lineage").rglob("*.json"))]
    return pd.DataFrame([{"rule": job["rule"], "seconds": job["seconds"]} for job in jobs])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", nargs="?", default="demo", help="default: %(default)s")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="default: %(default)s")
    chosen = parser.parse_args()
    results = chosen.results / chosen.study
    what = {"benchmark": f"overhead, {chosen.study}", "unit": "s"}
    rows = [spread(beside_training(results), case="train", quantity="a job beside its training", **what)]
    for rule, its in seconds_by_rule(results).groupby("rule").seconds:
        if rule in ("extract_statistics", "measure", "collect", "prepare_dataset"):
            rows.append(spread(its, case=rule, quantity="a job", **what))
    record(pd.DataFrame(rows))


if __name__ == "__main__":
    main()
