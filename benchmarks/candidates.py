"""The ways to keep a GPU busy, side by side: which should train the grid?

    python benchmarks/candidates.py [--architecture ResNet9] [--precision tf32] [--runs 1 2 4 8 16 36]

    eager      a run after the other, kernel by kernel
    graph      the same, every step one CUDA graph: how the trainer works
    compiled   graphs, the update rule or the whole network fused by torch.compile
    streams    P graphs on P streams at once
    stacked    P runs as one network of grouped convolutions, as a graph

All train the same networks on the same resident images with SGD. Cases take turns; every time is of steps of
all P runs. Beside images a second: arithmetic (3 forward passes a step, 2 operations a multiplication), and
its share of the rate of a large matrix product in the same precision, measured in the same run. Without a GPU
`eager` and `stacked` alone are timed.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator
from functools import partial

import pandas as pd
import torch
from alternating import compared, record, seconds_in_turn, spread
from stacked import Stacked, stacked_step
from torch import Tensor

from collapse.architectures import Network
from collapse.architectures.initialisation import initial_network
from collapse.architectures.network import channels_last
from collapse.architectures.precision import PRECISIONS, convolutions_in
from collapse.commands.plan import forward_flops
from collapse.optimizers.rules import sgd
from collapse.training.graphed_steps import WARM_UP, GraphedSteps
from collapse.training.steps import FlatParameters, step_of, training_step

RATE = {"momentum": 0.9, "coupled_decay": 5e-4, "decoupled_decay": 0.0}
LEARNING_RATE, CLASSES, BATCHES = 0.01, 10, 16
Steps = Callable[[int], None]  # takes so many steps of all runs


def batches(chosen: argparse.Namespace) -> Iterator[tuple[Tensor, Tensor]]:
    """Random images and labels that lie on the device, over and over."""
    generator = torch.Generator().manual_seed(0)
    shape = (BATCHES * chosen.batch, 1, chosen.image_size, chosen.image_size)
    images = channels_last(torch.randn(shape, generator=generator)).to(chosen.device)
    labels = (torch.arange(len(images)) % CLASSES).to(chosen.device)
    return itertools.cycle(list(zip(images.split(chosen.batch), labels.split(chosen.batch), strict=True)))


def network(chosen: argparse.Namespace, seed: int) -> Network:
    run = {name: getattr(chosen, name) for name in ("architecture", "image_size", "width", "precision")}
    run |= {"dataset": "FashionMNIST", "train_size": 1, "seed": seed}
    return initial_network(run).to(chosen.device)


def one_run(chosen: argparse.Namespace, seed: int, *, graph: bool, compiled: str = ""):
    """The step of one run, as the trainer takes it. compiled: "rule", "network" (and rule) or neither."""
    its = network(chosen, seed)
    flat, rule = FlatParameters(its), partial(sgd, **RATE)
    if compiled:
        rule = torch.compile(rule)
    if compiled == "network":
        its.body.compile()
    if graph:
        return step_of(its, flat, rule)
    return partial(training_step, network=its, flat=flat, rule=rule)


def in_turn(chosen: argparse.Namespace, num_runs: int, **kind) -> Steps:
    """All runs, a step each at a time, on one stream."""
    runs, source = [one_run(chosen, seed, **kind) for seed in range(num_runs)], batches(chosen)
    states: list[dict] = [{} for _ in runs]

    def take(steps: int) -> None:
        for _ in range(steps):
            batch, labels = next(source)
            for number, run in enumerate(runs):
                states[number], _ = run(states[number], batch, labels, LEARNING_RATE)

    return take


def on_streams(chosen: argparse.Namespace, num_runs: int) -> Steps:
    """All runs as graphs, each on a stream of its own."""
    runs, source = [one_run(chosen, seed, graph=True) for seed in range(num_runs)], batches(chosen)
    states: list[dict] = [{} for _ in runs]
    streams = [torch.cuda.Stream() for _ in runs]

    def take(steps: int) -> None:
        for stream in streams:
            stream.wait_stream(torch.cuda.current_stream())
        for _ in range(steps):
            batch, labels = next(source)
            for number, (run, stream) in enumerate(zip(runs, streams, strict=True)):
                with torch.cuda.stream(stream):
                    states[number], _ = run(states[number], batch, labels, LEARNING_RATE)
        for stream in streams:
            torch.cuda.current_stream().wait_stream(stream)

    take(WARM_UP)  # one after the other: a capture forbids much that other streams may be at
    for number, (run, stream) in enumerate(zip(runs, streams, strict=True)):
        torch.cuda.synchronize()
        with torch.cuda.stream(stream):
            states[number], _ = run(states[number], *next(source), LEARNING_RATE)
    return take


def as_one(chosen: argparse.Namespace, num_runs: int) -> Steps:
    """All runs as one network; on a GPU as a graph."""
    one = Stacked([network(chosen, seed) for seed in range(num_runs)])
    column = torch.ones(num_runs, 1, device=chosen.device)
    rates = {name: value * column for name, value in RATE.items()}
    step, source, state = stacked_step(one, sgd, learning_rate=column, **rates), batches(chosen), {}
    if chosen.device == "cuda":
        step = GraphedSteps(step, [parameter.data for parameter in one.parameters()] + [*one.buffers()])

    def take(steps: int) -> None:
        nonlocal state
        for _ in range(steps):
            state, _ = step(state, *next(source), LEARNING_RATE)

    return take


def cases(chosen: argparse.Namespace) -> dict[str, tuple[int, Callable[[], Steps]]]:
    """By name the number of runs, and what sets the case up."""
    made: dict[str, tuple[int, Callable[[], Steps]]] = {}
    made["eager, P = 1"] = (1, partial(in_turn, chosen, 1, graph=False))
    if chosen.device == "cuda":
        made["graph, P = 1"] = (1, partial(in_turn, chosen, 1, graph=True))
        for what in chosen.compiled:
            made[f"compiled {what}, P = 1"] = (1, partial(in_turn, chosen, 1, graph=True, compiled=what))
        made |= {f"streams, P = {n}": (n, partial(on_streams, chosen, n)) for n in chosen.runs if n > 1}
    made |= {f"stacked, P = {n}": (n, partial(as_one, chosen, n)) for n in chosen.runs if n > 1}
    return made


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


def measured(chosen: argparse.Namespace) -> pd.DataFrame:
    """Time, speed and arithmetic of every case. One that fails is left out, with a line that says so."""
    what = {"benchmark": f"candidates, {chosen.architecture}, width {chosen.width:g}, {chosen.precision}"}
    rate = matrix_rate(chosen)
    rows = [spread(pd.Series([rate / 1e12]), **what, case="matrix product", quantity="rate", unit="TFLOP/s")]
    forward = forward_flops(chosen.architecture, "FashionMNIST", chosen.image_size, 1, chosen.width)
    usable, images = {}, {}
    for name, (num_runs, set_up) in cases(chosen).items():
        try:
            take = set_up()
            take(WARM_UP + 2)
        except (RuntimeError, torch.AcceleratorError) as error:
            print(f"{what['benchmark']}: {name} left out: {str(error).splitlines()[0]}", flush=True)
            continue
        steps = max(1, chosen.steps // num_runs)
        usable[name], images[name] = partial(take, steps), steps * num_runs * chosen.batch
    seconds = seconds_in_turn(usable, rounds=chosen.rounds)
    seconds = seconds.mul(chosen.steps * chosen.batch / pd.Series(images))  # of as many images in every case
    for name in usable:
        speed = chosen.steps * chosen.batch / seconds[name]
        arithmetic = 3 * forward * speed
        rows.append(spread(speed, **what, case=name, quantity="speed", unit="images/s"))
        rows.append(spread(arithmetic / 1e12, **what, case=name, quantity="arithmetic", unit="TFLOP/s"))
        rows.append(spread(arithmetic / rate, **what, case=name, quantity="of the matrix rate", unit="1"))
    return pd.concat([pd.DataFrame(rows), compared(seconds, **what, usual="eager, P = 1")])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architecture", nargs="+", default=["ResNet9", "VGG9"], choices=["ResNet9", "VGG9"])
    parser.add_argument("--precision", nargs="+", default=["tf32", "bfloat16", "float32"], choices=PRECISIONS)
    parser.add_argument(
        "--runs", nargs="+", type=int, default=[1, 2, 4, 8, 16, 36], help="P; default: %(default)s"
    )
    parser.add_argument("--compiled", nargs="*", default=["rule", "network"], choices=["rule", "network"])
    parser.add_argument("--width", type=float, default=1.0, help="1 is the paper's; default: %(default)s")
    parser.add_argument("--image-size", type=int, default=32, help="default: %(default)s")
    parser.add_argument("--batch", type=int, default=128, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=72, help="of all runs together; default: %(default)s")
    parser.add_argument("--matrix", type=int, default=8192, help="side of the product; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    for architecture, precision in itertools.product(chosen.architecture, chosen.precision):
        one = argparse.Namespace(**vars(chosen) | {"architecture": architecture, "precision": precision})
        with convolutions_in(precision):
            record(measured(one))
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
