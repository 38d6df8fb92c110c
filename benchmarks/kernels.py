"""A step by fused kernels beside the plain one: how near to float64 both are, and how long they take.

    python benchmarks/kernels.py [--architecture ResNet9 VGG9] [--precision tf32 bfloat16] [--optimizer SGD]

For each architecture and precision, on the same initial network and batch:

    distance    of the loss and the gradients from those of float64, in parts of their norm
    trusted     whether a run would be trained by the fused kernels here, and if not why not
    time        milliseconds of a step as the trainer takes it (on a GPU a graph), the two in turn; images and
                operations a second, and their share of the rate of a large matrix product of the same run
    looks       at the features, their share of a run of 200 epochs, from an evaluation of 2,500 images

Without a GPU sizes are such that times mean nothing, and fused kernels need TRITON_INTERPRET=1.
"""

from __future__ import annotations

import argparse
import copy
import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pandas as pd
import torch
from alternating import compared, record, seconds_in_turn, spread
from torch import Tensor
from trainer import EPOCHS, LOOKS

from collapse.architectures import Network
from collapse.architectures.initialisation import initial_network
from collapse.architectures.network import channels_last
from collapse.architectures.precision import PRECISIONS, convolutions_in
from collapse.commands.plan import forward_flops
from collapse.datasets import DATASETS
from collapse.optimizers import OPTIMIZERS
from collapse.training.evaluation import FUSED_BATCH
from collapse.training.graphed_steps import WARM_UP
from collapse.training.kernels.named import kernels_named
from collapse.training.kernels.trust import OF_RULE, chosen_kernels, lacks_fused
from collapse.training.steps import FlatParameters, evaluated_by, step_of

SIZES = {
    "cuda": {"image_size": 32, "batch": 128, "steps": 100, "look": FUSED_BATCH, "matrix": 8192, "rounds": 5},
    "cpu": {"image_size": 16, "batch": 16, "steps": 1, "look": 8, "matrix": 64, "rounds": 1},
}
SETTINGS = {"momentum": 0.9, "weight_decay": 5e-4, "beta2": 0.999, "epsilon": 1e-8}
FASHION, BATCHES = DATASETS["FashionMNIST"], 16


def batches(chosen: argparse.Namespace) -> Iterator[tuple[Tensor, Tensor]]:
    """Random images and labels that lie on the device, over and over."""
    generator = torch.Generator().manual_seed(0)
    shape = (BATCHES * chosen.batch, FASHION.channels, chosen.image_size, chosen.image_size)
    images = channels_last(torch.randn(shape, generator=generator)).to(chosen.device)
    labels = (torch.arange(len(images)) % FASHION.num_classes).to(chosen.device)
    return itertools.cycle(list(zip(images.split(chosen.batch), labels.split(chosen.batch), strict=True)))


def matrix_rate(chosen: argparse.Namespace) -> float:
    """Operations a second of a large matrix product in this precision, the best of ten."""
    kind = torch.bfloat16 if chosen.precision == "bfloat16" else torch.float32
    left, right = (torch.randn(chosen.matrix, chosen.matrix, device=chosen.device, dtype=kind) for _ in "ab")
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = chosen.precision == "tf32"
    try:
        seconds = seconds_in_turn({"product": lambda: left @ right}, rounds=10)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    return 2 * chosen.matrix**3 / seconds["product"].min()


def run_of(chosen: argparse.Namespace) -> dict[str, Any]:
    """A row of the run table, as far as networks and optimizers need it."""
    named = ("architecture", "precision", "optimizer", "width", "image_size")
    run = {name: getattr(chosen, name) for name in named} | SETTINGS
    run |= {"coupled_fraction": 0.5 if chosen.optimizer == "AdamInterpolated" else None}
    run |= {"learning_rate": 0.01 if chosen.optimizer.startswith("SGD") else 1e-4}
    return run | {"dataset": "FashionMNIST", "train_size": 1, "seed": 3141}


def distances(
    run: dict[str, Any], batch: Tensor, labels: Tensor, cases: list[str], what: dict[str, str]
) -> list[dict[str, Any]]:
    """Of loss and gradients from float64's, by case."""
    base = initial_network(run).to(batch.device).train()
    rows, exact = [], None
    for case in ("float64", *cases):
        network, images = copy.deepcopy(base), batch
        if case == "float64":
            network, images, network.precision = network.double(), batch.double(), "float32"
        flat = FlatParameters(network)
        kernels = kernels_named("plain" if case == "float64" else case)
        loss = kernels.gradients(network, flat, images, labels)
        found = {"loss": loss.double(), "gradients": flat.gradients.double()}
        exact = exact or found
        for name, value in found.items() if case != "float64" else ():
            apart = ((value - exact[name]).norm() / exact[name].norm()).item()
            quantity = f"distance of the {name} from float64's"
            rows.append(spread(pd.Series([apart]), **what, case=case, quantity=quantity, unit="1"))
    return rows


