"""Checks of the paper's theorems on NC0: what each predicts against the project's own update rules.

Every check is a row of numbers, {check, predicted, relation, simulated, deviation, verdict}, as
collapse.paper.theorem_table describes them. `simulated_with` names the rule that runs, so that a test can
hand a theorem another one than it speaks of and see the check fail.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from collapse.metrics.class_statistics import ClassStatistics, class_statistics
from collapse.metrics.neural_collapse import nc0, nc3
from collapse.theory import sign_descent
from collapse.theory.closed_forms import NC0_RATIOS
from collapse.theory.last_layer import alphas, descend, moving_problem, ufm_gradient

TRAJECTORY_TOLERANCE = 1e-6  # of alpha(t) against its closed form
STABILITY_TOLERANCE = 1e-3  # of the largest stable eta lambda, found by bisection
ROUNDING_FLOOR = 1e-12  # alpha below this share of its largest value is compared with that share
NUM_FEATURES, BATCH_SIZE = 8, 16  # of the moving problem, where the theorems allow any
STABILITY_STEPS = 400

Check = dict[str, object]


def check_2_1(*, num_classes: int, seed: int) -> Iterator[Check]:
    """NC0 <= sqrt(K) ||W||_F NC3, through the project's metrics, over weights ever closer to M^T.

    M has mean zero, so W^T 1 / ||W|| = (W^T / ||W|| - M / ||M||) 1. Half of the errors added to M^T
    are equal in all rows: for these the bound is tight in the limit.
    """
    rng = np.random.default_rng(seed)
    means_KD = rng.normal(size=(num_classes, NUM_FEATURES))
    centred_KD = means_KD - means_KD.mean(axis=0)
    shares = []
    for size in (1.0, 0.1, 0.01, 0.001):
        errors = rng.normal(size=means_KD.shape), np.tile(rng.normal(size=NUM_FEATURES), (num_classes, 1))
        for error_KD in errors:
            weight_KD = centred_KD + size * error_KD
            shares.append(nc0_share_of_bound(weight_KD, means_KD))
    yield compare("largest NC0 / (sqrt(K) ||W|| NC3)", 1.0, max(shares), relation="<=", tolerance=1e-9)


def nc0_share_of_bound(weight_KD: np.ndarray, means_KD: np.ndarray) -> float:
    """NC0 / (sqrt(K) ||W||_F NC3) for features at the class means."""
    statistics = statistics_at(means_KD, weight_KD)
    return nc0(weight_KD) / (len(means_KD) ** 0.5 * float(np.linalg.norm(weight_KD)) * nc3(statistics))


def statistics_at(means_KD: np.ndarray, weight_KD: np.ndarray) -> ClassStatistics:
    """Of features that lie, two a class, at the class means."""
    return class_statistics(
        features_ND=torch.from_numpy(np.repeat(means_KD, 2, axis=0)),
        labels_N=torch.arange(len(means_KD)).repeat_interleave(2),
        weight_KD=torch.from_numpy(weight_KD),
        bias_K=None,
        test_features=None,
        test_labels=None,
    )


def check_sgd(
    *,
    predicted_for: str,
    simulated_with: str,
    num_classes: int,
    learning_rate: float,
    weight_decay: float,
    momentum: float,
    steps: int,
    seed: int,
) -> Iterator[Check]:
    """Theorems 3.1 (SGDW) and 3.2 (SGD) on cross-entropy with real gradients, data moving."""
    how = {"num_classes": num_classes, "momentum": momentum, "learning_rate": learning_rate, "seed": seed}
    simulated = sgd_alpha(simulated_with, weight_decay=weight_decay, steps=steps, **how)
    ratio = NC0_RATIOS[predicted_for]([learning_rate] * steps, momentum=momentum, weight_decay=weight_decay)
    yield compare_trajectories(simulated[0] * ratio**2, simulated)
    bound = {"SGDW": 2.0, "SGD": 2 * (1 + momentum)}[predicted_for]
    found = largest_stable(simulated_with, near=bound, **how)
    yield compare("largest eta lambda that converges", bound, found, tolerance=STABILITY_TOLERANCE)


def sgd_alpha(
    optimizer: str,
    *,
    num_classes: int,
    learning_rate: float,
    weight_decay: float,
    momentum: float,
    steps: int,
    seed: int,
) -> np.ndarray:
    """alpha_0 ... alpha_T from normal initial weights, cross-entropy on `moving_problem`."""
    size = {"num_classes": num_classes, "num_features": NUM_FEATURES}
    weight_KD = np.random.default_rng(seed + 1).normal(size=tuple(size.values()))
    return alphas(
        descend(
            weight_KD,
            moving_problem(**size, batch_size=BATCH_SIZE, seed=seed),
            optimizer=optimizer,
            learning_rates=[learning_rate] * steps,
            momentum=momentum,
            weight_decay=weight_decay,
        )
    )


def largest_stable(
    optimizer: str, *, near: float, num_classes: int, learning_rate: float, momentum: float, seed: int
) -> float:
    """Where, within 10% of `near`, eta lambda stops to let alpha decay: bisection over simulations.

    alpha decays when its maximum over the last quarter of the steps is below the second quarter's.
    """
    low, high, quarter = 0.9 * near, 1.1 * near, STABILITY_STEPS // 4
    while high - low > STABILITY_TOLERANCE / 2 * near:
        middle = (low + high) / 2
        with np.errstate(over="ignore"):  # far outside the bound alpha leaves float64: no decay
            alpha_T = sgd_alpha(
                optimizer,
                num_classes=num_classes,
                learning_rate=learning_rate,
                weight_decay=middle / learning_rate,
                momentum=momentum,
                steps=STABILITY_STEPS,
                seed=seed,
            )
        decays = alpha_T[-quarter:].max() < alpha_T[quarter : 2 * quarter].max()
        low, high = (middle, high) if decays else (low, middle)
    return (low + high) / 2


def check_3_3(
    *, simulated_with: str, num_classes: int, learning_rate: float, weight_decay: float, steps: int
) -> Iterator[Check]:
    """Theorem 3.3: alpha(t), its limit, and the limit as printed, where a factor K is missing."""
    setting = {"learning_rate": learning_rate, "weight_decay": weight_decay, "num_classes": num_classes}
    alpha_T = alphas(ufm_weights(simulated_with, learning_rates=[learning_rate] * steps, **_model(setting)))
    yield compare_trajectories(sign_descent.decoupled_alpha(steps=steps, **setting), alpha_T)
    limit = sign_descent.decoupled_limit(num_classes=num_classes, weight_decay=weight_decay)
    left = 2.1 * abs(1 - learning_rate * weight_decay) ** steps  # of 1 - (1 - (1 - eta lambda)^t)^2
    yield compare("limit of ||W^T 1||^2 / K", limit, alpha_T[-1], tolerance=left + 1e-9)
    without = num_classes * alpha_T[-1]
    yield compare("as printed: limit of ||W^T 1||^2", limit, without, tolerance=left + 1e-9)


def check_3_4(
    *, simulated_with: str, num_classes: int, learning_rate: float, weight_decay: float, steps: int
) -> Iterator[Check]:
    """Theorem 3.4: alpha(t), T1, T2, the range after T2, alpha -> 0 with the learning rate."""
    model = {"num_classes": num_classes, "weight_decay": weight_decay}
    ufm = {
        "num_classes": num_classes,
        "feature_scale": sign_descent.unit_scale(num_classes),
        "gradient_scale": 1.0,
    }
    rates = np.full(steps, learning_rate)
    weights = list(ufm_weights(simulated_with, learning_rates=rates, **model))
    alpha_T = alphas(weights)
    a_T, b_T, _ = np.transpose([sign_descent.coordinates(weight_KK) for weight_KK in weights])
    found = sign_descent.turning_times(a_T, b_T)
    exact = sign_descent.coupled_coordinates(**ufm, learning_rates=rates, weight_decay=weight_decay)
    yield compare_trajectories(sign_descent.coupled_alpha(*exact, num_classes=num_classes), alpha_T)
    step = {"learning_rate": learning_rate, "weight_decay": weight_decay}
    first = sign_descent.first_turn(**ufm, **step)
    yield compare("T1", first, found[0], tolerance=0.0)
    printed = sign_descent.first_turn(**(ufm | {"feature_scale": 1.0}), **step)
    yield compare("as printed: T1 without 1/sqrt(K - 1)", printed, found[0], tolerance=0.0)
    second = sign_descent.second_turn(**ufm, **step)
    yield compare("T2, within two steps", second, found[1], tolerance=2 / second)
    b_at_t2 = np.nan if found[1] is None else b_T[found[1]] / learning_rate
    yield compare("as printed: b(T2) / eta, T1 within 1", first, b_at_t2, tolerance=1 / first)
    after = alpha_T[found[1] + 1 :] if found[1] is not None else np.array([np.nan])
    swing = np.ptp(after) / (num_classes**3 * learning_rate**2) if len(after) else np.nan
    name = "range of alpha after T2 / (K^3 eta^2)"
    yield compare(name, 1.0, swing, relation="<=", tolerance=0.0)
    decaying = decaying_rates(learning_rate, steps=steps)
    last = alphas(ufm_weights(simulated_with, learning_rates=decaying, **model))[-1]
    share = last / (num_classes**3 * decaying[-1] ** 2)
    name = "alpha at the end / (K^3 eta(T)^2), eta(t) -> 0"
    yield compare(name, 1.0, share, relation="<=", tolerance=0.0)


def ufm_weights(
    optimizer: str, *, num_classes: int, learning_rates: Sequence[float], weight_decay: float
) -> Iterator[np.ndarray]:
    """W_0 = 0, W_1, ... of theorems 3.3 and 3.4 as they are stated: H = M*, the loss summed."""
    scale = sign_descent.unit_scale(num_classes)
    return descend(
        np.zeros((num_classes, num_classes)),
        ufm_gradient(num_classes=num_classes, feature_scale=scale, gradient_scale=1.0),
        optimizer=optimizer,
        learning_rates=learning_rates,
        momentum=0.0,
        weight_decay=weight_decay,
    )


def decaying_rates(learning_rate: float, *, steps: int) -> np.ndarray:
    """eta(t) = eta / (1 + 10 t / steps): to zero with an infinite sum, eleven-fold over the steps."""
    return learning_rate / (1 + 10 * np.arange(steps) / steps)


def compare_trajectories(predicted_T: np.ndarray, simulated_T: np.ndarray) -> Check:
    """The largest relative deviation of alpha(t) of all steps, and alpha at the last one that counts.

    Below ROUNDING_FLOOR of its largest value alpha is what rounding leaves, and relative to that.
    """
    floor = ROUNDING_FLOOR * predicted_T.max()
    last = int(np.flatnonzero(predicted_T > floor)[-1])
    deviation = float(np.max(np.abs(simulated_T - predicted_T) / np.maximum(predicted_T, floor)))
    row = compare(f"alpha({last})", predicted_T[last], simulated_T[last], tolerance=TRAJECTORY_TOLERANCE)
    return row | {"deviation": deviation, "verdict": _verdict(deviation <= TRAJECTORY_TOLERANCE)}


def compare(
    check: str, predicted: float, simulated: float | None, *, tolerance: float, relation: str = "="
) -> Check:
    """One check as columns; a quantity that the simulation never reached (None, NaN) fails."""
    value = np.nan if simulated is None else float(simulated)
    excess = value / predicted - 1
    row = {"check": check, "predicted": float(predicted), "relation": relation, "simulated": value}
    if relation == "<=":
        return row | {"deviation": np.nan, "verdict": _verdict(excess <= tolerance)}
    if relation == ">=":
        return row | {"deviation": np.nan, "verdict": _verdict(excess >= -tolerance)}
    return row | {"deviation": abs(excess), "verdict": _verdict(abs(excess) <= tolerance)}


def _verdict(holds: bool) -> str:
    return "holds" if holds else "fails"


def _model(setting: dict[str, float]) -> dict[str, float]:
    return {name: setting[name] for name in ("num_classes", "weight_decay")}
