"""One training run: from initialisation to the last epoch, with its history.

A run depends on its own settings alone. Its initialisation and the order of its batches come from its
seed, so neither the runs trained beside it nor their order can change a bit of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from collapse.architectures.network import Body, Network
from collapse.datasets.image_folder import FolderImages
from collapse.datasets.preprocessing import augment
from collapse.metrics import layers
from collapse.metrics.class_statistics import to_arrays
from collapse.optimizers import OPTIMIZERS
from collapse.study.schedules import SCHEDULES, is_measured
from collapse.training.evaluation import Diverged, require_finite, statistics_of
from collapse.training.head import head_metrics
from collapse.training.images import Images
from collapse.training.kernels.named import kernels_named
from collapse.training.layer_statistics import layer_statistics
from collapse.training.losses import LOSSES, Criterion
from collapse.training.steps import FlatParameters, State, Step, evaluated_by, step_of

MINIBATCH_STREAM, AUGMENTATION_STREAM = 1, 2


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    history: a row an epoch: fit, and what the last layer's weights tell.
    trajectory: class statistics at the measured epochs, arrays named `{epoch}/{name}`; those of dense layers
        `{epoch}/layers/{name}`.
    weights: the state dict at the end; None unless the run was done.
    """

    status: str  # done | diverged
    reason: str
    epochs_done: int
    seconds: float
    history: list[dict[str, Any]]
    trajectory: dict[str, Tensor]
    weights: dict[str, Tensor] | None


@dataclass(frozen=True)
class Moment:
    """A run between two epochs: all that its next steps and its outcome depend on.

    No generator's state is among it: batches and augmentation come from (seed, epoch), and no architecture
    draws numbers while it trains. A test of each architecture would notice one that does.
    parameters: in one vector. buffers: BatchNorm's. optimizer: its state. Nothing is shared with the run.
    seconds: trained so far. history, trajectory: as in Outcome.
    """

    epoch: int
    seconds: float
    parameters: Tensor
    buffers: dict[str, Tensor]
    optimizer: dict[str, Tensor | int]
    history: list[dict[str, Any]]
    trajectory: dict[str, Tensor]


def seeded_generator(seed: int, epoch: int, stream: int) -> torch.Generator:
    """A generator for one epoch of one run: an epoch needs none of the earlier ones' draws."""
    return torch.Generator().manual_seed((seed * 1_000_003 + epoch) * 10 + stream)


def minibatches(
    num_samples: int, *, batch_size: int, seed: int, epoch: int, device: torch.device | str = "cpu"
) -> Iterator[Tensor]:
    """Every sample once, in an order that depends on (seed, epoch); the last batch may be smaller.

    device: where the indices are wanted, all brought there at once.
    """
    generator = seeded_generator(seed, epoch, MINIBATCH_STREAM)
    yield from torch.randperm(num_samples, generator=generator).to(device).split(batch_size)


