"""All that only a GPU can show, in one command, on a machine with PyTorch and little else.

    python benchmarks/on_gpu.py --minutes 10 --data ~/datasets --out from_the_gpu [--stages tests runs]

    tests    what is marked `gpu`
    kernels  plain and fused steps: how exact, how fast, beside the rate of a matrix product
    trainer  the trainer against the usual loop with 4 and 8 workers; what the grid would cost at that speed
    runs     the most wanted runs (benchmarks/wanted_runs.py), one at a time, as many as there is time for

A stage that fails, or takes longer than its share, leaves the others be. Every run is evidence in OUT as soon
as it has ended, so nothing is lost when the machine goes. The same command goes on where the last one
stopped. OUT holds log.txt, results.csv and evidence: add the rows of results.csv to benchmarks/results.csv,
copy OUT/evidence over evidence/, and `make evidence` builds the tables and figures. OUT/fused_again has the
runs of table 2 that were trained again with fused kernels; they are printed beside the others.
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

import pandas as pd  # noqa: E402
import torch  # noqa: E402
import yaml  # noqa: E402
from alternating import machine  # noqa: E402
from wanted_runs import Wanted, of_experiment, wanted, wanted_runs  # noqa: E402

from collapse.measuring.evidence_files import runs_in_evidence, same_runs  # noqa: E402
from collapse.study.parameters import load_parameters  # noqa: E402
from collapse.study.runs import run_table  # noqa: E402

# Of the whole time, at most; what a stage leaves is the later ones'.
SHARES = {"tests": 0.15, "kernels": 0.25, "trainer": 0.2, "runs": 1.0}
KEPT_SECONDS = 20.0  # for writing what there is
LEAST_SECONDS = 30.0  # less is not worth the beginning of a run
PRECISIONS = ("tf32", "bfloat16")
SHOWN = ["optimizer", "NC0", "NC1", "NC2", "NC3", "train_accuracy", "test_accuracy"]
Command = list[str]


def python(*arguments: str | Path | float) -> Command:
    return [sys.executable, *map(str, arguments)]


def tests(chosen: argparse.Namespace, seconds: float) -> Iterator[Command]:
    yield python("-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider", "tests/training")


def kernels(chosen: argparse.Namespace, seconds: float) -> Iterator[Command]:
    yield python("benchmarks/kernels.py", "--width", chosen.width, "--device", chosen.device)


def trainer(chosen: argparse.Namespace, seconds: float) -> Iterator[Command]:
    for precision in PRECISIONS:
        for architecture in ("ResNet9", "VGG9"):
            yield python(
                "benchmarks/trainer.py", "--architecture", architecture, "--precision", precision, "--width",
                chosen.width, "--samples", chosen.samples, "--rounds", 3, "--device", chosen.device,
            )  # fmt: skip
    yield python("-m", "collapse", "plan", "paper", "--device", machine()["device"], "--benchmarks",
                 chosen.out / "results.csv")  # fmt: skip


def runs(chosen: argparse.Namespace, seconds: float) -> Iterator[Command]:
    """Train one run, then keep it as evidence, then the next."""
    end = time.monotonic() + seconds
    data = ["--data", chosen.data] if chosen.data.exists() else []  # the default need not
    shutil.copytree(chosen.evidence, chosen.out / "evidence", dirs_exist_ok=True)
    if not (left_over := still_wanted(chosen)):
        print("runs: evidence has all that are wanted")
    for one in left_over:
        if (left := end - time.monotonic()) < LEAST_SECONDS:
            return
        results, evidence = places(chosen, one)
        what = ["--study", one.study, "--experiment", one.experiment, "--params", chosen.params]
        kernels = ["--kernels", one.kernels] if one.kernels else []
        yield python(
            "-m", "collapse", "train", *what, "--run", one.key, *kernels, "--device", chosen.device,
            *data, "--out", results, "--hours", left / 3600,
        )  # fmt: skip
        if any((results / one.study).glob(f"packs/*{one.key}/history_metrics.parquet")):
            yield python("-m", "collapse", "evidence", *what, "--results", results, "--out", evidence)


STAGES: dict[str, Callable[[argparse.Namespace, float], Iterator[Command]]] = {
    "tests": tests, "kernels": kernels, "trainer": trainer, "runs": runs,
}  # fmt: skip


def places(chosen: argparse.Namespace, one: Wanted) -> tuple[Path, Path]:
    """Where a run's results and its evidence go: apart, where it is trained again to be compared."""
    again = one.kernels is not None
    return chosen.results / ("fused_again" if again else "."), chosen.out / (
        "fused_again" if again else "evidence"
    )


