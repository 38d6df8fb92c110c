"""`collapse measure FILE`: the metrics of any network's last layer, from arrays in a file."""

from __future__ import annotations

import argparse
import json
import math
import sys

from collapse.metrics.conventions import needs_extended
from collapse.own_models.array_files import statistics_of_file
from collapse.own_models.result import Measurement


def run(arguments: argparse.Namespace) -> int:
    """Measure and print. Returns the exit code: 0, or 2 with one line on stderr for bad input."""
    try:
        statistics = statistics_of_file(arguments.file, extended=needs_extended(arguments.convention))
    except ValueError as error:
        one_line = " ".join(str(error).split())
        print(f"collapse measure: {arguments.file}: {one_line}", file=sys.stderr)
        return 2
    found = Measurement(statistics, convention=arguments.convention)
    if arguments.json:
        finite = {name: value if math.isfinite(value) else None for name, value in found.items()}
        print(json.dumps(finite))
    else:
        print(found.table())
    reasons = [f"{name}: {words}" for name, words in found.reasons().items()]
    for words in [*found.notes, *reasons]:
        print(f"collapse measure: {words}", file=sys.stderr)
    return 0