def augmented_batches(
    images: Tensor | FolderImages,
    batches: Iterator[Tensor],
    *,
    padding: Tensor | None,
    generator: torch.Generator,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Indices and images of each batch; every random draw is `generator`'s.

    batches: indices where the images are; of images in files on the CPU.
    padding: the value a channel that random crops are padded with; None does without. Images in files
    have an augmentation of their own.
    """
    if isinstance(images, FolderImages):
        yield from images.batches(batches, generator=generator)
        return
    for indices in batches:
        batch = images[indices]
        yield indices, batch if padding is None else augment(batch, padding_C=padding, generator=generator)


def train_epoch(
    network: Network,
    state: State,
    images: Images,
    *,
    step: Step,
    learning_rate: float,
    batch_size: int,
    seed: int,
    epoch: int,
    padding: Tensor | None,
) -> tuple[dict[str, Tensor], float]:
    """One pass over the training set. Returns the optimizer's state and the mean loss of the batches.

    step: `training_step` of this network. padding: see `augmented_batches`.
    """
    network.train()
    generator = seeded_generator(seed, epoch, AUGMENTATION_STREAM)
    total = torch.zeros((), dtype=torch.float64, device=images.train_labels.device)
    num_samples = len(images.train_labels)
    place = "cpu" if isinstance(images.train_images, FolderImages) else total.device
    batches = minibatches(num_samples, batch_size=batch_size, seed=seed, epoch=epoch, device=place)
    for indices, batch in augmented_batches(
        images.train_images, batches, padding=padding, generator=generator
    ):
        state, loss = step(state, batch, images.train_labels[indices], learning_rate)
        total += loss * len(indices)
    return state, total.item() / num_samples


def train_run(
    network: Network,
    images: Images,
    *,
    optimizer: str,
    learning_rate: float,
    schedule: str,
    epochs: int,
    batch_size: int,
    measure_every: int,
    seed: int,
    padding: Tensor | None,
    progress: Callable[[int, float], None],
    loss: str = "cross_entropy",
    feature_decay: float | None = None,
    kernels: str = "plain",
    begin: Moment | None = None,
    between_epochs: Callable[[Callable[[], Moment]], None] = lambda take: None,
    **hyperparameters: float | None,
) -> Outcome:
    """Train `network` in place. A run that diverges ends with that epoch, and says which and why.

    hyperparameters: momentum, weight_decay, coupled_fraction, beta2, epsilon.
    loss, feature_decay: see collapse.training.losses and `accumulated_gradients`; fused kernels have neither.
    progress: called with the epoch and its loss after every epoch.
    kernels: plain, or fused where collapse.training.kernels.trust finds them to do the same.
    begin: go on from there, to the same bits as if nothing had come between.
    between_epochs: called after every epoch with what returns that Moment, at the price of a copy.
    Every epoch from 0 (initialisation) on is recorded; what needs the features where `is_measured` says.
    """
    started = time.monotonic() - (begin.seconds if begin else 0.0)
    means, criterion = kernels_named(kernels), LOSSES[loss]
    flat = FlatParameters(network)
    record = Record(network, images, criterion, evaluated_by(means, network))
    rule = means.rule(optimizer, flat, **hyperparameters)
    gradients = means.gradients
    if loss != "cross_entropy" or feature_decay:
        penalty = (feature_decay or 0.0) * len(images.train_labels) / 2
        gradients = partial(gradients, criterion=criterion, feature_penalty=penalty)
    step = step_of(network, flat, rule, gradients, graphed=OPTIMIZERS[optimizer].graphed)
    looks = partial(is_measured, epochs=epochs, measure_every=measure_every)
    if begin:
        epoch, state = begin.epoch, restored(begin, network, flat, record)
    else:
        epoch, state = 0, {}
        record.add(0, features=looks(0))
    reason = ""
    while epoch < epochs and not reason:
        epoch += 1
        rate = learning_rate * SCHEDULES[schedule](epoch - 1, epochs)
        state, running_loss = train_epoch(
            network, state, images, step=step, learning_rate=rate,
            batch_size=batch_size, seed=seed, epoch=epoch - 1, padding=padding,
        )  # fmt: skip
        reason = record.after(epoch, flat, features=looks(epoch),
                              learning_rate=rate, running_loss=running_loss)  # fmt: skip
        if not reason:
            progress(epoch, running_loss)
            between_epochs(partial(moment, network, flat, state, record, epoch=epoch, started=started))
    return Outcome(
        status="diverged" if reason else "done",
        reason=reason,
        epochs_done=epoch,
        seconds=time.monotonic() - started,
        history=record.history,
        trajectory=record.trajectory,
        weights=None if reason else copied_weights(network),
    )


def moment(
    network: Network,
    flat: FlatParameters,
    state: dict[str, Tensor | int],
    record: Record,
    *,
    epoch: int,
    started: float,
) -> Moment:
    """The run as it is after `epoch`, copied where it lies: `restored` is the way back."""
    return Moment(
        epoch=epoch,
        seconds=time.monotonic() - started,
        parameters=flat.values.clone(),
        buffers={name: buffer.clone() for name, buffer in network.named_buffers()},
        optimizer={name: x.clone() if isinstance(x, Tensor) else x for name, x in state.items()},
        history=list(record.history),
        trajectory=dict(record.trajectory),
    )


def restored(
    begin: Moment, network: Network, flat: FlatParameters, record: Record
) -> dict[str, Tensor | int]:
    """Put a new network and its record where `begin` was. Returns the optimizer's state."""
    flat.values.copy_(begin.parameters)
    for name, buffer in network.named_buffers():
        buffer.copy_(begin.buffers[name])
    record.history, record.trajectory = list(begin.history), dict(begin.trajectory)
    device = flat.values.device
    return {
        name: x.to(device, copy=True) if isinstance(x, Tensor) else x for name, x in begin.optimizer.items()
    }


class Record:
    """What is seen of a run on its way: `history` and `trajectory` of its Outcome."""

    def __init__(self, network: Network, images: Images, criterion: Criterion, body: Body | None = None):
        self.network, self.images, self.criterion, self.body = network, images, criterion, body
        self.has_layers = network.tail is not None
        self.history: list[dict[str, Any]] = []
        self.trajectory: dict[str, Tensor] = {}

    def add(self, epoch: int, *, features: bool, **row: float) -> None:
        """Look at the last layer and, if `features`, at all images. Raises Diverged, adding nothing."""
        row = {"epoch": epoch, "measured": features} | row | head_metrics(self.network.head)
        if features:
            statistics, fit = statistics_of(
                self.network, self.images, criterion=self.criterion, body=self.body
            )
            row |= fit
            arrays = to_arrays(statistics)
            if self.has_layers:
                found = layers.to_arrays(layer_statistics(self.network, self.images))
                arrays |= {f"{layers.PLACE}{name}": array for name, array in found.items()}
            self.trajectory |= {f"{epoch}/{name}": torch.from_numpy(a) for name, a in arrays.items()}
        self.history.append(row)

    def after(self, epoch: int, flat: FlatParameters, *, features: bool, **row: float) -> str:
        """`add` what an epoch has led to. Returns why the run diverged in it, or nothing."""
        try:
            require_finite(row["running_loss"], flat.values)
            self.add(epoch, features=features, **row)
        except Diverged as problem:
            self.history.append({"epoch": epoch, "measured": False} | row)
            return f"{problem} at epoch {epoch}"
        return ""


def copied_weights(network: Network) -> dict[str, Tensor]:
    """The state dict on the CPU, no tensor sharing memory with another."""
    as_saved = {"memory_format": torch.contiguous_format, "copy": True, "device": "cpu"}
    return {name: tensor.detach().to(**as_saved) for name, tensor in network.state_dict().items()}
