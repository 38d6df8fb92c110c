"""Which kernels a run is trained by: the fused ones only where they did what the plain ones do, in this job.

Before a run its first step is taken by both, on two networks of their own, and what they leave is compared:
loss, gradients, the rule's update, running statistics, and the features in evaluation afterwards.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from collapse.architectures.initialisation import initial_network
from collapse.architectures.precision import convolutions_in
from collapse.files.errors import InputError, first_line
from collapse.study.settings import said
from collapse.training.graphed_steps import State, on_device
from collapse.training.images import DeviceError
from collapse.training.kernels.named import kernels_named
from collapse.training.steps import PLAIN, FlatParameters, Kernels, evaluated_by, update_rule

# In parts of the plain one's norm: some hundred roundings of 2^-24, 2^-11 and 2^-8.
TOLERANCE = {"float32": 1e-4, "tf32": 1e-2, "bfloat16": 6e-2}
# Of gradients ten times as much: what is rounded turns ReLUs off and on, and the choices of max-pools.
OF_GRADIENTS = 10
OF_UPDATES = 1e-3  # of the same gradient by both rules, in parts of the step's length; as of a graph
NAMES = ("auto", "plain", "fused")
OF_RULE = ["optimizer", "momentum", "weight_decay", "coupled_fraction", "beta2", "epsilon"]


class KernelsError(InputError):
    """Fused kernels are asked for where there can be none, or they do not what they should."""


class Passed(NamedTuple):
    """What the first step of a run has led to."""

    loss: Tensor
    gradients: Tensor
    buffers: Tensor
    features: Tensor


def lacks_fused(device: torch.device) -> str:
    """Why there are no fused kernels on a device, whatever the network; or nothing."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    if device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return f"Triton has no kernels for the {device.type}"
    return ""


def require_fused(wanted: str, device: torch.device) -> None:
    """That fused kernels, if asked for, can be had on the device. Raises KernelsError."""
    if wanted == "fused" and (reason := lacks_fused(device)):
        raise refused(reason)


def chosen_kernels(
    wanted: str,
    run: Mapping[str, Any],
    first_batch: Callable[[], tuple[Tensor, Tensor]],
    device: torch.device,
) -> tuple[str, str]:
    """What a run is trained by, plain or fused; and why not fused where these were tried and are not trusted.

    wanted: auto, plain or fused. first_batch: gives images and labels of the run's first step, on the device.
    Raises KernelsError where fused is wanted and cannot be, DeviceError where the trial broke the device.
    """
    if wanted == "plain":
        return "plain", ""
    impossible = lacks_fused(device) or lacks_fused_form(run)
    reason = impossible or tried(run, *first_batch())
    if reason and wanted == "fused":
        raise refused(reason)
    return ("plain", "" if impossible else reason) if reason else ("fused", "")


def lacks_fused_form(run: Mapping[str, Any]) -> str:
    """Why a run's network cannot be computed by fused kernels where Triton is; or nothing."""
    from collapse.training.kernels.body import lacks_kernels  # imports Triton

    if unusual := said(run, ("loss", "head", "feature_decay")):
        name, value = next(iter(unusual.items()))
        return f"{name} {value} has no kernel"
    return lacks_kernels(initial_network(run).body, run["image_size"])[0]


def tried(run: Mapping[str, Any], batch: Tensor, labels: Tensor) -> str:
    """Why fused kernels are not trusted with a run, or nothing. Raises DeviceError."""
    try:
        with convolutions_in(run["precision"]):
            return mistrust(run, batch, labels, kernels_named("fused"))
    except torch.AcceleratorError as error:
        raise DeviceError(
            f"the {batch.device.type} device broke down when fused kernels were tried ({first_line(error)}); "
            "set kernels to plain and run again"
        ) from None
    except Exception as error:  # whatever Triton or a compiler raises: plain kernels need neither
        return f"{type(error).__name__}: {first_line(error)}"


def refused(reason: str) -> KernelsError:
    words = (
        "set kernels to auto or plain (params.yaml, --config kernels=plain, collapse train --kernels plain)"
    )
    return KernelsError(f"kernels: fused is asked for, but cannot be used here: {reason}; {words}")


