"""Checks of what Jacot et al. 2024 (arXiv 2410.04887) prove of balanced layers and collapse, on real images.

Every check is a row of numbers, {check, predicted, relation, simulated, deviation, verdict}, as those of
collapse.theory.theorem_checks. All trainings are the project's own update rules in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize

from collapse.datasets.loading import load_arrays
from collapse.datasets.preprocessing import preprocess, subset
from collapse.datasets.registry import DATASETS
from collapse.metrics.layer_sweep import layer_statistics
from collapse.metrics.layers import (
    LayerStatistics,
    balancedness,
    condition,
    head_bounds,
    layer_nc1,
    layer_nc2,
)
from collapse.optimizers import OPTIMIZERS
from collapse.theory.balance import (
    DenseLayers,
    gradient_of,
    loss,
    minibatches,
    next_imbalances,
    tail_imbalances,
)
from collapse.theory.closed_forms import sgd_nc0_ratio
from collapse.theory.last_layer import descend_flat, rule_of
from collapse.theory.theorem_checks import Check, compare

ROUNDING = 1e-12  # of the recursion, relative to D_l at the start
OF_FIRST_ORDER = 0.05  # of the decay of D_l, where the noise of order eta^2 is small
OF_CONDITION = 0.02  # of kappa(W_L), where neighbouring layers are balanced to LITTLE
LITTLE = 0.01
BALANCED, UNBALANCED = 0.05, 0.25  # balancedness of coupled decay once it has acted, and of decoupled decay
AT_CRITICAL_POINT = 1e-6
BETAS = {"beta2": 0.999, "epsilon": 1e-8}


class Problem(NamedTuple):
    """Layers to be trained on inputs (N x n_0) and labels (N)."""

    layers: DenseLayers
    inputs_ND: np.ndarray
    labels_N: np.ndarray

    @property
    def targets_NK(self) -> np.ndarray:
        """Y^T, one-hot."""
        return np.eye(self.layers.units[-1])[self.labels_N]

    def gradient(self) -> Callable[[np.ndarray], np.ndarray]:
        """Of the mean loss over all samples."""
        return gradient_of(self.layers, lambda: (self.inputs_ND, self.targets_NK))

    def loss(self, flat: np.ndarray) -> float:
        """The mean loss; 1/2 at zero."""
        weights = self.layers.split(flat)
        return loss(weights, self.inputs_ND, self.targets_NK, relu_layers=self.layers.relu_layers)


def problem_of(
    dataset: str, *, num_samples: int, units: int, relu_layers: int, linear_layers: int
) -> Problem:
    """Layers of `units` units on the first samples of each class of a dataset without files."""
    entry, arrays = DATASETS[dataset], load_arrays(dataset, root="", cache="")
    chosen = subset(arrays["train_labels"], size=num_samples, num_classes=entry.num_classes)
    images = preprocess(arrays["train_images"][chosen], dataset=dataset, image_size=entry.image_size)
    inputs_ND = images.double().flatten(1).numpy()
    hidden = (units,) * (relu_layers + linear_layers - 1)
    layers = DenseLayers((inputs_ND.shape[1], *hidden, entry.num_classes), relu_layers)
    return Problem(layers, inputs_ND, arrays["train_labels"][chosen].numpy())


def trained(
    problem: Problem,
    optimizer: str,
    *,
    learning_rates: Sequence[float],
    momentum: float,
    weight_decay: float,
    seed: int,
    gradient: Callable[[np.ndarray], np.ndarray] | None = None,
    start_scale: float = 1.0,
) -> Iterator[np.ndarray]:
    """All parameters in one vector, from a random start on. gradient: in the place of all samples' own."""
    how = {"momentum": momentum, "weight_decay": weight_decay, **BETAS}
    rule = rule_of(OPTIMIZERS[optimizer], problem.layers.layout(), **how)
    start = start_scale * problem.layers.start(seed=seed)
    return descend_flat(start, gradient or problem.gradient(), rule, learning_rates=learning_rates)


