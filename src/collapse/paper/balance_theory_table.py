"""jacot_table_11: what Jacot et al. 2024 prove of balanced layers and collapse, checked on real images.

`balance_theory_table` has a row a check; `print_balance_theory` a row a statement and training. Their proofs:
docs/jacot-2024.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict

import numpy as np
import pandas as pd

from collapse.optimizers import OPTIMIZERS, WeightDecayKind
from collapse.paper.optimizer_theory_table import print_statements
from collapse.theory import balance_checks as checks
from collapse.theory.theorem_checks import Check

STATEMENTS = {
    "Recursion": "D_l <- (1 - eta lambda)^2 D_l + eta^2 (T_l+1^T T_l+1 - T_l T_l^T), T a batch's gradients",
    "Recursion, converse": "With momentum, or another matrix on each gradient, there is none",
    "Decay": "||D_l|| falls as the decay alone does, squared: exp(-2 lambda sum eta / (1 - beta))",
    "Theorem 3.1": "The fit and the imbalance bound NC1, the condition of the last layer NC2 and NC3",
    "Balanced layers": "The last layer has the L_2-th root of the condition of the product of all L_2",
    "Critical points": "Where the gradient and coupled decay cancel, D_l = 0",
    "Coupled decay": "Trainings end there, SGDW's with decoupled decay too, but not AdamW's and SignumW's",
    "Zero": "Zero is a stable point of three layers or more",
}
BATCH_SIZE, SHORT = 16, 300  # of minibatches, and steps where every one is checked
SMALL = {"num_samples": 100, "units": 16, "linear_layers": 3}  # where trainings go on to the end
LEFT_AT_END = 1e-3  # of the learning rate, which falls over the last quarter of these trainings
Found = tuple[str, str, Check]  # statement, training, check


class Training(TypedDict):
    """Of SGD, with the weight decay of all."""

    learning_rate: float
    momentum: float


class OptimizerSetting(TypedDict):
    """Of a training to the end; the decoupled decay of SGDW is the coupled one over 1 - momentum."""

    learning_rate: float
    weight_decay: float


def balance_theory_table(
    *,
    dataset: str,
    num_samples: int,
    units: int,
    relu_layers: int,
    linear_layers: int,
    trainings: Sequence[Training],
    weight_decay: float,
    measured: Sequence[int],
    optimizers: Mapping[str, OptimizerSetting],
    momentum: float,
    steps: int,
    seed: int,
) -> pd.DataFrame:
    """Every check of every statement, in float64.

    dataset: one without files, of which num_samples samples are trained on, all at every step unless a row
    says otherwise. units: of the hidden layers. trainings: of SGD, the first without momentum, looked at
    after the steps `measured`. optimizers: trained for `steps` steps at `momentum` on a smaller network.

    Columns: statement, training, check, predicted, relation ("=", "<=" or ">="), simulated, deviation
    (relative; NaN for bounds), verdict ("holds" or "fails").
    """
    layers = {"units": units, "relu_layers": relu_layers, "linear_layers": linear_layers}
    problem = checks.problem_of(dataset, num_samples=num_samples, **layers)
    common = {"weight_decay": weight_decay, "seed": seed}
    found = [
        *_recursions(problem, trainings[0]["learning_rate"], common),
        *_trainings(problem, trainings, measured, common),
        *_ends(dataset, optimizers, weight_decay=weight_decay, momentum=momentum, steps=steps, seed=seed),
        *_zero(problem, trainings[0]["learning_rate"], common),
    ]
    rows = [{"statement": statement, "training": training} | check for statement, training, check in found]
    table = pd.DataFrame(rows)
    order = table["statement"].map(list(STATEMENTS).index)
    return table.iloc[order.argsort(kind="stable")].reset_index(drop=True)


def _recursions(
    problem: checks.Problem, learning_rate: float, common: Mapping[str, float]
) -> Iterator[Found]:
    how = {"learning_rate": learning_rate, "steps": SHORT, **common}
    for name, batch_size in (("SGD", None), ("SGD", BATCH_SIZE), ("SGDW", BATCH_SIZE)):
        rows = checks.check_recursion(problem, name, momentum=0.0, batch_size=batch_size, **how)
        yield from (("Recursion", name, row) for row in rows)
    how |= {"batch_size": None, "relation": ">="}
    for name, momentum in (("SGD", 0.9), ("Adam", 0.0)):
        rows = checks.check_recursion(problem, name, momentum=momentum, **how | _slower(name, how))
        yield from (("Recursion, converse", f"{name}, beta {momentum:g}", row) for row in rows)


def _slower(optimizer: str, how: Mapping[str, float]) -> dict[str, float]:
    """A learning rate that does not diverge: a step of Adam is as large as the learning rate says."""
    return {"learning_rate": 0.02 * how["learning_rate"]} if optimizer == "Adam" else {}


def _trainings(
    problem: checks.Problem,
    trainings: Sequence[Training],
    measured: Sequence[int],
    common: Mapping[str, float],
) -> Iterator[Found]:
    for training in trainings:
        rates = [training["learning_rate"]] * max(measured)
        how = {"momentum": training["momentum"], **common}
        path = checks.watched(problem, checks.trained(problem, "SGD", learning_rates=rates, **how), measured)
        name = f"SGD, beta {training['momentum']:g}"
        decay = checks.check_decay(path, **training, weight_decay=common["weight_decay"])
        yield from (("Decay", name, row) for row in decay)
        yield from (("Theorem 3.1", name, row) for row in checks.check_bounds(path))
        yield from (("Balanced layers", name, row) for row in checks.check_condition(path))


def _ends(
    dataset: str,
    optimizers: Mapping[str, OptimizerSetting],
    *,
    weight_decay: float,
    momentum: float,
    steps: int,
    seed: int,
) -> Iterator[Found]:
    linear = checks.problem_of(dataset, relu_layers=0, **SMALL)
    critical = checks.check_critical_point(linear, weight_decay=weight_decay, seed=seed)
    yield from (("Critical points", "linear layers", row) for row in critical)
    problem = checks.problem_of(dataset, relu_layers=1, **SMALL)
    last = steps // 4
    shape = np.concatenate([np.ones(steps - last), np.geomspace(1, LEFT_AT_END, last)])
    for name, setting in optimizers.items():
        coupled = OPTIMIZERS[name].weight_decay_kind is WeightDecayKind.COUPLED
        rows = checks.check_balanced(
            problem, name, learning_rates=setting["learning_rate"] * shape, momentum=momentum,
            weight_decay=setting["weight_decay"], seed=seed, is_balanced=coupled or name == "SGDW",
        )  # fmt: skip
        yield from (("Coupled decay", name, row) for row in rows)


def _zero(problem: checks.Problem, learning_rate: float, common: Mapping[str, float]) -> Iterator[Found]:
    rows = checks.check_zero(problem, learning_rate=learning_rate, momentum=0.0, steps=SHORT, **common)
    yield from (("Zero", "SGD", row) for row in rows)


def print_balance_theory(table: pd.DataFrame) -> pd.DataFrame:
    """`balance_theory_table` for eyes: the checks of a statement and a training in one row, in Greek."""
    return print_statements(table, STATEMENTS, by="training")
