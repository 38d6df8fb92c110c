"""The trainer against a training loop as most people write it: one epoch of ResNet9 or VGG9, side by side.

    python benchmarks/trainer.py [--architecture ResNet9] [--width 0.25] [--samples 2048] [--device cpu]

The usual loop: a dataset of PIL images with Resize, ToTensor and Normalize, a shuffling DataLoader (without
workers on the CPU, where they would take the cores that train; with four on a GPU), float32, torch.optim.SGD
on a list of parameters, and loss.item() every step. Network, batch, learning rate and numerics are the same:
the two losses of the first epoch are printed. Images are random bytes of FashionMNIST's size.
"""

from __future__ import annotations

import argparse
from functools import partial
from types import SimpleNamespace

import pandas as pd
import torch
from alternating import compared, record, seconds_in_turn, spread
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from collapse.architectures import ARCHITECTURES
from collapse.datasets import DATASETS
from collapse.datasets.preprocessing import preprocess
from collapse.datasets.torchvision_import import torchvision
from collapse.training import FlatParameters, train_epoch, update_rule

BATCH, LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 128, 0.0679, 0.9, 5e-4
FASHION = DATASETS["FashionMNIST"]


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


def usual_epoch(
    network: nn.Module, optimizer: torch.optim.Optimizer, loader: DataLoader, device: torch.device
) -> float:
    """One epoch of the usual loop; the mean loss."""
    network.train()
    total = 0.0
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
    return total / len(loader.dataset)


class OurEpochs:
    """Epochs of the project's trainer, one after the other."""

    def __init__(self, network: nn.Module, images: SimpleNamespace):
        self.network, self.images = network, images
        self.flat, self.state, self.epoch = FlatParameters(network), {}, 0
        rule = update_rule(
            "SGD", self.flat, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, coupled_fraction=None,
            beta2=0.999, epsilon=1e-8,
        )  # fmt: skip
        self.update = partial(rule, learning_rate=LEARNING_RATE)

    def __call__(self) -> float:
        """One epoch; the mean loss."""
        self.state, loss = train_epoch(
            self.network, self.flat, self.state, self.images, update=self.update, batch_size=BATCH,
            seed=3141, epoch=self.epoch, padding=None,
        )  # fmt: skip
        self.epoch += 1
        return loss


def networks(architecture: str, *, width: float, samples: int, device: torch.device) -> list[nn.Module]:
    """Two networks of the same initial weights."""
    made = []
    for _ in range(2):
        torch.manual_seed(3141)
        made.append(
            ARCHITECTURES[architecture](
                channels=1, image_size=32, num_classes=10, train_size=samples, width=width
            ).to(device)
        )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architecture", default="ResNet9", choices=["ResNet9", "VGG9"])
    parser.add_argument("--width", type=float, default=0.25, help="1 is the paper's; default: %(default)s")
    parser.add_argument("--samples", type=int, default=2048, help="of an epoch; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU; default: %(default)s")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    device = torch.device(chosen.device)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (chosen.samples, 28, 28), dtype=torch.uint8, generator=generator)
    labels = torch.arange(chosen.samples) % 10
    theirs, mine = networks(chosen.architecture, width=chosen.width, samples=chosen.samples, device=device)
    optimizer = torch.optim.SGD(
        theirs.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
    )
    workers = 4 if device.type == "cuda" else 0
    loader = DataLoader(Pictures(pixels, labels), BATCH, shuffle=True, num_workers=workers)
    ready = preprocess(pixels[:, None], dataset="FashionMNIST", image_size=32).to(device)
    epochs = OurEpochs(mine, SimpleNamespace(train_images=ready, train_labels=labels.to(device)))
    losses = {"usual loop": [], "ours": []}
    seconds = seconds_in_turn(
        {
            "usual loop": lambda: losses["usual loop"].append(usual_epoch(theirs, optimizer, loader, device)),
            "ours": lambda: losses["ours"].append(epochs()),
        },
        rounds=chosen.rounds,
    )
    for case, values in losses.items():
        print(f"{case}: losses {', '.join(f'{loss:.3f}' for loss in values)}")
    benchmark = f"trainer, {chosen.architecture}, width {chosen.width:g}, float32"
    speeds = [
        spread(
            chosen.samples / seconds[case], benchmark=benchmark, case=case, quantity="speed", unit="images/s"
        )
        for case in seconds
    ]
    record(pd.concat([compared(seconds, benchmark=benchmark, usual="usual loop"), pd.DataFrame(speeds)]))


if __name__ == "__main__":
    main()
