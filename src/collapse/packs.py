"""Training a pack: the runs that one job trains on one device."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from collapse.datasets.preprocessing import black_pixel
from collapse.errors import InputError
from collapse.evaluation import Diverged
from collapse.images import Images, choose_device, load_images
from collapse.initialisation import initial_network
from collapse.lineage import code_digest
from collapse.pack_files import Pack, PackFileError, PackPaths, joined, prefixed, read_pack, write_pack
from collapse.provenance import commit_words, project_state
from collapse.runs import PROTOCOL
from collapse.training import Outcome, train_run

log = logging.getLogger(__name__)
Run = Mapping[str, Any]
# What `train_run` wants to know of a run; the rest is in its network and its images.
TRAINING = [
    "optimizer", "learning_rate", "momentum", "weight_decay", "coupled_fraction", "beta2", "epsilon",
    "schedule", "epochs", "batch_size", "measure_every", "seed",
]  # fmt: skip


def train_pack(
    runs: Sequence[Run],
    *,
    prepared: Path,
    paths: PackPaths,
    unfinished: Path,
    device: str,
    root: Path | None = None,
) -> None:
    """Train the runs that are not trained yet and write the pack's files.

    Runs already in the files, or finished by an interrupted job (in `unfinished`), are kept as they
    are: their keys say that nothing that determines them has changed. root: see `load_images`.
    Raises PackFileError and DatasetError.
    """
    packs = [read_pack(paths)] if all(path.exists() for path in paths) else []
    packs += finished_parts(unfinished)
    wanted = [run["key"] for run in runs]
    # A run that failed for want of memory, say, gets another chance.
    trained = {key for pack in packs for key in pack.outcomes.query("status != 'failed'").key}
    missing = [run for run in runs if run["key"] not in trained]
    log.info("%d runs, %d of them trained before", len(runs), len(runs) - len(missing))
    if missing:
        chosen = choose_device(device)
        images = load_images(prepared, missing[0], chosen, root=root)
        report = progress_reporter(missing)
        for number, run in enumerate(missing):
            pack = pack_of_one(run, train_one(run, images, chosen, report(number)), chosen)
            write_pack(pack, PackPaths.inside(unfinished / run["key"]))
            packs.append(pack)
    whole = joined(packs, keys=wanted)
    if (whole.outcomes.status == "failed").all():
        raise PackFileError(
            f"no run of this pack could be trained ({whole.outcomes.reason.iloc[0]}); nothing was written: "
            "mend the cause and run again"
        )
    write_pack(whole, paths)
    shutil.rmtree(unfinished, ignore_errors=True)


def finished_parts(unfinished: Path) -> list[Pack]:
    """The runs that an interrupted job had finished, each a pack of one."""
    parts = [PackPaths.inside(folder) for folder in sorted(unfinished.glob("*"))]
    return [read_pack(part) for part in parts if part.outcomes.exists()]


def train_one(
    run: Run, images: Images, device: torch.device, progress: Callable[[int, float], None]
) -> Outcome:
    """One run of a pack. An error of the device, or before the first step, is recorded as `failed`.

    Raises InputError: what cannot be read for one run cannot be read for the next.
    """
    settings = {name: run[name] for name in TRAINING}
    padding = black_pixel(run["dataset"]) if run["augmentation"] == "crop_flip" else None
    started = time.monotonic()
    try:
        outcome = train_run(
            initial_network(run).to(device), images, padding=padding, progress=progress, **settings
        )
    except InputError:
        raise
    except (RuntimeError, Diverged) as error:
        reason = str(error).splitlines()[0]
        outcome = Outcome("failed", reason, 0, time.monotonic() - started, [], {}, None)
    if outcome.status != "done":
        log.warning("run %s %s: %s", run["key"], outcome.status, outcome.reason)
    return outcome


def pack_of_one(run: Run, outcome: Outcome, device: torch.device) -> Pack:
    """A run's outcome in the form of a pack."""
    key = run["key"]
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    facts = {
        "key": key,
        "status": outcome.status,
        "reason": outcome.reason,
        "epochs_done": outcome.epochs_done,
        "seconds": outcome.seconds,
        "device": name,
        "threads": torch.get_num_threads(),
        "torch_version": torch.__version__,
        "protocol": PROTOCOL,
        # A pack's file holds runs of several jobs: which code trained this one, nobody else can say.
        "commit": commit_words(project_state()),
        "code": code_digest(Path(__file__)),
    }
    history = pd.DataFrame([{"key": key} | row for row in outcome.history])
    if history.empty:
        history = pd.DataFrame({"key": pd.Series(dtype=str), "epoch": pd.Series(dtype=int)})
    return Pack(
        prefixed(key, outcome.weights or {}),
        prefixed(key, outcome.trajectory),
        history,
        pd.DataFrame([facts]),
    )


def progress_reporter(runs: Sequence[Run], *, every_seconds: float = 10.0):
    """report(number)(epoch, loss) logs run, epoch, loss and time left, now and then."""
    total = sum(run["epochs"] for run in runs)
    started = last = time.monotonic()

    def report(number: int) -> Callable[[int, float], None]:
        run = runs[number]
        before = sum(earlier["epochs"] for earlier in runs[:number])

        def progress(epoch: int, loss: float) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last < every_seconds and epoch != run["epochs"]:
                return
            last = now
            done = before + epoch
            left = (now - started) / done * (total - done)
            log.info(
                "run %d/%d  %s lr %g momentum %g decay %g  epoch %d/%d  loss %.4g  %s left",
                number + 1, len(runs), run["optimizer"], run["learning_rate"], run["momentum"],
                run["weight_decay"], epoch, run["epochs"], loss, duration(left),
            )  # fmt: skip

        return progress

    return report


def duration(seconds: float) -> str:
    """1:02:03, for people."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
