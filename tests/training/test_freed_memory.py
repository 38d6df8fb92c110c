"""What was freed is taken again, where glibc allocates; elsewhere nothing happens."""

import subprocess
import sys

import pytest

from collapse.training import freed_memory

STEPS = """
import resource, sys, torch
from collapse.training.freed_memory import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit(3)
def usage():
    its = resource.getrusage(resource.RUSAGE_SELF)
    return its.ru_minflt, its.ru_maxrss
torch.set_num_threads(1)
for step in range(40):  # blocks of 4 to 64 MB, a few of them at once, as in forward and backward
    if step == 10:
        before, _ = usage()
    blocks = [torch.ones(n * 1_000_000) for n in (16, 12, 8, 4, 2, 1)]
    while blocks:
        block = blocks.pop(0)
        del block
after, peak = usage()
print(after - before, peak)
"""


def steps(how):
    """Pages that the system had to provide in thirty steps, and the most memory at a time (KB)."""
    done = subprocess.run([sys.executable, "-c", STEPS, how], capture_output=True, text=True)
    if done.returncode == 3:
        pytest.skip("not glibc, or one that does not take so large a threshold")
    return map(int, done.stdout.split())


def test_freed_blocks_are_taken_again_and_memory_does_not_grow():
    kept_faults, kept_peak = steps("keep")
    faults, peak = steps("leave")
    assert kept_faults < faults / 2
    assert kept_peak < 2 * peak


def test_elsewhere_nothing_happens(monkeypatch):
    monkeypatch.setattr(freed_memory.sys, "platform", "darwin")
    assert not freed_memory.keep_freed_memory()
