"""Checks of what moves s = W^T 1 under every optimizer, and what s moves (docs/beyond-the-paper.md).

Every check is a row of numbers, {check, predicted, relation, simulated, deviation, verdict}, as those of
collapse.theory.theorem_checks. A relation "<=" or ">=" bounds what is simulated, mostly a deviation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from collapse.metrics.further import gauge_share, nc3_centred
from collapse.metrics.neural_collapse import nc3
from collapse.optimizers import OPTIMIZERS, Optimizer, WeightDecayKind
from collapse.optimizers.directions import State
from collapse.optimizers.layout import Layout
from collapse.optimizers.orthogonal import newton_schulz
from collapse.optimizers.preconditioned import soap
from collapse.theory.closed_forms import sgdw_nc0_ratio
from collapse.theory.keepers import nc3_floor
from collapse.theory.last_layer import Gradient, descend_flat, moving_problem, rule_of
from collapse.theory.row_sums import (
    centred,
    largest_deviation,
    orthogonalised_row_sums,
    row_sums,
    schedule_free,
    with_random_row_sums,
)
from collapse.theory.theorem_checks import Check, compare, statistics_at
from collapse.theory.trained_features import Size, gradient_of, loss, random_start

ROUNDING = 1e-8  # of a deviation in float64; SOAP's is the largest, 1e-11
IN_FLOAT32 = 0.02  # as C12 allows SOAPW
LEAVES = 0.01  # a closed form is left by at least this share of the start
MOVING = Size(num_classes=10, num_features=64, samples_per_class=0)  # its batches are drawn anew
BATCH_SIZE, STEPS_OF_MOVING = 128, 300
UNCONSTRAINED, STEPS_OF_UNCONSTRAINED = Size(num_classes=10, num_features=32, samples_per_class=10), 600
BETAS = {"momentum": 0.9, "beta2": 0.999, "epsilon": 1e-8}


def rates(learning_rate: float, *, steps: int) -> np.ndarray:
    """A tenth and a hundredth of it in the second and the last third, as the paper's schedule."""
    return learning_rate * np.repeat([1.0, 0.1, 0.01], steps // 3)


def moving_data(*, seed: int) -> tuple[np.ndarray, Gradient]:
    """W_0 (K x D) of variance 1 / D, and the gradient on data drawn anew at every step."""
    num_classes, num_features, _ = MOVING
    start_KD = np.random.default_rng(seed + 1).normal(size=(num_classes, num_features)) / num_features**0.5
    size = {"num_classes": num_classes, "num_features": num_features}
    return start_KD, moving_problem(**size, batch_size=BATCH_SIZE, seed=seed)


def on_moving_data(
    entry: Optimizer, *, learning_rate: float, exposure: float, seed: int, dtype: torch.dtype = torch.float64
) -> tuple[np.ndarray, np.ndarray]:
    """s_0 ... s_T on data drawn anew at every step, and the closed form's ratios."""
    start_KD, problem = moving_data(seed=seed)

    def gradient(flat: np.ndarray) -> np.ndarray:
        return problem(flat.reshape(start_KD.shape)).ravel()

    how = {"learning_rates": rates(learning_rate, steps=STEPS_OF_MOVING), "exposure": exposure}
    return _sums(entry, start_KD.ravel(), gradient, size=MOVING, dtype=dtype, **how)


def on_trained_features(
    entry: Optimizer, *, learning_rate: float, exposure: float, seed: int, dtype: torch.dtype = torch.float64
) -> tuple[np.ndarray, np.ndarray]:
    """The same in the unconstrained feature model, whose features the optimizer trains too."""
    how = {"learning_rates": rates(learning_rate, steps=STEPS_OF_UNCONSTRAINED), "exposure": exposure}
    start, gradient = random_start(UNCONSTRAINED, seed=seed), gradient_of(UNCONSTRAINED)
    return _sums(entry, start, gradient, size=UNCONSTRAINED, dtype=dtype, **how)


def _sums(
    entry: Optimizer,
    start: np.ndarray,
    gradient: Callable,
    *,
    size: Size,
    learning_rates: np.ndarray,
    exposure: float,
    dtype: torch.dtype,
) -> tuple[np.ndarray, np.ndarray]:
    weight_decay = exposure / learning_rates.sum()
    rule = rule_of(entry, size.layout(), weight_decay=weight_decay, **BETAS)
    path = descend_flat(start, gradient, rule, learning_rates=learning_rates, dtype=dtype)
    ratios = sgdw_nc0_ratio(learning_rates, momentum=BETAS["momentum"], weight_decay=weight_decay)
    return row_sums(size.split(flat)[0] for flat in path), ratios


MODELS = {"moving data": on_moving_data, "trained features": on_trained_features}


def check_closed_form(sums_TD: np.ndarray, ratios_T: np.ndarray, *, has_one: bool) -> Check:
    """Theorem 1: s_T is the closed form's, all the way; or s leaves it."""
    deviation = largest_deviation(sums_TD, ratios_T)
    if not has_one:
        return compare("deviation of W^T 1 from SGDW's", LEAVES, deviation, relation=">=", tolerance=0.0)
    found = np.linalg.norm(sums_TD[-1]) / np.linalg.norm(sums_TD[0])
    row = compare("NC0(T) / NC0(0)", abs(ratios_T[-1]), found, tolerance=ROUNDING)
    holds = row["verdict"] == "holds" and deviation <= ROUNDING
    return row | {"deviation": deviation, "verdict": "holds" if holds else "fails"}


def check_soap_in_float32(*, learning_rate: float, exposure: float, seed: int) -> Iterator[Check]:
    """Theorem 1 and rounding: along 1 SOAP divides noise by its own size; rho bounds what comes of it."""
    how = {"learning_rate": learning_rate, "exposure": exposure, "seed": seed, "dtype": torch.float32}
    entry = OPTIMIZERS["SOAPW"]
    found = largest_deviation(*on_moving_data(entry, **how))
    yield compare("float32: deviation of W^T 1", IN_FLOAT32, found, relation="<=", tolerance=0.0)
    published = replace(entry, direction=soap_as_published)
    found = largest_deviation(*on_moving_data(published, **how))
    name = "float32, rho = 0: deviation of W^T 1"
    yield compare(name, IN_FLOAT32, found, relation=">=", tolerance=0.0)


def soap_as_published(
    gradients: torch.Tensor, state: State, *, momentum: float, beta2: float, epsilon: float, layout: Layout
) -> tuple[torch.Tensor, State]:
    """SOAP with nothing but epsilon in its denominator."""
    betas = {"momentum": momentum, "beta2": beta2, "epsilon": epsilon}
    return soap(gradients, state, 0.0, **betas, layout=layout)


def check_polar_factor(*, seed: int) -> Iterator[Check]:
    """The exact polar factor keeps zero row sums on the gradient's own span; a full SVD's does not.

    It pairs the null vector 1 / sqrt(K) with a right vector, so that its row sum has norm sqrt(K).
    """
    rng = np.random.default_rng(seed)
    gradient_KD = centred(rng.normal(size=(MOVING.num_classes, MOVING.num_features)))
    U_KR, _, V_RD = np.linalg.svd(gradient_KD, full_matrices=False)
    iterated_KD = newton_schulz(torch.from_numpy(gradient_KD)).numpy()
    of_iteration, of_span = (
        float(np.linalg.norm(matrix_KD.sum(axis=0))) for matrix_KD in (iterated_KD, U_KR[:, :-1] @ V_RD[:-1])
    )
    bound = {"relation": "<=", "tolerance": 0.0}
    yield compare("Newton-Schulz: ||1^T D||", ROUNDING, of_iteration, **bound)
    yield compare("polar factor on the span: ||1^T U V^T||", ROUNDING, of_span, **bound)
    full = float(np.linalg.norm((U_KR @ V_RD).sum(axis=0)))
    name = "polar factor of a full SVD: ||1^T U V^T||"
    yield compare(name, MOVING.num_classes**0.5, full, tolerance=ROUNDING)


def check_gauge(*, seed: int) -> Iterator[Check]:
    """Lemma 1: a shift W + 1 c^T changes neither gradient, and 1^T dL/dW = 0."""
    start, gradient = random_start(UNCONSTRAINED, seed=seed), gradient_of(UNCONSTRAINED)
    shifted = start.copy()
    UNCONSTRAINED.split(shifted)[0][:] += np.random.default_rng(seed).normal(size=UNCONSTRAINED.num_features)
    before, after = gradient(start), gradient(shifted)
    of_weight_KD, _ = UNCONSTRAINED.split(before)
    size = np.linalg.norm(before)
    bound = {"relation": "<=", "tolerance": 0.0}
    change = float(np.linalg.norm(after - before) / size)
    yield compare("change of both gradients with W + 1 c^T", ROUNDING, change, **bound)
    its_sums = float(np.linalg.norm(of_weight_KD.sum(axis=0)) / np.linalg.norm(of_weight_KD))
    yield compare("||1^T G|| / ||G||", ROUNDING, its_sums, **bound)


def check_inert(optimizer: str, *, learning_rate: float, exposure: float, seed: int) -> Iterator[Check]:
    """Lemma 3: other row sums of W_0 and of every direction; W_c, the features and the loss are the same."""
    entry = OPTIMIZERS[optimizer]
    [head] = UNCONSTRAINED.layout()
    disturbed = replace(entry, direction=with_random_row_sums(entry.direction, head, seed=seed))
    how = {"learning_rate": learning_rate, "exposure": exposure, "seed": seed}
    apart, of_nc0 = parted(entry, disturbed, shift=1.0, **how)
    yield compare("change of W_c, H and loss", ROUNDING, apart, relation="<=", tolerance=0.0)
    yield compare("change of NC0", LEAVES, of_nc0, relation=">=", tolerance=0.0)


def check_adamw_centred(*, learning_rate: float, exposure: float, seed: int) -> Iterator[Check]:
    """Lemma 3: AdamCentredW is AdamW but for s. With coupled decay s enters the moments and they part."""
    how = {"learning_rate": learning_rate, "exposure": exposure, "seed": seed}
    pair = OPTIMIZERS["AdamW"], OPTIMIZERS["AdamCentredW"]
    apart, of_nc0 = parted(*pair, **how)
    yield compare("from AdamW: change of W_c, H and loss", ROUNDING, apart, relation="<=", tolerance=0.0)
    yield compare("from AdamW: change of NC0", LEAVES, of_nc0, relation=">=", tolerance=0.0)
    coupled = [replace(entry, weight_decay_kind=WeightDecayKind.COUPLED) for entry in pair]
    apart, _ = parted(*coupled, **how)
    name = "both coupled: change of W_c, H and loss"
    yield compare(name, LEAVES, apart, relation=">=", tolerance=0.0)


def parted(
    one: Optimizer,
    other: Optimizer,
    *,
    learning_rate: float,
    exposure: float,
    seed: int,
    shift: float = 0.0,
) -> tuple[float, float]:
    """How far two trainings of the unconstrained feature model part: in what the loss sees, and in NC0.

    The largest change of an entry of W_c and H and of the loss over all steps, of NC0's largest relative one.
    shift: of the other's W_0, times 1 c^T, c normal.
    """
    size, start = UNCONSTRAINED, random_start(UNCONSTRAINED, seed=seed)
    shifted = start.copy()
    size.split(shifted)[0][:] += shift * np.random.default_rng(seed).normal(size=size.num_features)
    learning_rates = rates(learning_rate, steps=STEPS_OF_UNCONSTRAINED)
    paths = [
        descend_flat(
            begin,
            gradient_of(size),
            rule_of(entry, size.layout(), weight_decay=exposure / learning_rates.sum(), **BETAS),
            learning_rates=learning_rates,
        )
        for entry, begin in ((one, start), (other, shifted))
    ]
    in_loss, in_nc0 = 0.0, 0.0
    for flats in zip(*paths, strict=True):
        (W, H), (W_other, H_other) = (size.split(flat) for flat in flats)
        losses = [loss(flat, size) for flat in flats]
        seen = (centred(W) - centred(W_other), H - H_other, np.subtract(*losses))
        in_loss = max(in_loss, *(float(np.abs(change).max()) for change in seen))
        nc0, nc0_other = (np.linalg.norm(weight.sum(axis=0)) for weight in (W, W_other))
        in_nc0 = max(in_nc0, abs(nc0_other / nc0 - 1))
    return in_loss, float(in_nc0)


def check_nc3(*, seed: int) -> Iterator[Check]:
    """Corollary 4: what s alone does to NC3, through the project's metrics, over ever larger row sums."""
    rng = np.random.default_rng(seed)
    means_KD, noise_KD = rng.normal(size=(2, MOVING.num_classes, MOVING.num_features))
    shift_D, predicted, found = rng.normal(size=MOVING.num_features), [], []
    for size in (0.1, 1.0, 10.0):
        statistics = statistics_at(means_KD, centred(means_KD + noise_KD) + size * shift_D)
        left = (1 - gauge_share(statistics.weight_KD)) ** 0.5
        predicted.append((2 - (2 - nc3_centred(statistics) ** 2) * left) ** 0.5)
        found.append(nc3(statistics))
    worst = int(np.argmax(np.abs(np.subtract(found, predicted))))
    yield compare("NC3, as gauge_share grows", predicted[worst], found[worst], tolerance=ROUNDING)
    collapsed = statistics_at(means_KD, centred(means_KD) + shift_D)
    least = nc3_floor(gauge_share(collapsed.weight_KD))
    yield compare("NC3 at NC3_centred = 0", least, nc3(collapsed), tolerance=ROUNDING)


def check_schedule_free(
    *, learning_rate: float, weight_decay: float, momentum: float, steps: int, seed: int
) -> Iterator[Check]:
    """Corollary 5: the row sum of Schedule-Free SGD obeys its own recursion without a gradient."""
    start_KD, problem = moving_data(seed=seed)
    how = {"learning_rates": [learning_rate] * steps, "momentum": momentum, "weight_decay": weight_decay}
    sums_TD = row_sums(schedule_free(start_KD, problem, **how))
    ratios_T = np.concatenate(list(schedule_free(np.ones(1), np.zeros_like, **how)))
    yield check_closed_form(sums_TD, ratios_T, has_one=True)


def check_coupled_muon(*, weight_decays: Sequence[float], seed: int) -> Iterator[Check]:
    """The row sum of Newton-Schulz of a momentum that holds the decay, to first order in the decay."""
    rng = np.random.default_rng(seed)
    gradients_KD = centred(rng.normal(size=(MOVING.num_classes, MOVING.num_features)))
    sums_D = rng.normal(size=MOVING.num_features)
    for weight_decay in weight_decays:
        decay_D = weight_decay * sums_D
        momentum_KD = gradients_KD + decay_D / MOVING.num_classes
        found_D = newton_schulz(torch.from_numpy(momentum_KD)).numpy().sum(axis=0)
        predicted_D = orthogonalised_row_sums(gradients_KD, decay_D)
        sizes = [float(np.linalg.norm(sums)) for sums in (predicted_D, found_D)]
        off = float(np.linalg.norm(found_D - predicted_D) / sizes[0])
        row = compare(f"||1^T NS(B)|| at lambda = {weight_decay:g}", *sizes, tolerance=1e-6)
        yield row | {"deviation": off, "verdict": "holds" if off <= 1e-6 else "fails"}
