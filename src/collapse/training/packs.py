"""Training a pack: the runs that one job trains on one device."""

from __future__ import annotations

import gc
import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from collapse.architectures.initialisation import initial_network
from collapse.architectures.precision import convolutions_in
from collapse.datasets.preprocessing import black_pixel
from collapse.files.errors import InputError, first_line
from collapse.records.code_digest import code_digest
from collapse.records.durations import duration
from collapse.records.interruption import Interrupted, stopped_by_signals
from collapse.records.provenance import commit_words, project_state
from collapse.study.entries import entries_of
from collapse.study.runs import PROTOCOL
from collapse.study.settings import UNSAID
from collapse.training.evaluation import Diverged
from collapse.training.freed_memory import keep_freed_memory
from collapse.training.images import DeviceError, Images, choose_device, load_images
from collapse.training.kernels.trust import chosen_kernels, require_fused
from collapse.training.pack_files import (
    Pack,
    PackFileError,
    PackPaths,
    joined,
    key_of,
    prefixed,
    read_pack,
    write_pack,
)
from collapse.training.pack_lock import only_trainer
from collapse.training.run import Outcome, minibatches, train_run
from collapse.training.run_state import KeptState

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
    kernels: str = "plain",
    save_every_minutes: float = 5.0,
    root: Path | None = None,
) -> None:
    """Train the runs that are not trained yet and write the pack's files.

    Runs already in the files, or finished by an interrupted job (in `unfinished`), are kept as they
    are: their keys say that nothing that determines them has changed. A run that was under way goes on
    from its latest state there, to the same bits; SIGTERM and SIGINT save one and raise Interrupted.
    kernels: see collapse.training.kernels.trust. root: see `load_images`. Raises PackFileError, DatasetError,
    DeviceError, KernelsError and PackBusyError.
    """
    keep_freed_memory()
    with only_trainer(unfinished), stopped_by_signals():
        packs = [read_pack(paths)] if all(path.exists() for path in paths) else []
        packs += finished_parts(unfinished)
        trained = set().union(*map(trained_keys, packs))
        missing = [run for run in runs if run["key"] not in trained]
        log.info("%d runs, %d of them trained before", len(runs), len(runs) - len(missing))
        if missing:
            packs += train_missing(
                missing, prepared=prepared, unfinished=unfinished, device=choose_device(device),
                kernels=kernels, save_every_minutes=save_every_minutes, root=root,
            )  # fmt: skip
        whole = joined(packs, keys=[run["key"] for run in runs])
        if (whole.outcomes.status == "failed").all():
            raise PackFileError(
                f"no run of this pack could be trained ({whole.outcomes.reason.iloc[0]}); nothing was "
                "written: mend the cause and run again"
            )
        write_pack(whole, paths)
        shutil.rmtree(unfinished, ignore_errors=True)


def trained_keys(pack: Pack) -> set[str]:
    """The runs that a pack has whole. One that failed for want of memory, say, gets another chance."""
    with_weights = {key_of(name) for name in pack.weights}
    ended = pack.outcomes[pack.outcomes.status != "failed"]
    return {row.key for row in ended.itertuples() if row.status != "done" or row.key in with_weights}


def train_missing(
    runs: Sequence[Run],
    *,
    prepared: Path,
    unfinished: Path,
    device: torch.device,
    kernels: str,
    save_every_minutes: float,
    root: Path | None,
) -> list[Pack]:
    """Train runs one after the other; each is in `unfinished` as soon as it has ended."""
    require_fused(kernels, device)
    try:
        images = load_images(prepared, runs[0], device, root=root)
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            f"the images of {prepared} do not fit beside what the GPU holds ({first_line(error)}); "
            "free its memory, or take another GPU or device: cpu, and run again"
        ) from None
    report = progress_reporter(runs)
    packs = []
    for number, run in enumerate(runs):
        folder = unfinished / run["key"]
        its, why = chosen_kernels(kernels, run, partial(first_batch, run, images), device)
        if why:
            log.warning("fused kernels are not trusted, plain ones train: %s", why)
            kernels = "plain"  # in this job
        facts = made_by(device, run, kernels=its)
        state = KeptState(
            folder / "state.safetensors",
            made_by={"run": dict(run), **{name: facts[name] for name in SAME_IN_A_STATE}},
            every_seconds=60 * save_every_minutes,
        )
        pack = pack_of_one(run, train_one(run, images, device, report(number, state), state, its), facts)
        write_pack(pack, PackPaths.inside(folder))
        state.remove()
        packs.append(pack)
    return packs


def finished_parts(unfinished: Path) -> list[Pack]:
    """The runs that an interrupted job had finished, each a pack of one."""
    parts = [PackPaths.inside(folder) for folder in sorted(unfinished.glob("*"))]
    return [read_pack(part) for part in parts if part.outcomes.exists()]


def first_batch(run: Run, images: Images) -> tuple[Tensor, Tensor]:
    """Images and labels of a run's first step, before augmentation."""
    batches = minibatches(len(images.train_labels), batch_size=run["batch_size"], seed=run["seed"], epoch=0)
    indices = next(batches).to(images.train_labels.device)
    return images.train_images[indices], images.train_labels[indices]


