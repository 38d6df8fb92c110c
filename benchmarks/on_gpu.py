"""All that only a GPU can show, in one command, on a machine with PyTorch and little else.

    python benchmarks/on_gpu.py --minutes 9 --data ~/datasets --out results_of_the_gpu [--stages tests train]

    tests       what is marked `gpu`: graphs give a plain step's bits, every precision NC0's closed form
    trainer     the trainer against the usual loop; from its speed what the paper's grid would cost here
    train       runs of table 2 as published, or of --experiment momentum_heatmap (figure 5), that evidence/
                does not have yet, as many as there is time for

A stage that fails, or takes longer than its share, leaves the others be. OUT then holds log.txt, results.csv
and core/table_2, the evidence with the new runs in it: add the rows of the one to benchmarks/results.csv,
copy core to evidence/, and `make evidence` builds table 2 and its figures.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))  # a bare machine has no installed project

from alternating import machine  # noqa: E402

# Of the whole time, at most; what a stage leaves is the later ones'.
SHARES = {"tests": 0.15, "trainer": 0.2, "train": 1.0}
KEPT_SECONDS = 20.0  # for writing what there is
PRECISIONS = ("tf32", "bfloat16")
Command = list[str]


def python(*arguments: str | Path) -> Command:
    return [sys.executable, *map(str, arguments)]


def tests(chosen: argparse.Namespace, seconds: float) -> Iterator[Command]:
    yield python("-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider",
                 "tests/training/test_graphed_steps.py",
                 "tests/training/test_precision.py")  # fmt: skip


def trainer(chosen: argparse.Namespace, seconds: float) -> Iterator[Command]:
    for precision in PRECISIONS:
        for architecture in ("ResNet9", "VGG9"):
            yield python(
                "benchmarks/trainer.py", "--architecture", architecture, "--precision", precision, "--width",
                chosen.width, "--samples", chosen.samples, "--rounds", 3, "--device", chosen.device,
            )  # fmt: skip
    yield python("-m", "collapse", "plan", "paper", "--device", machine()["device"], "--benchmarks",
                 chosen.out / "results.csv")  # fmt: skip


def train(chosen: argparse.Namespace, seconds: float) -> Iterator[Command]:
    what = ["--study", chosen.study, "--experiment", *chosen.experiment, "--params", chosen.params]
    if (chosen.evidence / chosen.study).exists():
        shutil.copytree(chosen.evidence / chosen.study, chosen.out / chosen.study, dirs_exist_ok=True)
    yield python(
        "-m", "collapse", "train", *what, "--device", chosen.device, "--data", chosen.data, "--out",
        chosen.results, "--not-in", chosen.evidence / chosen.study, "--hours", seconds / 3600,
    )  # fmt: skip
    if (chosen.results / chosen.study / "packs").exists():
        yield python("-m", "collapse", "evidence", *what, "--results", chosen.results, "--out", chosen.out)


STAGES: dict[str, Callable[[argparse.Namespace, float], Iterator[Command]]] = {
    "tests": tests, "trainer": trainer, "train": train,
}  # fmt: skip


def run(command: Command, *, out: Path, seconds: float) -> int | str:
    """The exit status of a command, or that it took too long. What it prints is printed, and logged."""
    print(f"$ {' '.join(command[1:])}", flush=True)
    log, kept = out / "log.txt", {"COLLAPSE_BENCHMARKS": str(out / "results.csv")}
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": "1"} | kept
    with log.open("a", encoding="utf-8") as file:
        file.write(f"\n$ {' '.join(command[1:])}\n")
        file.flush()
        began = file.tell()
        try:
            status: int | str = subprocess.run(
                command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT, timeout=seconds
            ).returncode
        except subprocess.TimeoutExpired:
            status = f"stopped after {seconds:.0f} s"
    with log.open(encoding="utf-8", errors="replace") as file:
        file.seek(began)
        print(file.read()[-4000:], flush=True)
    return status


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, required=True, help="for all stages")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the datasets")
    parser.add_argument("--out", type=Path, required=True, help="for what should be brought back")
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--results", type=Path, default=Path("results"), help="for checkpoints and the like")
    parser.add_argument("--evidence", type=Path, default=ROOT / "evidence", help="what is measured already")
    parser.add_argument("--device", default="cuda", help="cpu: to see that all stages work")
    parser.add_argument("--commit", default="", help="of the code, where it was copied without git")
    parser.add_argument("--study", default="core", help="whose runs; default: %(default)s")
    parser.add_argument("--experiment", nargs="+", default=["table_2"], help="of it; default: %(default)s")
    parser.add_argument("--params", type=Path, default=ROOT / "params.yaml")
    parser.add_argument("--width", type=float, default=1.0, help="of the networks that are timed")
    parser.add_argument("--samples", type=int, default=12_800, help="of the trainer's epochs")
    chosen = parser.parse_args()
    for name in ("data", "out", "results", "evidence", "params"):
        setattr(chosen, name, getattr(chosen, name).absolute())  # commands run in the project's folder
    chosen.out.mkdir(parents=True, exist_ok=True)
    os.environ["COLLAPSE_COMMIT"] = chosen.commit  # for the records of the jobs
    end, statuses = time.monotonic() + 60 * chosen.minutes, {}
    for stage in chosen.stages:
        deadline = min(end - KEPT_SECONDS, time.monotonic() + 60 * chosen.minutes * SHARES[stage])
        for command in STAGES[stage](chosen, max(deadline - time.monotonic(), 1.0)):
            left = end - time.monotonic() if stage == "train" else deadline - time.monotonic()
            status = run(command, out=chosen.out, seconds=left) if left > 0 else "no time left"
            statuses.setdefault(stage, []).append(status)
    print("\n".join(f"{stage}: {', '.join(map(str, found))}" for stage, found in statuses.items()))
    ended = [status for found in statuses.values() for status in found if isinstance(status, int)]
    return int(any(status not in (0, 3) for status in ended))  # 3: the time was up


if __name__ == "__main__":
    sys.exit(main())
