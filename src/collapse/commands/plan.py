"""What a study costs before it is begun: trainings, jobs, arithmetic, bytes and hours, counted.

Arithmetic is counted by PyTorch on networks without memory (the meta device), a forward pass of one image;
a training step is three of them, and every measurement one over the training and the test set.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from collapse.architectures import Network
from collapse.architectures.initialisation import initial_network
from collapse.datasets import DATASETS
from collapse.files.errors import InputError
from collapse.measuring.pace import GUESSED, LEAST_RUNS, Pace, fitted, pace_of, trained_on
from collapse.metrics.class_statistics import ClassStatistics, to_arrays
from collapse.paper.targets import targets_of
from collapse.study.parameters import load_parameters
from collapse.study.runs import records, run_table, unique_runs
from collapse.study.schedules import is_measured
from collapse.study.settings import HAVE

NETWORK = ("architecture", "dataset", "image_size", "train_size", "width", *HAVE)
USUAL_SIZE = ("FashionMNIST", 32)
PAPERS_SIZE = {  # at which params.yaml gives images_per_second
    "MLP": ("Separable", 1),
    "UFM": ("Indices", 1), "ViT": ("CIFAR10", 32), "ResNet50": ("ImageNet", 224),
    "ResNet18": ("CIFAR10", 32), "MLPTail": ("MNIST", 28), "ResNet20": ("CIFAR10", 32),
}  # fmt: skip
PAPERS_FORM = {"MLPTail": ("p", None, 6, 3), "ResNet20": ("p", None, 3, 3)}  # in the order of HAVE


@cache
def meta_network(
    architecture: str, dataset: str, image_size: int, train_size: int, width: float, *form: Any
) -> Network:
    """The network's shapes alone. form: the values of HAVE, none for a network as usual."""
    run = {"seed": 0, "precision": "float32", "architecture": architecture, "dataset": dataset}
    run |= {"image_size": image_size, "train_size": train_size, "width": width}
    with torch.device("meta"):
        return initial_network(run | dict(zip(HAVE, form, strict=False)))


@cache
def forward_flops(
    architecture: str, dataset: str, image_size: int, train_size: int, width: float, *form: Any
) -> float:
    """Of one image: two a multiplication and addition, of convolutions and products of matrices."""
    network = meta_network(architecture, dataset, image_size, train_size, width, *form)
    batch = torch.empty(2, DATASETS[dataset].channels, image_size, image_size, device="meta")
    with FlopCounterMode(display=False) as counter:
        network(batch)
    return counter.get_total_flops() / len(batch)


def network_of(run: Mapping[str, Any]) -> tuple:
    """What of a run's settings makes its network's shapes."""
    return tuple(run[name] for name in NETWORK)


def measured_epochs(run: Mapping[str, Any]) -> int:
    """How often a run's features are looked at: at initialisation, every so often, and at the end."""
    when = {"epochs": run["epochs"], "measure_every": run["measure_every"]}
    return sum(is_measured(epoch, **when) for epoch in range(run["epochs"] + 1))


def run_flops(run: Mapping[str, Any]) -> float:
    """Of a run's training and of all passes that measure it, the one over its checkpoint among them."""
    training = 3 * run["epochs"] * run["train_size"]
    images = run["train_size"] + DATASETS[run["dataset"]].test_size
    measuring = (measured_epochs(run) + 1) * images
    return forward_flops(*network_of(run)) * (training + measuring)


def run_bytes(run: Mapping[str, Any]) -> int:
    """Of a run's checkpoint and of its class statistics, during training and at the end."""
    network = network_of(run)
    of_one = statistics_bytes(DATASETS[run["dataset"]].num_classes, meta_network(*network).head.in_features)
    return checkpoint_bytes(*network) + of_one * (measured_epochs(run) + 1)


@cache
def checkpoint_bytes(*network: Any) -> int:
    """Of all parameters and buffers."""
    state = meta_network(*network).state_dict().values()
    return sum(tensor.numel() * tensor.element_size() for tensor in state)


