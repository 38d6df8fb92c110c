"""The optimizers by name, those of the paper among them (docs/extending.md says how to add one).

A name alone has coupled weight decay, as SGD and Adam; one that ends in W has decoupled decay, as SGDW. What
the literature calls Lion, Muon and SOAP are LionW, MuonW and SOAPW here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from collapse.optimizers import class_side, directions, mars, orthogonal, preconditioned
from collapse.optimizers.steps import decayed_step

ALWAYS = frozenset({"momentum"})
GIVEN = ALWAYS | {"beta2", "epsilon", "layout"}


class WeightDecayKind(StrEnum):
    """Where the decay acts: inside the gradient, beside the step, a fixed part of it in each, or with care.

    cautious: beside the step, where it has the direction's sign.
    """

    COUPLED = "coupled"
    DECOUPLED = "decoupled"
    INTERPOLATED = "interpolated"
    CAUTIOUS = "cautious"


@dataclass(frozen=True)
class Optimizer:
    """A direction, the place of its weight decay, and how figures show it.

    graphed: whether a step can be captured as a CUDA graph, which knows no eigenvalues and no step number.
    """

    label: str
    direction: Callable
    weight_decay_kind: WeightDecayKind
    colour: str
    reference: str
    graphed: bool = True

    def __post_init__(self):
        """Raises ValueError for a direction that wants what no setting of a run gives."""
        if unknown := self.takes - GIVEN:
            raise ValueError(
                f"{self.label}: its direction takes {min(unknown)}; known are {', '.join(sorted(GIVEN))}"
            )
        if missing := ALWAYS - self.takes:
            raise ValueError(f"{self.label}: its direction does not take {min(missing)}, which every run has")

    @property
    def takes(self) -> frozenset[str]:
        """What the direction takes by keyword: hyperparameters, and the layout of the parameters."""
        arguments = inspect.signature(self.direction).parameters.values()
        return frozenset(one.name for one in arguments if one.kind is one.KEYWORD_ONLY)

    @property
    def rule(self) -> Callable:
        """(parameters, gradients, state, *, learning_rate, ...) -> (new parameters, new state)."""
        is_cautious = self.weight_decay_kind is WeightDecayKind.CAUTIOUS
        return partial(decayed_step, direction=self.direction, cautious=is_cautious)

    def hyperparameters(
        self,
        *,
        momentum: float,
        weight_decay: float,
        coupled_fraction: float | None,
        beta2: float,
        epsilon: float,
    ) -> dict[str, float]:
        """Of the keyword arguments of `rule` those that stay fixed through a run, but for the layout."""
        coupled = coupled_share(self.weight_decay_kind, coupled_fraction)
        decays = {
            "coupled_decay": coupled * weight_decay,
            "decoupled_decay": (1 - coupled) * weight_decay,
        }
        given = {"momentum": momentum, "beta2": beta2, "epsilon": epsilon}
        return decays | {name: value for name, value in given.items() if name in self.takes}


def coupled_share(kind: WeightDecayKind, coupled_fraction: float | None) -> float:
    """The share of the weight decay that goes into the gradient: 1, 0, or `coupled_fraction`."""
    if kind is WeightDecayKind.INTERPOLATED:
        if coupled_fraction is None or not 0 <= coupled_fraction <= 1:
            raise ValueError(f"coupled_fraction must lie in [0, 1], found {coupled_fraction}")
        return coupled_fraction
    return 1.0 if kind is WeightDecayKind.COUPLED else 0.0


_COUPLED, _DECOUPLED = WeightDecayKind.COUPLED, WeightDecayKind.DECOUPLED
_CAUTIOUS = WeightDecayKind.CAUTIOUS
_CONTROL = "a control: docs/beyond-the-paper.md"

OPTIMIZERS: dict[str, Optimizer] = {
    "SGD": Optimizer("SGD", directions.heavy_ball, _COUPLED, "#14532D", "Polyak 1964"),
    "SGDW": Optimizer("SGDW", directions.heavy_ball, _DECOUPLED, "#7BC47F", "Loshchilov & Hutter 2019"),
    "Adam": Optimizer("Adam", directions.adam, _COUPLED, "#0057B8", "Kingma & Ba 2015"),
    "AdamW": Optimizer("AdamW", directions.adam, _DECOUPLED, "#56B4E9", "Loshchilov & Hutter 2019"),
    "Signum": Optimizer("Signum", directions.signum, _COUPLED, "#C23B00", "Bernstein et al. 2018"),
    "SignumW": Optimizer("SignumW", directions.signum, _DECOUPLED, "#F5A73B", "the paper, section 3.1"),
    "AdamInterpolated": Optimizer(
        "Adam\u2013AdamW",
        directions.adam,
        WeightDecayKind.INTERPOLATED,
        "#AA3377",
        "the paper, section 3.4",
    ),
    "Lion": Optimizer("Lion", directions.lion, _COUPLED, "#8B1A1A", "Chen et al. 2023"),
    "LionW": Optimizer("LionW", directions.lion, _DECOUPLED, "#E07A7A", "Chen et al. 2023"),
    "Muon": Optimizer("Muon", orthogonal.muon, _COUPLED, "#4B0082", "Jordan 2024"),
    "MuonW": Optimizer("MuonW", orthogonal.muon, _DECOUPLED, "#9B6FD0", "Jordan 2024"),
    "MuonHidden": Optimizer("MuonHidden", orthogonal.muon_hidden, _COUPLED, "#7A1FA2", "Jordan 2024"),
    "MuonHiddenW": Optimizer("MuonHiddenW", orthogonal.muon_hidden, _DECOUPLED, "#CE93D8", "Jordan 2024"),
    "Shampoo": Optimizer(
        "Shampoo", preconditioned.shampoo, _COUPLED, "#5D4037", "Gupta et al. 2018", graphed=False
    ),
    "ShampooW": Optimizer(
        "ShampooW", preconditioned.shampoo, _DECOUPLED, "#B08968", "Gupta et al. 2018", graphed=False
    ),
    "SOAP": Optimizer("SOAP", preconditioned.soap, _COUPLED, "#006D77", "Vyas et al. 2024", graphed=False),
    "SOAPW": Optimizer(
        "SOAPW", preconditioned.soap, _DECOUPLED, "#3FC1C9", "Vyas et al. 2024", graphed=False
    ),
    "MARS": Optimizer("MARS", mars.mars, _COUPLED, "#AD1457", "Yuan et al. 2024"),
    "MARSW": Optimizer("MARSW", mars.mars, _DECOUPLED, "#F06292", "Yuan et al. 2024"),
    "MARSMuon": Optimizer("MARSMuon", orthogonal.mars_muon, _COUPLED, "#6B4E00", "Yuan et al. 2024"),
    "MARSMuonW": Optimizer("MARSMuonW", orthogonal.mars_muon, _DECOUPLED, "#C9A227", "Yuan et al. 2024"),
    "Adafactor": Optimizer("Adafactor", class_side.adafactor, _COUPLED, "#37474F", "Shazeer & Stern 2018"),
    "AdafactorW": Optimizer(
        "AdafactorW", class_side.adafactor, _DECOUPLED, "#90A4AE", "Shazeer & Stern 2018"
    ),
    "AdamShared": Optimizer("AdamShared", class_side.adam_shared, _COUPLED, "#1A237E", _CONTROL),
    "AdamSharedW": Optimizer("AdamSharedW", class_side.adam_shared, _DECOUPLED, "#7986CB", _CONTROL),
    "AdamCentredW": Optimizer("AdamCentredW", class_side.adam_centred, _DECOUPLED, "#00B0FF", _CONTROL),
    "SGDCautious": Optimizer("SGDCautious", directions.heavy_ball, _CAUTIOUS, "#A2B93C", "Chen et al. 2025"),
    "AdamCautious": Optimizer("AdamCautious", directions.adam, _CAUTIOUS, "#2E86C1", "Chen et al. 2025"),
    "MuonCautious": Optimizer("MuonCautious", orthogonal.muon, _CAUTIOUS, "#B39DDB", "Chen et al. 2025"),
}
