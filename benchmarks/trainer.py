"""The trainer against a training loop as most people write it: epochs of ResNet9 or VGG9, side by side.

    python benchmarks/trainer.py [--architecture ResNet9] [--width 0.25] [--samples 2048] [--device cpu]

The usual loop: a dataset of PIL images with Resize, ToTensor and Normalize, a shuffling DataLoader with
--workers (none on a CPU, where they would take the cores that train; 4 and 8 on a GPU), torch.optim.SGD on a
list of parameters, PyTorch's own BatchNorm and layout, and loss.item() every step. Network, batch, learning
rate and precision are the same: the losses of both are printed. Images are random bytes of the size of
FashionMNIST. Each loop has a process of its own, as it would have, and they take turns.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable
from contextlib import suppress

import pandas as pd
import torch
from alternating import compared, record, seconds_in_turn, spread
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from collapse.architectures.batch_norm import BatchNorm2d
from collapse.architectures.initialisation import initial_network
from collapse.architectures.precision import PRECISIONS, body_autocast, convolutions_in
from collapse.datasets import DATASETS
from collapse.datasets.preprocessing import preprocess
from collapse.datasets.torchvision_import import torchvision
from collapse.study.schedules import is_measured
from collapse.training.evaluation import statistics_of
from collapse.training.freed_memory import keep_freed_memory
from collapse.training.images import Images
from collapse.training.run import train_epoch
from collapse.training.steps import FlatParameters, step_of, update_rule

BATCH, LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 128, 0.0679, 0.9, 5e-4
FASHION = DATASETS["FashionMNIST"]
EPOCHS = 200
OURS, USUAL = "ours", "usual loop"
LOOKS = sum(is_measured(epoch, epochs=EPOCHS, measure_every=10) for epoch in range(EPOCHS + 1))


class Pictures(Dataset):
    """What torchvision's FashionMNIST does for every sample."""

    def __init__(self, pixels_NHW: torch.Tensor, labels_N: torch.Tensor):
        transforms = torchvision.transforms
        self.pixels, self.labels = pixels_NHW, labels_N
        self.transform = transforms.Compose(
            [transforms.Resize(32), transforms.ToTensor(), transforms.Normalize(FASHION.mean, FASHION.std)]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int):
        picture = Image.fromarray(self.pixels[index].numpy(), mode="L")
        return self.transform(picture), int(self.labels[index])


def as_usual(network: nn.Module) -> nn.Sequential:
    """The same modules as people put them together: PyTorch's BatchNorm, ReLU before pool, any layout."""
    for module in network.modules():
        if isinstance(module, BatchNorm2d):
            module.__class__ = nn.BatchNorm2d
        if isinstance(module, nn.Sequential) and isinstance(module[-2], nn.MaxPool2d):
            module[-2], module[-1] = module[-1], module[-2]
    return nn.Sequential(network.body, network.head).to(memory_format=torch.contiguous_format)


def usual_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: DataLoader,
    device: torch.device,
    precision: str = "float32",
) -> float:
    """One epoch of the usual loop; the mean loss."""
    network.train()
    total = 0.0
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        with body_autocast(precision, device.type):
            loss = functional.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
    return total / len(loader.dataset)


class OurEpochs:
    """Epochs of the project's trainer, one after the other."""

    def __init__(self, network: nn.Module, images: Images):
        self.network, self.images = network, images
        flat, self.state, self.epoch = FlatParameters(network), {}, 0
        rule = update_rule(
            "SGD", flat, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, coupled_fraction=None,
            beta2=0.999, epsilon=1e-8,
        )  # fmt: skip
        self.step = step_of(network, flat, rule)

    def __call__(self) -> float:
        """One epoch; the mean loss."""
        self.state, loss = train_epoch(
            self.network, self.state, self.images, step=self.step, learning_rate=LEARNING_RATE,
            batch_size=BATCH, seed=3141, epoch=self.epoch, padding=None,
        )  # fmt: skip
        self.epoch += 1
        return loss

    def look(self) -> None:
        """What is measured of the features now and then."""
        statistics_of(self.network, self.images)


def new_network(chosen: argparse.Namespace) -> nn.Module:
    """Of the same initial weights every time."""
    run = {name: getattr(chosen, name) for name in ("architecture", "width", "precision")}
    run |= {"dataset": "FashionMNIST", "image_size": 32, "train_size": chosen.samples, "seed": 3141}
    return initial_network(run).to(chosen.device)