def mistrust(run: Mapping[str, Any], batch: Tensor, labels: Tensor, fused: Kernels) -> str:
    """By how much the first step by fused kernels differs from the plain one where too much, or nothing."""
    networks = [initial_network(run).to(batch.device).train() for _ in "ab"]
    flats = [FlatParameters(network) for network in networks]
    plain, found = (
        passed(network, flat, batch, labels, kernels)
        for network, flat, kernels in zip(networks, flats, (PLAIN, fused), strict=True)
    )
    near = TOLERANCE[run["precision"]]
    differences = {
        "loss": (apart(found.loss, plain.loss), near),
        "running statistics": (apart(found.buffers, plain.buffers), near),
        "features in evaluation": (apart(found.features, plain.features), near),
        "update": (updates_apart(fused, run, flats[1], found.gradients), OF_UPDATES),
    }
    for name, its in kinds_of_parameters(networks[0], flats[0]).items():
        apart_by = apart(found.gradients[its], plain.gradients[its])
        differences[f"gradients of {name}"] = apart_by, OF_GRADIENTS * near
    # So written, a difference that is not a number is too large.
    large = [
        f"{name} by {x:.2g} (trusted: {most:g})" for name, (x, most) in differences.items() if not x <= most
    ]
    return f"they differ from the plain ones, in parts of these, in {', '.join(large)}" if large else ""


def passed(
    network: torch.nn.Module, flat: FlatParameters, batch: Tensor, labels: Tensor, kernels: Kernels
) -> Passed:
    """One forward and backward pass, and an evaluation of the same batch after it."""
    loss = kernels.gradients(network, flat, batch, labels).clone()
    gradients = flat.gradients.clone()
    buffers = torch.cat([x.flatten() for x in network.buffers() if x.is_floating_point()])
    network.eval()
    with torch.no_grad():
        features = network.features(batch, body=evaluated_by(kernels, network))
    return Passed(loss, gradients, buffers, features)


def apart(found: Tensor, expected: Tensor) -> float:
    """||found - expected|| / ||expected||."""
    return ((found - expected).double().norm() / expected.double().norm().clamp_min(1e-30)).item()


def kinds_of_parameters(network: torch.nn.Module, flat: FlatParameters) -> dict[str, Tensor]:
    """Where in the flat vector weights lie, and where scales and shifts; convolutions' biases are neither."""
    convolutions = {f"{name}.bias" for name, x in network.named_modules() if isinstance(x, torch.nn.Conv2d)}
    masks = torch.zeros(2, len(flat.values), dtype=torch.bool, device=flat.values.device)
    pieces = zip(*map(flat.pieces, masks), strict=True)
    for (name, parameter), (weights, vectors) in zip(network.named_parameters(), pieces, strict=True):
        weights.fill_(parameter.ndim > 1)
        vectors.fill_(parameter.ndim == 1 and name not in convolutions)
    return dict(zip(("weights", "scales and shifts"), masks, strict=True))


def updates_apart(kernels: Kernels, run: Mapping[str, Any], flat: FlatParameters, gradients: Tensor) -> float:
    """What two updates by the kernels' rule differ by from the plain rule's on the same gradient.

    In parts of the way that the parameters went, and the state; the way at least what rounding leaves of it.
    """
    fixed = {name: run[name] for name in OF_RULE}
    rate = on_device(run["learning_rate"], gradients.device)
    ends = []
    for make in (update_rule, kernels.rule):
        values, state, rule = flat.values.clone(), {}, make(flat=flat, **fixed)
        for _ in range(2):
            values, state = rule(values, gradients.clone(), state, learning_rate=rate)
        ends.append((values, state))
    (plain, its), (found, state) = ends
    way = (plain - flat.values).norm() + 1e-4 * flat.values.norm()
    return max(((found - plain).norm() / way).item(), *states_apart(state, its))


def states_apart(state: State, expected: State) -> list[float]:
    """How far the tensors of two states of an optimizer are apart."""
    return [
        apart(torch.as_tensor(state[name]).double().cpu(), torch.as_tensor(x).double().cpu())
        for name, x in expected.items()
    ]