def still_wanted(chosen: argparse.Namespace) -> list[Wanted]:
    """The wanted runs that no evidence has, without a GPU none that needs one."""
    parameters = load_parameters(chosen.params)
    if chosen.experiment:
        every = wanted(chosen.study, of_experiment(run_table(parameters, chosen.study), chosen.experiment))
    else:
        reported = yaml.safe_load((ROOT / "reference/reported.yaml").read_text(encoding="utf-8"))
        every = wanted_runs(parameters, reported)
    known = {
        (study, place): same_runs(run_table(parameters, study), runs_in_evidence(place))
        for study, place in {(one.study, places(chosen, one)[1]) for one in every}
    }
    here = [one for one in every if one.kernels is None or chosen.device == "cuda"]
    return [one for one in here if one.key not in known[one.study, places(chosen, one)[1]]]


def beside(plain: pd.DataFrame, fused: pd.DataFrame) -> str:
    """The runs that were trained again with fused kernels, each under the run trained before."""
    again = plain[plain.key.isin(same_runs(fused, plain).values())]
    both = pd.concat([again.assign(kernels="as before"), fused.assign(kernels="fused")])
    return both.sort_values(["optimizer", "kernels"])[["kernels", *SHOWN]].to_string(index=False)


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


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, required=True, help="for all stages")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the datasets")
    parser.add_argument("--out", type=Path, required=True, help="for what should be brought back")
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--results", type=Path, default=Path("results"), help="for checkpoints and the like")
    parser.add_argument("--evidence", type=Path, default=ROOT / "evidence", help="what is measured already")
    parser.add_argument("--device", default="cuda", help="cpu: to see that all stages work")
    parser.add_argument("--commit", default="", help="of the code, where it was copied without git")
    parser.add_argument("--study", default="core", help="with --experiment; default: %(default)s")
    parser.add_argument("--experiment", help="its runs instead of the most wanted")
    parser.add_argument("--params", type=Path, default=ROOT / "params.yaml")
    parser.add_argument("--width", type=float, default=1.0, help="of the networks that are timed")
    parser.add_argument("--samples", type=int, default=12_800, help="of the trainer's epochs")
    chosen = parser.parse_args()
    for name in ("data", "evidence", "params"):
        if getattr(chosen, name) != parser.get_default(name) and not getattr(chosen, name).exists():
            parser.error(f"--{name}: {getattr(chosen, name)} is not there")
    if chosen.device == "cuda" and not torch.cuda.is_available():
        sys.exit("on_gpu.py: torch sees no GPU here; --device cpu shows that all stages work")
    for name in ("data", "out", "results", "evidence", "params"):
        setattr(chosen, name, getattr(chosen, name).absolute())  # commands run in the project's folder
    return chosen


def main() -> int:
    chosen = arguments()
    chosen.out.mkdir(parents=True, exist_ok=True)
    os.environ["COLLAPSE_COMMIT"] = chosen.commit  # for the records of the jobs
    end, statuses = time.monotonic() + 60 * chosen.minutes, {}
    for stage in chosen.stages:
        deadline = min(end - KEPT_SECONDS, time.monotonic() + 60 * chosen.minutes * SHARES[stage])
        for command in STAGES[stage](chosen, max(deadline - time.monotonic(), 1.0)):
            left = end - time.monotonic() if stage == "runs" else deadline - time.monotonic()
            status = run(command, out=chosen.out, seconds=left) if left > 0 else "no time left"
            statuses.setdefault(stage, []).append(status)
    if len(fused := runs_in_evidence(chosen.out / "fused_again")):
        print(beside(runs_in_evidence(chosen.out / "evidence"), fused))
    print("\n".join(f"{stage}: {', '.join(map(str, found))}" for stage, found in statuses.items()))
    ended = [status for found in statuses.values() for status in found if isinstance(status, int)]
    return int(any(status not in (0, 3) for status in ended))  # 3: the time was up


if __name__ == "__main__":
    sys.exit(main())