@cache
def statistics_bytes(num_classes: int, num_features: int) -> int:
    """Of the class statistics of one network at one epoch."""
    zeros_K, zeros_D = np.zeros(num_classes), np.zeros(num_features)
    zeros_KD = np.zeros((num_classes, num_features))
    shape = {
        "counts_K": zeros_K, "global_mean_D": zeros_D, "centred_means_KD": zeros_KD, "weight_KD": zeros_KD,
        "bias_K": zeros_K, "within_trace_K": zeros_K, "within_variance_R": np.zeros(num_classes - 1),
        "cosine_train": 0.0, "mismatch_train": 0.0, "accuracy_train": 0.0, "agreement_test": 0.0,
        "accuracy_test": 0.0,
    }  # fmt: skip
    return sum(array.nbytes for array in to_arrays(ClassStatistics(**shape)).values())


def flops_per_second(architecture: str, images_per_second: float) -> float:
    """What a speed of training at the paper's sizes means in arithmetic."""
    return 3 * images_per_second * papers_flops(architecture)


def papers_flops(architecture: str, width: float = 1.0) -> float:
    """`forward_flops` at the size and in the form for which params.yaml gives images_per_second."""
    dataset, image_size = PAPERS_SIZE.get(architecture, USUAL_SIZE)
    size, form = DATASETS[dataset].train_size, PAPERS_FORM.get(architecture, ())
    return forward_flops(architecture, dataset, image_size, size, width, *form)


def measured_speeds(benchmarks: Path, *, device: str, precision: str) -> dict[str, float]:
    """Images a second at the paper's sizes by architecture, as benchmarks/trainer.py measured them last.

    device: the name of what they were measured on, or a part of it. precision: in which they were. A narrow
    network's speed counts by its arithmetic. Raises InputError where nothing was measured so.
    """
    if not benchmarks.exists():  # the default: one that is named is there
        raise InputError(f"{benchmarks}: no such file; make bench measures and writes it")
    table = pd.read_csv(benchmarks)
    trained = table[(table.quantity == "speed") & (table.case == "ours")]
    trained = trained[trained.benchmark.str.fullmatch(rf"trainer, .*, {precision}")]
    its = trained[trained.device.str.contains(device, case=False, regex=False)]
    if its.empty:
        known = ", ".join(trained.device.unique())
        raise InputError(
            f"{benchmarks}: no speed of training in {precision} on {device!r}; there are: {known or 'none'}"
        )
    named = its.benchmark.str.extract(r"trainer, (?P<architecture>\w+), width (?P<width>[\d.]+),")
    found = {}
    for architecture, width, speed in zip(
        named.architecture, named.width.astype(float), its.value, strict=True
    ):
        found[architecture] = speed * papers_flops(architecture, width) / papers_flops(architecture)
    return found


def run_steps(run: Mapping[str, Any]) -> int:
    """Batches of its training, and of the passes that measure it."""
    images = run["train_size"] + DATASETS[run["dataset"]].test_size
    measured = math.ceil(images / run["batch_size"]) * (measured_epochs(run) + 1)
    return run["epochs"] * math.ceil(run["train_size"] / run["batch_size"]) + measured


def pace_from(parameters: Mapping[str, Any], results: Path, *, study: str, device: str) -> Pace:
    """How fast trainings and jobs of a study were on a device; else a guess.

    Of another study's results, that with the most trainings, only what a job costs beside its work is taken:
    its networks are others.
    """
    taken = {name: trained_on(results / name, device=device) for name in parameters["studies"]}
    source = study if len(taken[study]) >= LEAST_RUNS else max(taken, key=lambda name: len(taken[name]))
    seconds = taken[source].set_index("key").seconds
    runs = [run for run in records(unique_runs(run_table(parameters, source))) if run["key"] in seconds]
    if len(runs) < LEAST_RUNS:
        return GUESSED
    speed = (GUESSED.flops_per_second, GUESSED.step_seconds)
    if source == study:
        parts = ([run_flops(run) for run in runs], [run_steps(run) for run in runs])
        speed = fitted(*parts, [seconds[run["key"]] for run in runs])
    return pace_of(results / source, speed=speed, runs=len(runs), device=device)


