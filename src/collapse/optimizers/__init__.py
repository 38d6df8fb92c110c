"""The optimizers by name, those of the paper among them (docs/extending.md says how to add one)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from collapse.optimizers import rules

ALWAYS = frozenset({"momentum", "coupled_decay", "decoupled_decay"})
GIVEN = ALWAYS | {"beta2", "epsilon"}


class WeightDecayKind(StrEnum):
    """Where the decay acts: inside the gradient, beside the step, or a fixed part of it in each."""

    COUPLED = "coupled"
    DECOUPLED = "decoupled"
    INTERPOLATED = "interpolated"


@dataclass(frozen=True)
class Optimizer:
    """A rule, the place of its weight decay, and how figures show it."""

    label: str
    rule: Callable
    weight_decay_kind: WeightDecayKind
    colour: str
    reference: str

    def __post_init__(self):
        """Raises ValueError for a rule that wants what no setting of a run gives."""
        if unknown := self.takes - GIVEN:
            raise ValueError(
                f"{self.label}: its rule takes {min(unknown)}; known are {', '.join(sorted(GIVEN))}"
            )
        if missing := ALWAYS - self.takes:
            raise ValueError(f"{self.label}: its rule does not take {min(missing)}, which every run has")

    @property
    def takes(self) -> frozenset[str]:
        """The hyperparameters that the rule takes by keyword, beside the learning rate."""
        arguments = inspect.signature(self.rule).parameters.values()
        return frozenset(one.name for one in arguments if one.kind is one.KEYWORD_ONLY) - {"learning_rate"}

    def hyperparameters(
        self,
        *,
        momentum: float,
        weight_decay: float,
        coupled_fraction: float | None,
        beta2: float,
        epsilon: float,
    ) -> dict[str, float]:
        """Of the keyword arguments of `rule` those that stay fixed through a run, as many as it takes."""
        coupled = coupled_share(self.weight_decay_kind, coupled_fraction)
        given = {
            "momentum": momentum,
            "coupled_decay": coupled * weight_decay,
            "decoupled_decay": (1 - coupled) * weight_decay,
            "beta2": beta2,
            "epsilon": epsilon,
        }
        return {name: value for name, value in given.items() if name in self.takes}


def coupled_share(kind: WeightDecayKind, coupled_fraction: float | None) -> float:
    """The share of the weight decay that goes into the gradient: 1, 0, or `coupled_fraction`."""
    if kind is WeightDecayKind.INTERPOLATED:
        if coupled_fraction is None or not 0 <= coupled_fraction <= 1:
            raise ValueError(f"coupled_fraction must lie in [0, 1], found {coupled_fraction}")
        return coupled_fraction
    return 1.0 if kind is WeightDecayKind.COUPLED else 0.0


_COUPLED, _DECOUPLED = WeightDecayKind.COUPLED, WeightDecayKind.DECOUPLED

OPTIMIZERS: dict[str, Optimizer] = {
    "SGD": Optimizer("SGD", rules.sgd, _COUPLED, "#14532D", "Polyak 1964"),
    "SGDW": Optimizer("SGDW", rules.sgd, _DECOUPLED, "#7BC47F", "Loshchilov & Hutter 2019"),
    "Adam": Optimizer("Adam", rules.adam, _COUPLED, "#0057B8", "Kingma & Ba 2015"),
    "AdamW": Optimizer("AdamW", rules.adam, _DECOUPLED, "#56B4E9", "Loshchilov & Hutter 2019"),
    "Signum": Optimizer("Signum", rules.signum, _COUPLED, "#C23B00", "Bernstein et al. 2018"),
    "SignumW": Optimizer("SignumW", rules.signum, _DECOUPLED, "#F5A73B", "the paper, section 3.1"),
    "AdamInterpolated": Optimizer(
        "Adam\u2013AdamW",
        rules.adam,
        WeightDecayKind.INTERPOLATED,
        "#AA3377",
        "the paper, section 3.4",
    ),
}
