"""Misbehaviour of the first attempt at a training, for test_cluster.py: FAULTS/{optimizer} says which.

Python imports this at its start where its folder is on PYTHONPATH. It does something to Snakemake's training
scripts alone, and once: the file is moved away before.
"""

import os
import sys
import time
from pathlib import Path


def misbehave(fault: str) -> None:
    """exit: with status 7. memory: ever more of it. hang: for ever."""
    if fault == "exit":
        os._exit(7)
    hoard = []
    while True:
        if fault == "memory":
            hoard.append(b"x" * 100_000_000)
        time.sleep(0.1)


def fault_of(script: str) -> str | None:
    """What is to go wrong with this script, which holds the name of its pack; None the second time."""
    text = Path(script).read_bytes().decode(errors="replace")
    for file in Path(os.environ["FAULTS"]).iterdir():
        if f"-{file.name}-" in text:
            fault = file.read_text()
            file.rename(file.parent.with_name("struck") / file.name)
            return fault
    return None


if "FAULTS" in os.environ and sys.orig_argv[-1].endswith(".train.py"):
    found = fault_of(sys.orig_argv[-1])
    if found:
        misbehave(found)
