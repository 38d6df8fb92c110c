"""The state of an unfinished run: written now and then and when the job must stop, read by the next attempt.

A state is a cache. One that is damaged, or was made on another device or by other code, is removed with a
line in the log and costs the epochs in it. It holds data alone: tensors, and JSON, in a safetensors file.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from collapse.training.pack_files import PackFileError, prefixed, read_described, save_tensors
from collapse.training.run import Moment

log = logging.getLogger(__name__)
COPY_SECONDS = 1.0


class KeptState:
    """The latest Moment of one run, in memory and in a file.

    file: where the state is written. made_by: what must be the same for the run to end as if it had never
    stopped. every_seconds: how often the file is written; a copy in memory, for a signal amid an epoch, is
    made every second at most, so that epochs of milliseconds are not spent on copies.
    """

    def __init__(self, file: Path, *, made_by: Mapping[str, Any], every_seconds: float):
        self.file, self.made_by, self.every_seconds = file, made_by, every_seconds
        self.latest = usable_state(file, made_by=made_by)
        self.copied = self.written = time.monotonic()

    def between_epochs(self, take: Callable[[], Moment]) -> None:
        """As `train_run` wants it."""
        now = time.monotonic()
        due = now - self.written >= self.every_seconds
        if due or now - self.copied >= COPY_SECONDS:
            self.latest, self.copied = take(), now
        if due:
            self.write()

    def write(self) -> bool:
        """Write the latest state, if there is one. Where that fails training goes on, with a warning."""
        if self.latest is None:
            return False
        try:
            write_state(self.latest, self.file, made_by=self.made_by)
        except PackFileError as error:
            log.warning("no state is kept: %s", error)
            return False
        finally:
            self.written = time.monotonic()
        return True

    def remove(self) -> None:
        """The run has ended."""
        self.latest = None
        self.file.unlink(missing_ok=True)


def write_state(moment: Moment, file: Path, *, made_by: Mapping[str, Any]) -> None:
    """Write a state, whole or not at all. Raises PackFileError."""
    numbers = {name: x for name, x in moment.optimizer.items() if not isinstance(x, Tensor)}
    tensors = {
        "parameters": moment.parameters,
        **prefixed("buffers", moment.buffers),
        **prefixed("optimizer", {name: x for name, x in moment.optimizer.items() if name not in numbers}),
        **prefixed("trajectory", moment.trajectory),
    }
    about = {
        "made_by": made_by,
        "epoch": moment.epoch,
        "seconds": moment.seconds,
        "optimizer": numbers,
        "history": moment.history,
    }
    save_tensors({name: x.cpu() for name, x in tensors.items()}, file, about=json.dumps(about))


def read_state(file: Path) -> tuple[Moment, dict[str, Any]]:
    """A state, on the CPU, and what it was made by. Raises PackFileError."""
    tensors, text = read_described(file)
    try:
        about = json.loads(text)
        parts: dict[str, dict[str, Tensor]] = {"buffers": {}, "optimizer": {}, "trajectory": {}}
        parameters = tensors.pop("parameters")
        for name, tensor in tensors.items():
            part, _, rest = name.partition("/")
            parts[part][rest] = tensor
        moment = Moment(
            epoch=about["epoch"],
            seconds=about["seconds"],
            parameters=parameters,
            buffers=parts["buffers"],
            optimizer=parts["optimizer"] | about["optimizer"],
            history=about["history"],
            trajectory=parts["trajectory"],
        )
        return moment, about["made_by"]
    except (ValueError, KeyError, TypeError) as error:
        raise PackFileError(f"{file} is not the state of a run ({error})") from None


def usable_state(file: Path, *, made_by: Mapping[str, Any]) -> Moment | None:
    """The state in a file if there is one that this job can go on from; any other is removed."""
    if not file.exists():
        return None
    try:
        moment, found = read_state(file)
    except PackFileError as error:
        log.warning("%s: the run begins anew", error)
        file.unlink()
        return None
    wanted = json.loads(json.dumps(made_by))
    if other := [name for name in wanted if found.get(name) != wanted[name]]:
        log.warning(
            "%s: another %s than here, where the run would not end with the same bits; it begins anew",
            file, " and ".join(other),
        )  # fmt: skip
        file.unlink()
        return None
    return moment