def steps_of(
    run: dict[str, Any], case: str, chosen: argparse.Namespace
) -> tuple[Network, Callable[[], None]]:
    """A network, and what takes so many of its steps as are timed together."""
    kernels, network = kernels_named(case), initial_network(run).to(chosen.device).train()
    flat, source, state = FlatParameters(network), batches(chosen), {}
    rule = kernels.rule(flat=flat, **{name: run[name] for name in OF_RULE})
    step = step_of(network, flat, rule, kernels.gradients)

    def take(steps: int = chosen.steps) -> None:
        nonlocal state
        network.train()
        for _ in range(steps):
            state, _ = step(state, *next(source), run["learning_rate"])

    take(WARM_UP + 2)
    return network, take


def looks_of(network: Network, case: str, images: Tensor) -> Callable[[], None]:
    """What computes the features of so many images as an evaluation does at a time."""
    body = evaluated_by(kernels_named(case), network)

    @torch.no_grad()
    def look() -> None:
        network.eval()
        network.features(images, body=body)

    return look


def measured(chosen: argparse.Namespace) -> pd.DataFrame:
    """All of one architecture and precision."""
    run, (batch, labels) = run_of(chosen), next(batches(chosen))
    what = {"benchmark": f"kernels, {chosen.architecture}, width {chosen.width:g}, {chosen.precision}, "
                         f"{chosen.optimizer}"}  # fmt: skip
    lacking = lacks_fused(batch.device)
    cases = ["plain"] if lacking else ["plain", "fused"]
    rows = distances(run, batch, labels, cases, what)
    used, why = chosen_kernels("auto", run, lambda: (batch, labels), batch.device)
    print(f"{what['benchmark']}: auto trains by {used} kernels; {lacking or why or 'trusted'}", flush=True)
    trusted = pd.Series([float(used == "fused")])
    rows.append(spread(trusted, **what, case="fused", quantity="trusted", unit="1"))
    rate = matrix_rate(chosen)
    product = pd.Series([rate / 1e12])
    rows.append(spread(product, **what, case="matrix product", quantity="rate", unit="TFLOP/s"))
    made = {case: steps_of(run, case, chosen) for case in cases}
    seconds = seconds_in_turn({case: take for case, (_, take) in made.items()}, rounds=chosen.rounds)
    seconds /= chosen.steps
    images = batch.repeat(-(-chosen.look // chosen.batch), 1, 1, 1)[: chosen.look]
    looks = {case: looks_of(network, case, images) for case, (network, _) in made.items()}
    looking = (
        seconds_in_turn(looks, rounds=chosen.rounds) * (FASHION.train_size + FASHION.test_size) / chosen.look
    )
    forward = forward_flops(chosen.architecture, "FashionMNIST", chosen.image_size, 1, chosen.width)
    for case in cases:
        add = partial(spread, **what, case=case)
        arithmetic = 3 * forward * chosen.batch / seconds[case]
        training = EPOCHS * (FASHION.train_size / chosen.batch) * seconds[case]
        share = LOOKS * looking[case] / (training + LOOKS * looking[case])
        rows += [
            add(1000 * seconds[case], quantity="time of a step", unit="ms"),
            add(chosen.batch / seconds[case], quantity="speed", unit="images/s"),
            add(arithmetic / 1e12, quantity="arithmetic", unit="TFLOP/s"),
            add(arithmetic / rate, quantity="of the matrix rate", unit="1"),
            add(share, quantity=f"looks at the features, of the time of {EPOCHS} epochs", unit="1"),
        ]
    return pd.concat([pd.DataFrame(rows), compared(seconds, **what, usual="plain")])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architecture", nargs="+", default=["ResNet9", "VGG9"], choices=["ResNet9", "VGG9"])
    parser.add_argument("--precision", nargs="+", default=["tf32", "bfloat16"], choices=PRECISIONS)
    parser.add_argument("--optimizer", nargs="+", default=["SGD"], choices=list(OPTIMIZERS))
    parser.add_argument("--width", type=float, default=1.0, help="1 is the paper's; default: %(default)s")
    for name, size in SIZES["cuda"].items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help=f"default: {size}, on a CPU less")
    here = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=list(SIZES), default=here, help="default: %(default)s")
    chosen = parser.parse_args()
    for name, size in SIZES[chosen.device].items():
        setattr(chosen, name, getattr(chosen, name) or size)
    torch.set_num_threads(1)
    for architecture, precision, optimizer in itertools.product(
        chosen.architecture, chosen.precision, chosen.optimizer
    ):
        kind = {"architecture": architecture, "precision": precision, "optimizer": optimizer}
        one = argparse.Namespace(**vars(chosen) | kind)
        with convolutions_in(precision):
            record(measured(one))
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
