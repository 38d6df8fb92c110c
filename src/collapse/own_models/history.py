"""`collapse.CollapseHistory`: what a training loop of one's own calls after every epoch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from collapse.metrics.conventions import metrics_of_weights
from collapse.metrics.neural_collapse import singular_values_M
from collapse.own_models.batches import is_repeatable, split_batch
from collapse.own_models.errors import ModelError
from collapse.own_models.features import Features, unwrapped
from collapse.own_models.measuring import measure
from collapse.own_models.result import require_convention
from collapse.own_models.undisturbed import undisturbed
from collapse.study.schedules import is_measured
from collapse.training.head import head_metrics

if TYPE_CHECKING:
    import pandas as pd


def usual_epochs(epoch: int) -> bool:
    """0, 1, 2, 4, 8 and every tenth, as in the project's own studies."""
    return is_measured(epoch, epochs=-1, measure_every=10)


class CollapseHistory:
    """A row of metrics an epoch, from a training loop of one's own.

        history = collapse.CollapseHistory(model, train_loader, test_loader)
        history(0)
        for epoch in range(1, epochs + 1):
            train(...)
            history(epoch)
        history.to_frame()

    NC0 and the singular values of W stand in every row: the weights alone tell them, in no time. The rest
    takes two passes over train_loader, in the epochs that `at` has or says. The training goes on as if nobody
    had looked. Arguments else as of `collapse.measure`; raises ModelError.
    """

    def __init__(
        self,
        model: nn.Module,
        train_loader: Iterable[Any],
        test_loader: Iterable[Any] | None = None,
        *,
        head: str | None = None,
        device: torch.device | str | None = None,
        convention: str = "reported",
        at: Collection[int] | Callable[[int], bool] = usual_epochs,
    ) -> None:
        require_convention(convention)
        for name, loader in (("train_loader", train_loader), ("test_loader", test_loader)):
            if loader is not None and not is_repeatable(loader):
                raise ModelError(
                    f"{name} can be gone through once; every epoch that is measured needs it anew"
                )
        self.model, self.loaders = unwrapped(model), (train_loader, test_loader)
        self.device, self.convention = device, convention
        self.is_due = at if callable(at) else at.__contains__
        self.head = last_linear(self.model, train_loader, head=head, device=device)
        self.rows: list[dict[str, Any]] = []

    def __call__(self, epoch: int, *, measured: bool | None = None) -> dict[str, Any]:
        """Add the epoch's row and return it, to be logged. measured: whether the features are looked at."""
        layer = self.model.get_submodule(self.head)
        weight_KD = layer.weight.detach().double().cpu().numpy()
        row = {"epoch": epoch} | head_metrics(layer)
        row |= metrics_of_weights(weight_KD, convention=self.convention)
        if self.is_due(epoch) if measured is None else measured:
            row |= self._of_features()
        self.rows.append(row)
        return row

    def _of_features(self) -> dict[str, Any]:
        found = measure(
            self.model, *self.loaders, head=self.head, device=self.device, convention=self.convention
        )
        statistics = found.statistics
        return dict(found) | {
            "train_accuracy": statistics.accuracy_train,
            "test_accuracy": statistics.accuracy_test,
            "singular_values_M": singular_values_M(statistics).tolist(),
        }

    def to_frame(self) -> pd.DataFrame:
        """A row an epoch; NaN where the features were not looked at."""
        import pandas as pd

        return pd.DataFrame(self.rows)


def last_linear(
    model: nn.Module, loader: Iterable[Any], *, head: str | None, device: torch.device | str | None
) -> str:
    """The name of the layer that measure takes, seen on the loader's first batch. Raises ModelError."""
    if head is not None:
        return Features(model, head).name
    with undisturbed(model, device=device, loaders=[loader]):
        for batch in loader:
            return Features(model, None).last_to_run(split_batch(batch, name="train_loader"))
    raise ModelError("train_loader gives no batch")