def check_recursion(
    problem: Problem,
    optimizer: str,
    *,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    batch_size: int | None,
    steps: int,
    seed: int,
    relation: str = "<=",
) -> Iterator[Check]:
    """D_l <- (1 - eta lambda)^2 D_l + eta^2 (T_{l+1}^T T_{l+1} - T_l T_l^T), at every step.

    batch_size: of minibatches, None for all samples. relation: ">=" of a training without such a recursion.
    """
    layers, seen = problem.layers, []
    batches = lambda: (problem.inputs_ND, problem.targets_NK)  # noqa: E731
    if batch_size is not None:
        batches = minibatches(problem.inputs_ND, problem.targets_NK, size=batch_size, seed=seed)
    computed = gradient_of(layers, batches)

    def gradient(flat: np.ndarray) -> np.ndarray:
        seen.append(computed(flat))
        return seen[-1]

    path = trained(
        problem, optimizer, learning_rates=[learning_rate] * steps, momentum=momentum,
        weight_decay=weight_decay, seed=seed, gradient=gradient,
    )  # fmt: skip
    largest, sizes = 0.0, None
    for before, after in pairwise(path):
        found = tail_imbalances(layers.split(after), layers.relu_layers)
        sizes = sizes or [
            np.linalg.norm(D) for D in tail_imbalances(layers.split(before), layers.relu_layers)
        ]
        predicted = next_imbalances(
            layers.split(before), layers.split(seen.pop(0)), layers.relu_layers,
            learning_rate=learning_rate, weight_decay=weight_decay,
        )  # fmt: skip
        errors = [np.linalg.norm(D - P) for D, P in zip(found, predicted, strict=True)]
        largest = max(largest, *(error / size for error, size in zip(errors, sizes, strict=True)))
    name = "all samples" if batch_size is None else f"batches of {batch_size}"
    yield compare(f"{name}: largest error of D_l", ROUNDING, largest, relation=relation, tolerance=0.0)


class Seen(NamedTuple):
    """A moment of a training: its step, its layers and what is measured of them."""

    step: int
    imbalance_norms: list[float]  # of the linear pairs
    statistics: LayerStatistics

    @property
    def balancedness(self) -> list[float]:
        """Of the linear pairs."""
        norm_L = self.statistics.weight_norm_L[self.statistics.relu_layers :]
        pairs = zip(self.imbalance_norms, norm_L[1:], norm_L[:-1], strict=True)
        return [balancedness(*norms) for norms in pairs]


def watched(problem: Problem, path: Iterable[np.ndarray], steps: Iterable[int]) -> list[Seen]:
    """What a training is like after 0 and the given numbers of steps."""
    wanted, layers = {0, *steps}, problem.layers
    return [look(problem, layers.split(flat), step=step) for step, flat in enumerate(path) if step in wanted]


def look(problem: Problem, weights: Sequence[np.ndarray], *, step: int) -> Seen:
    """What is measured of the layers on all samples."""
    found = layer_statistics(
        [torch.from_numpy(weight.copy()) for weight in weights],
        [(torch.from_numpy(problem.inputs_ND), torch.from_numpy(problem.labels_N))],
        relu_layers=problem.layers.relu_layers,
        num_classes=problem.layers.units[-1],
    )
    return Seen(step, list(found.imbalance_norm_L[problem.layers.relu_layers : -1]), found)


def check_decay(
    path: Sequence[Seen], *, learning_rate: float, momentum: float, weight_decay: float
) -> Iterator[Check]:
    """||D_l(t)|| / ||D_l(0)|| is the square of what the decay alone leaves of a weight under heavy ball.

    To first order in eta this is exp(-2 lambda sum eta / (1 - momentum)).
    """
    first, *later = path
    ratios = sgd_nc0_ratio([learning_rate] * path[-1].step, momentum=momentum, weight_decay=weight_decay)
    for seen in later:
        for place, (now, then) in enumerate(zip(seen.imbalance_norms, first.imbalance_norms, strict=True)):
            layer = first.statistics.relu_layers + 1 + place
            name = f"||D_{layer}({seen.step})|| / ||D_{layer}(0)||"
            yield compare(name, ratios[seen.step] ** 2, now / then, tolerance=OF_FIRST_ORDER)