def train_one(
    run: Run,
    images: Images,
    device: torch.device,
    progress: Callable[[int, float], None],
    state: KeptState,
    kernels: str,
) -> Outcome:
    """One run of a pack. An error of its own, or want of memory, is recorded as `failed`.

    Without memory it is tried once more, with all freed that the pack's earlier runs may have left.
    Raises Interrupted, with the state saved; InputError: what cannot be read for one run cannot be read for
    the next, and a GPU that broke down computes no other run.
    """
    started = time.monotonic()
    for again in (False, True):
        try:
            outcome = train_from(state, run, images, device, progress, kernels)
            break
        except (InputError, Interrupted):
            raise
        except torch.AcceleratorError as error:
            raise DeviceError(
                f"the {device.type} device broke down in run {run['key']} ({first_line(error)}); run again: "
                "it goes on from its last state"
            ) from None
        except (RuntimeError, Diverged) as error:
            reason = first_line(error)
            outcome = Outcome("failed", reason, 0, time.monotonic() - started, [], {}, None)
            if again or not isinstance(error, torch.OutOfMemoryError):
                break
        # Here the error is gone, and with it the frames that held the run's tensors.
        log.warning("run %s: %s; memory is freed and the run tried again, alone", run["key"], reason)
        gc.collect()
        torch.cuda.empty_cache()
    if outcome.status != "done":
        log.warning("run %s %s: %s; the pack goes on", run["key"], outcome.status, outcome.reason)
    return outcome


def train_from(
    state: KeptState,
    run: Run,
    images: Images,
    device: torch.device,
    progress: Callable[[int, float], None],
    kernels: str,
) -> Outcome:
    """Train one run from its latest state, if it has one. Raises Interrupted, with the state saved."""
    settings = {name: run[name] for name in TRAINING}
    settings |= {name: run.get(name, UNSAID[name]) for name in ("loss", "feature_decay")}
    padding = black_pixel(run["dataset"]) if run["augmentation"] == "crop_flip" else None
    begin = state.latest
    if begin:
        log.info("run %s goes on from epoch %d of %d", run["key"], begin.epoch, run["epochs"])
    try:
        with convolutions_in(run["precision"]):
            return train_run(
                initial_network(run).to(device), images, padding=padding, progress=progress, begin=begin,
                kernels=kernels, between_epochs=state.between_epochs, **settings,
            )  # fmt: skip
    except Interrupted as stop:
        words = f": run {run['key']} is " + (
            f"saved after epoch {state.latest.epoch} of {run['epochs']}; run again and it goes on from there"
            if state.write()
            else "not saved; run again and it begins anew, the runs of the pack that have ended are kept"
        )
        raise Interrupted(stop.signal_number, words) from None


# What a run's bits hang on beside its settings.
SAME_IN_A_STATE = ["device", "threads", "torch_version", "kernels", "protocol", "code"]


def made_by(device: torch.device, run: Run, *, kernels: str) -> dict[str, Any]:
    """What trains a run here: part of its outcome."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "torch_version": torch.__version__,
        "kernels": kernels,
        "protocol": PROTOCOL,
        # A pack's file holds runs of several jobs: which code trained this one, nobody else can say.
        "commit": commit_words(project_state()),
        "code": code_digest(Path(__file__), entries=entries_of([run])),
    }


def pack_of_one(run: Run, outcome: Outcome, facts: Mapping[str, Any]) -> Pack:
    """A run's outcome in the form of a pack. facts: see `made_by`."""
    key = run["key"]
    row = {
        "key": key,
        "status": outcome.status,
        "reason": outcome.reason,
        "epochs_done": outcome.epochs_done,
        "seconds": outcome.seconds,
    }
    history = pd.DataFrame([{"key": key} | row for row in outcome.history])
    if history.empty:
        history = pd.DataFrame({"key": pd.Series(dtype=str), "epoch": pd.Series(dtype=int)})
    return Pack(
        prefixed(key, outcome.weights or {}),
        prefixed(key, outcome.trajectory),
        history,
        pd.DataFrame([row | dict(facts)]),
    )


def progress_reporter(runs: Sequence[Run], *, every_seconds: float = 10.0):
    """report(number, state)(epoch, loss) logs run, epoch, loss and time left, now and then.

    state: where the run goes on. Epochs trained by an earlier job tell nothing of the speed of this one.
    """
    total = sum(run["epochs"] for run in runs)
    started = last = time.monotonic()
    before = 0

    def report(number: int, state: KeptState) -> Callable[[int, float], None]:
        nonlocal before
        run = runs[number]
        before += state.latest.epoch if state.latest else 0
        earlier = sum(run["epochs"] for run in runs[:number])

        def progress(epoch: int, loss: float) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last < every_seconds and epoch != run["epochs"]:
                return
            last = now
            done = earlier + epoch
            left = (now - started) / (done - before) * (total - done)
            log.info(
                "run %d/%d  %s lr %g momentum %g decay %g  epoch %d/%d  loss %.4g  %s left",
                number + 1, len(runs), run["optimizer"], run["learning_rate"], run["momentum"],
                run["weight_decay"], epoch, run["epochs"], loss, duration(left),
            )  # fmt: skip

        return progress

    return report
