"""What a measurement is: the metrics by name, with the class statistics that they are made of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from collapse.metrics import conventions, further
from collapse.metrics import neural_collapse as reported
from collapse.metrics.at_collapse import has_simplex, values_at_collapse
from collapse.metrics.conventions import CONVENTIONS, measure_all
from collapse.metrics.neural_collapse import DIAGNOSTICS, Metric
from collapse.metrics.scale import MOST_SCATTERED
from collapse.own_models.errors import ModelError

if TYPE_CHECKING:
    import pandas as pd

    from collapse.metrics.class_statistics import ClassStatistics

OF_DIRECTIONS = frozenset(  # infinite where one is lost
    {
        *(reported.nc1, reported.condition_number, conventions.papyan_nc1, conventions.zhu_nc1),
        *(conventions.cdnv, further.nc1_test, further.gnc2),
    }
)
NARROW = f"of {MOST_SCATTERED} dimensions at most"


class Measurement(Mapping[str, float]):
    """The metrics of one convention, as a mapping that prints as a table.

    statistics: the class statistics. head: the last layer's name. notes: what a reader has to know.
    """

    def __init__(
        self, statistics: ClassStatistics, *, convention: str, head: str = "", notes: Sequence[str] = ()
    ) -> None:
        require_convention(convention)
        self.statistics, self.convention, self.head = statistics, convention, head
        self.notes = [*notes, *size_notes(statistics)]
        with np.errstate(over="ignore", invalid="ignore"):  # said in the reasons, in words
            self._values = measure_all(statistics, convention=convention)
        self._own_notes = tuple(notes)

    def __getitem__(self, name: str) -> float:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def under(self, convention: str) -> Measurement:
        """The same measurement in another paper's definitions. Raises ModelError for an unknown one."""
        return Measurement(self.statistics, convention=convention, head=self.head, notes=self._own_notes)

    def at_collapse(self) -> dict[str, float]:
        """The values at perfect collapse, or the best attainable ones; NaN where no closed form is known."""
        sizes = {"num_classes": self.statistics.num_classes, "num_features": self.statistics.num_features}
        return values_at_collapse(convention=self.convention, **sizes)

    def reasons(self) -> dict[str, str]:
        """Why a metric is not a finite number, of those that are not."""
        metrics = CONVENTIONS[self.convention] | DIAGNOSTICS
        return {
            name: reason(metrics[name], value, self.statistics)
            for name, value in self.items()
            if not math.isfinite(value)
        }

    def to_frame(self) -> pd.DataFrame:
        """A row a metric: value, at_collapse, meaning."""
        import pandas as pd

        rows = {
            "value": self._values,
            "at_collapse": self.at_collapse(),
            "meaning": meanings(self.convention),
        }
        return pd.DataFrame(rows).rename_axis("metric")

    def table(self) -> str:
        """Name, value and value at collapse of every metric, in columns."""
        limit = "at perfect collapse" if has_simplex(*self.statistics.weight_KD.shape) else "best attainable"
        rows = [("metric", self.convention, limit)]
        best = self.at_collapse()
        rows += [(name, f"{value:.6g}", known(best[name])) for name, value in self.items()]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        return "\n".join(
            f"{name:<{widths[0]}}  {value:>{widths[1]}}  {limit:>{widths[2]}}" for name, value, limit in rows
        )

    def __str__(self) -> str:
        reasons = [f"{name}: {words}" for name, words in self.reasons().items()]
        return "\n".join([self.table(), *self.notes, *reasons])

    __repr__ = __str__


def require_convention(convention: str) -> None:
    """That there is such a convention. Raises ModelError."""
    if convention not in CONVENTIONS:
        raise ModelError(f"unknown convention {convention!r}; one of {', '.join(CONVENTIONS)}")


def meanings(convention: str) -> dict[str, str]:
    """Each metric in a line: the first of its docstring."""
    metrics = CONVENTIONS[convention] | DIAGNOSTICS
    return {name: meaning(metric) for name, metric in metrics.items()}


def meaning(metric: Metric) -> str:
    """The first line of a metric's docstring."""
    return (metric.__doc__ or "").partition("\n")[0]


def known(value: float) -> str:
    """A value at collapse for the eye: a dash where no closed form is known."""
    return "–" if math.isnan(value) else f"{value:.6g}"


def size_notes(statistics: ClassStatistics) -> list[str]:
    """That more classes than a simplex can have cannot collapse to one."""
    num_classes, num_features = statistics.weight_KD.shape
    if has_simplex(num_classes, num_features):
        return []
    return [
        f"K = {num_classes} > p + 1 = {num_features + 1}: no simplex has so many vertices in {num_features} "
        "dimensions, and its values cannot be reached; the last column has the best attainable of each "
        "metric (generalised neural collapse), – where none is known in closed form"
    ]


def reason(metric: Metric, value: float, statistics: ClassStatistics) -> str:
    """Why a metric is not a finite number."""
    if lacking := what_lacks(metric, statistics):
        return f"not measured, it needs {lacking}"
    if math.isinf(value) and metric in OF_DIRECTIONS:
        return "infinite, the centred class means do not span all their directions"
    return "undefined (0/0 or overflow): zero weights, coinciding weight rows or class means, or huge values"


def what_lacks(metric: Metric, statistics: ClassStatistics) -> str:
    """What a metric needs that was not seen; nothing where it was."""
    equal_sizes = np.ptp(statistics.counts_K) == 0
    needed = {
        reported.nc4: (statistics.agreement_test, "test_features, a test set"),
        conventions.papyan_nc4: (statistics.mismatch_train, "a second pass over the training set"),
        further.nc1_test: (
            statistics.test_centred_means_KD,
            f"a labelled test set with two samples of each class, {NARROW}",
        ),
        further.vci: (statistics.within_alone_RR, f"extended class statistics, {NARROW}"),
        conventions.zhu_nc1: (0.0 if equal_sizes else statistics.within_RR, "extended class statistics"),
        further.gnc3: (statistics.unit_means_KD, "extended class statistics"),
    }
    found, words = needed.get(metric, (0.0, ""))
    return words if found is None or (isinstance(found, float) and math.isnan(found)) else ""
