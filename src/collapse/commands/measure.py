"""`collapse measure FILE.npz`: the metrics of any network's last layer, from arrays in a file."""

import argparse
import json
import math
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from collapse.metrics.at_collapse import values_at_collapse
from collapse.metrics.class_statistics import ClassStatistics, class_statistics
from collapse.metrics.conventions import CONVENTIONS, measure_all

REQUIRED = ("features", "labels", "weight")
OPTIONAL = ("bias", "test_features", "test_labels")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its (sub)parser."""
    parser.add_argument(
        "file",
        type=Path,
        help="npz file with features (N x p), labels (N, from 0) and weight (K x p); optional: "
        "bias (K), test_features (T x p), test_labels (T)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, not a table")
    parser.add_argument(
        "--convention",
        choices=sorted(CONVENTIONS),
        default="reported",
        help="whose definitions to use (default: as the paper reports them)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure and print. Returns the exit code: 0, or 2 with one line on stderr for bad input."""
    try:
        statistics = statistics_of_file(arguments.file)
    except ValueError as error:
        one_line = " ".join(str(error).split())
        print(f"collapse measure: {arguments.file}: {one_line}", file=sys.stderr)
        return 2
    with np.errstate(over="ignore", invalid="ignore"):  # said below, in words
        values = measure_all(statistics, convention=arguments.convention)
    if arguments.json:
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        print(json.dumps(finite))
    else:
        print(_table(values, arguments.convention, statistics))
    for name, value in values.items():
        if not math.isfinite(value):
            print(f"collapse measure: {name}: {_reason(name, value, statistics)}", file=sys.stderr)
    return 0


def statistics_of_file(path: Path) -> ClassStatistics:
    """Class statistics of the arrays in an npz file.

    Raises ValueError, in one line that names the array and the remedy, for a file that cannot be
    read, arrays that are missing or unknown, and whatever class_statistics refuses.
    """
    arrays = _read(path)
    return class_statistics(
        features_ND=arrays["features"],
        labels_N=arrays["labels"],
        weight_KD=arrays["weight"],
        bias_K=arrays.get("bias"),
        test_features=arrays.get("test_features"),
        test_labels=arrays.get("test_labels"),
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    """The file's arrays, never unpickled."""
    if not path.is_file():
        raise ValueError("not a file" if path.exists() else "no such file")
    if not zipfile.is_zipfile(path):
        raise ValueError("not a readable npz file; write one with numpy.savez")
    with path.open("rb") as handle:
        try:
            file = np.load(handle, allow_pickle=False)
        except Exception as error:  # any kind: see _array
            raise ValueError(_unreadable(error)) from None
        _check_names(set(file.files))
        return {name: _array(file, name) for name in file.files}


def _check_names(names: set[str]) -> None:
    if missing := [name for name in REQUIRED if name not in names]:
        raise ValueError(f"missing arrays: {', '.join(missing)}; add them to the file")
    if unknown := sorted(names - {*REQUIRED, *OPTIONAL}):
        known = ", ".join(REQUIRED + OPTIONAL)
        raise ValueError(f"unknown arrays: {', '.join(unknown)}; the known names are {known}")


def _array(file: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    try:
        array = file[name]
    except Exception as error:  # a damaged file raises what NumPy, zlib or a tokenizer please
        if "allow_pickle" in str(error):
            raise ValueError(f"{name}: holds pickled objects; save plain numbers") from None
        raise ValueError(f"{name}: {_unreadable(error)}") from None
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{name}: not an array; write the file with numpy.savez")
    return array


def _unreadable(error: Exception) -> str:
    reason = str(error) or type(error).__name__
    return f"unreadable ({reason}); write the file again with numpy.savez"


def _table(values: dict[str, float], convention: str, statistics: ClassStatistics) -> str:
    sizes = {"num_classes": statistics.num_classes, "num_features": statistics.num_features}
    collapsed = values_at_collapse(convention=convention, **sizes)
    rows = [("metric", convention, "at perfect collapse")]
    rows += [(name, f"{value:.6g}", f"{collapsed[name]:g}") for name, value in values.items()]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        f"{name:<{widths[0]}}  {value:>{widths[1]}}  {limit:>{widths[2]}}" for name, value, limit in rows
    )


def _reason(name: str, value: float, statistics: ClassStatistics) -> str:
    """Why a metric is not a finite number."""
    if name == "NC4" and math.isnan(statistics.agreement_test):
        return "not measured, it needs test_features"
    if math.isinf(value) and name in ("NC1", "condition_number", "CDNV"):
        return "infinite, the centred class means do not span all their directions"
    return "undefined (0/0 or overflow): zero weights, coinciding class means, or huge values"
