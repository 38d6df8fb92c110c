"""Timing side by side: the cases take turns in one process, and what is reported is a ratio with its spread.

Results go to benchmarks/results.csv, or where COLLAPSE_BENCHMARKS says, a row a number: benchmark, case,
quantity, unit, value (the median over the rounds), low and high (the extremes), rounds, and what it was
measured on and with.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from collapse.records.provenance import commit_words, project_state

RESULTS = Path(os.environ.get("COLLAPSE_BENCHMARKS") or Path(__file__).with_name("results.csv"))
COLUMNS = [
    "benchmark", "case", "quantity", "unit", "value", "low", "high", "rounds",
    "device", "cores", "threads", "load", "python", "torch", "commit", "date",
]  # fmt: skip


def seconds_in_turn(cases: Mapping[str, Callable[[], object]], *, rounds: int) -> pd.DataFrame:
    """Wall-clock seconds of each case in each round, a column a case. The order turns round every round.

    Every case runs once before, unmeasured. A GPU is waited for. A case that returns seconds, because it ran
    in another process, is believed.
    """
    for case in cases.values():
        timed(case)
    rows = []
    for number in range(rounds):
        order = list(cases)[:: 1 if number % 2 else -1]
        rows.append({name: timed(cases[name]) for name in order})
    return pd.DataFrame(rows)[list(cases)]


def timed(case: Callable[[], object]) -> float:
    """Seconds until the device has done it, or what the case says."""
    began = time.perf_counter()
    said = case()
    if isinstance(said, float):
        return said
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def compared(seconds: pd.DataFrame, *, benchmark: str, usual: str) -> pd.DataFrame:
    """Seconds of every case, and how many times faster than `usual` it was, round by round."""
    rows = []
    for case in seconds:
        rows.append(spread(seconds[case], benchmark=benchmark, case=case, quantity="time", unit="s"))
        if case != usual:
            ratio = seconds[usual] / seconds[case]
            quantity = f"times faster than {usual}"
            rows.append(spread(ratio, benchmark=benchmark, case=case, quantity=quantity, unit="1"))
    return pd.DataFrame(rows)


def spread(values: pd.Series, **what: str) -> dict[str, Any]:
    """A row of results: median, extremes and number of rounds."""
    return what | {
        "value": values.median(), "low": values.min(), "high": values.max(), "rounds": len(values),
    }  # fmt: skip


def record(rows: pd.DataFrame) -> None:
    """Print the rows and add them to benchmarks/results.csv with hardware, versions, commit and date."""
    print(rows.to_string(index=False, float_format=lambda x: f"{x:.4g}"), flush=True)
    about = pd.DataFrame([machine()] * len(rows))
    table = pd.concat([rows.reset_index(drop=True), about], axis=1)[COLUMNS]
    table.to_csv(RESULTS, mode="a", header=not RESULTS.exists(), index=False, float_format="%.5g")


def machine() -> dict[str, Any]:
    """On what and with what; load: how many processes wanted a core in the last minute, ours among them."""
    return {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": commit_words(project_state()),
        "date": datetime.now(UTC).date().isoformat(),
    }


def processor() -> str:
    """The model as Linux names it; elsewhere its kind."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