def made_pixels(samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random images (N, 28, 28) of bytes, and labels."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (samples, 28, 28), dtype=torch.uint8, generator=generator)
    return pixels, torch.arange(samples) % 10


def usual_loop(workers: int) -> str:
    """The name of the usual loop with so many workers of its DataLoader."""
    return f"usual loop, {workers} workers" if workers else USUAL


def workers_of(case: str) -> int:
    """The workers in such a name."""
    return int(case.split()[-2]) if case != USUAL else 0


def epochs_of(case: str, chosen: argparse.Namespace) -> Callable[[], float]:
    """What does one more epoch at every call, and returns its loss."""
    device, network = torch.device(chosen.device), new_network(chosen)
    pixels, labels = made_pixels(chosen.samples)
    if case == OURS:
        keep_freed_memory()  # as a job does that trains
        ready = preprocess(pixels[:, None], dataset="FashionMNIST", image_size=32)
        ready = ready.to(device, memory_format=torch.channels_last)
        labels, few = labels.to(device), len(labels) // 6  # as many to test as FashionMNIST has
        return OurEpochs(network, Images(ready, labels, ready[:few], labels[:few]))
    network = as_usual(network)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
    )
    loader = DataLoader(Pictures(pixels, labels), BATCH, shuffle=True, num_workers=workers_of(case))
    return lambda: usual_epoch(network, optimizer, loader, device, chosen.precision)


def serve(connection, case: str, chosen: argparse.Namespace) -> None:
    """In a process of its own: for every request an epoch or a look, answered by its result and seconds.

    The process is no daemon, since a DataLoader's workers are its children. It ends with the one that asks.
    """
    torch.set_num_threads(chosen.threads)
    with convolutions_in(chosen.precision), suppress(EOFError):
        epoch = epochs_of(case, chosen)
        while asked := connection.recv():
            began = time.perf_counter()
            result = epoch() if asked == "epoch" else epoch.look()  # either ends with numbers on the CPU
            connection.send((result, time.perf_counter() - began))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architecture", default="ResNet9", choices=["ResNet9", "VGG9"])
    parser.add_argument("--width", type=float, default=0.25, help="1 is the paper's; default: %(default)s")
    parser.add_argument("--samples", type=int, default=2048, help="of an epoch; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", default="tf32", choices=PRECISIONS, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU; default: %(default)s")
    words = "of the usual loop; default: 4 8 on a GPU, 0 on a CPU"
    parser.add_argument("--workers", type=int, nargs="+", help=words)
    chosen = parser.parse_args()
    chosen.workers = chosen.workers or ([4, 8] if chosen.device == "cuda" else [0])
    return chosen


def main() -> None:
    chosen = arguments()
    torch.set_num_threads(chosen.threads)
    processes, asked = multiprocessing.get_context("spawn"), {}
    losses: dict[str, list[float]] = {case: [] for case in [*map(usual_loop, chosen.workers), OURS]}
    for case in losses:
        asked[case], theirs = processes.Pipe()
        processes.Process(target=serve, args=(theirs, case, chosen)).start()
        theirs.close()

    def epoch(case: str) -> float:
        asked[case].send("epoch")
        loss, seconds = asked[case].recv()
        losses[case].append(loss)
        return seconds

    seconds = seconds_in_turn({case: lambda case=case: epoch(case) for case in losses}, rounds=chosen.rounds)
    looks = []
    for _ in range(chosen.rounds):
        asked[OURS].send("look")
        looks.append(asked[OURS].recv()[1])
    for case, values in losses.items():
        asked[case].send("")
        print(f"{case}: losses {', '.join(f'{loss:.3f}' for loss in values)}")
    what = {"benchmark": f"trainer, {chosen.architecture}, width {chosen.width:g}, {chosen.precision}"}
    speeds = [
        spread(chosen.samples / seconds[case], **what, case=case, quantity="speed", unit="images/s")
        for case in seconds
    ]
    share = spread(
        pd.Series(looks) * LOOKS / EPOCHS / seconds[OURS].median(), **what, case=OURS, unit="1",
        quantity="looking at the features, of the time of 200 epochs",
    )  # fmt: skip
    ratios = [compared(seconds[[usual, OURS]], **what, usual=usual) for usual in seconds if usual != OURS]
    record(pd.concat([*ratios, pd.DataFrame([*speeds, share])]).drop_duplicates())


if __name__ == "__main__":
    main()