def plan_table(
    table: pd.DataFrame,
    *,
    images_per_second: Mapping[str, float],
    teraflops: float | None,
    pace: Pace = GUESSED,
    targets: int = 0,
) -> pd.DataFrame:
    """A row an architecture and dataset of a run table, one of the tables and figures, the sum over all.

    Columns: architecture, dataset, trainings, packs, petaflop, gigabytes, hours of one device that does one
    job after the other: it computes `teraflops` in 1e12 a second, or as `pace` says or, where that does not,
    trains `images_per_second` at the paper's sizes; steps and jobs cost beside it what `pace` says.
    targets: the jobs that draw tables and figures.
    """
    runs = records(unique_runs(table))
    rows = pd.DataFrame(
        {
            "architecture": [run["architecture"] for run in runs],
            "dataset": [run["dataset"] for run in runs],
            "pack": [run["pack"] for run in runs],
            "petaflop": [run_flops(run) / 1e15 for run in runs],
            "gigabytes": [run_bytes(run) / 1e9 for run in runs],
        }
    )
    given = 1e12 * teraflops if teraflops else pace.flops_per_second
    names = rows["architecture"].unique()
    speeds = {name: given or flops_per_second(name, images_per_second[name]) for name in names}
    seconds = 1e15 * rows["petaflop"] / rows["architecture"].map(speeds)
    seconds += pace.step_seconds * np.array([run_steps(run) for run in runs])
    # Three jobs a pack: training, a pass over the data, the metrics.
    seconds += 3 * pace.job_seconds / rows.groupby("pack")["pack"].transform("size")
    rows["hours"] = seconds / 3600
    what = {"trainings": ("pack", "size"), "packs": ("pack", "nunique")}
    what |= {name: (name, "sum") for name in ("petaflop", "gigabytes", "hours")}
    parts = rows.groupby(["architecture", "dataset"], sort=False).agg(**what).reset_index()
    whole = rows.assign(architecture="all", dataset="").groupby(["architecture", "dataset"]).agg(**what)
    drawing = targets * pace.target_seconds / 3600
    drawn = dict.fromkeys(what, 0) | {"architecture": "tables, figures", "dataset": "", "hours": drawing}
    whole["hours"] += drawing
    return pd.concat(
        [parts, pd.DataFrame([drawn] if targets else []), whole.reset_index()], ignore_index=True
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the plan. Returns the exit status. Raises ParameterError."""
    parameters = load_parameters(arguments.params)
    speeds, measured = parameters["images_per_second"], {}
    table = run_table(parameters, arguments.study)
    here = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    pace = pace_from(parameters, arguments.results, study=arguments.study, device=arguments.device or here)
    if arguments.device:
        [precision] = table.precision.mode()[:1]
        measured = measured_speeds(arguments.benchmarks, device=arguments.device, precision=precision)
        pace = pace._replace(flops_per_second=None)  # the benchmark's speed is the paper's sizes'
    targets = sum(len(targets_of(parameters, arguments.study, kind)) for kind in ("tables", "figures"))
    plan = plan_table(
        table,
        images_per_second={**speeds, **measured},
        teraflops=arguments.teraflops,
        pace=pace,
        targets=targets,
    )
    if arguments.csv:
        print(plan.to_csv(index=False), end="")
        return 0
    print(plan.to_string(index=False, float_format=lambda x: f"{x:,.3g}" if x < 100 else f"{x:,.0f}"))
    at = "images_per_second of params.yaml"
    if pace.flops_per_second:
        at = "their speed"
    if measured:
        at = f"the speed measured on {arguments.device} ({', '.join(measured)}), else at {at}"
    if arguments.teraflops:
        at = f"{arguments.teraflops:g} TFLOP/s"
    print(f"\nhours: of one device, at {at}; divide by how many there are. With {pace.source}.")
    return 0