def check_bounds(path: Sequence[Seen]) -> Iterator[Check]:
    """NC1, NC2 and NC3 of the head's input against their bounds, wherever these say something."""
    for seen in path:
        found, bounds, at = seen.statistics, head_bounds(seen.statistics), f"after {seen.step} steps"
        place = found.num_layers - 2
        nc1 = layer_nc1(found.means[place], found.within_trace_LK[place], found.counts_K)
        if np.isfinite(most := bounds["bound_NC1"]):
            yield compare(f"NC1 {at}", most, nc1, relation="<=", tolerance=0.0)
        if np.isfinite(most := bounds["bound_NC2"]):
            yield compare(f"NC2 {at}", most, layer_nc2(found.means[place]), relation="<=", tolerance=0.0)
        if (least := bounds["bound_NC3"]) > 0:
            yield compare(f"NC3 {at}", least, found.cosine_L[place], relation=">=", tolerance=0.0)


def check_condition(path: Sequence[Seen]) -> Iterator[Check]:
    """kappa(W_L) = kappa(W_L ... W_{L_1+1})^(1/L_2), where the linear layers are balanced."""
    for seen in path:
        if max(seen.balancedness) < LITTLE:
            found = seen.statistics
            predicted = condition(found.product_values_K) ** (1 / found.linear_layers)
            name = f"kappa(W_L) after {seen.step} steps"
            yield compare(name, predicted, condition(found.head_values_K), tolerance=OF_CONDITION)


def check_critical_point(problem: Problem, *, weight_decay: float, seed: int) -> Iterator[Check]:
    """Where grad C_0 + lambda W = 0 all linear layers are balanced exactly; found by L-BFGS."""
    gradient = problem.gradient()

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        return problem.loss(flat) + weight_decay / 2 * flat @ flat, gradient(flat) + weight_decay * flat

    options = {"maxiter": 5000, "ftol": 0.0, "gtol": 1e-10, "maxcor": 30}
    start = problem.layers.start(seed=seed)
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x
    largest = max(look(problem, problem.layers.split(found), step=0).balancedness)
    bound = {"relation": "<=", "tolerance": 0.0}
    yield compare("L-BFGS: largest balancedness", AT_CRITICAL_POINT, largest, **bound)


def check_balanced(
    problem: Problem,
    optimizer: str,
    *,
    learning_rates: Sequence[float],
    momentum: float,
    weight_decay: float,
    seed: int,
    is_balanced: bool,
) -> Iterator[Check]:
    """The balancedness of the linear layers at the end of a training, of all samples at every step."""
    *_, flat = trained(
        problem, optimizer, learning_rates=learning_rates, momentum=momentum, weight_decay=weight_decay,
        seed=seed,
    )  # fmt: skip
    found = look(problem, problem.layers.split(flat), step=len(learning_rates)).balancedness
    name = "largest balancedness of linear layers"
    if is_balanced:
        yield compare(name, BALANCED, max(found), relation="<=", tolerance=0.0)
    else:
        yield compare(name, UNBALANCED, max(found), relation=">=", tolerance=0.0)


def check_zero(
    problem: Problem, *, learning_rate: float, momentum: float, weight_decay: float, steps: int, seed: int
) -> Iterator[Check]:
    """From small weights three or more layers fall to zero, where the loss is 1/2: a stable point."""
    *_, flat = trained(
        problem, "SGD", learning_rates=[learning_rate] * steps, momentum=momentum,
        weight_decay=weight_decay, seed=seed, start_scale=0.1,
    )  # fmt: skip
    yield compare("from weights a tenth as large: loss", 0.5, problem.loss(flat), tolerance=1e-3)
