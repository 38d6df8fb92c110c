"""`collapse.CollapseMetrics`: the metrics from features that come batch by batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from collapse.own_models.batches import class_labels
from collapse.own_models.errors import ModelError
from collapse.own_models.one_pass import ONE_PASS, OnePass, feature_rows, layer_in_float64
from collapse.own_models.result import Measurement, require_convention


class CollapseMetrics:
    """The metrics from features that a loop of one's own gives, with `update`, `compute` and `reset`.

        metric = collapse.CollapseMetrics(model.fc)
        for images, labels in loader:
            metric.update(backbone(images), labels)
        print(metric.compute())

    head: the last linear layer, whose input the features are. Its weights have to stay as they are from
    the first update to compute. Nothing is kept of a batch but sums in float64, a p x p matrix among them
    (`collapse.measure` needs none). Raises ModelError, in one line that names the remedy.
    """

    def __init__(self, head: nn.Linear, *, convention: str = "reported") -> None:
        require_convention(convention)
        if not isinstance(head, nn.Linear):
            raise ModelError(f"head is a {type(head).__name__}; the model's last nn.Linear is needed")
        self.head, self.convention = head, convention
        self.reset()

    def reset(self) -> None:
        """Forget all batches, and the weights they came with."""
        self._sums: OnePass | None = None

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor) -> None:
        """Add a batch of the training set: features B x p, labels B as integers or one-hot."""
        sums = self._sums_of_these_weights()
        sums.add(*self._checked(features, labels, name="update"))

    @torch.no_grad()
    def update_test(self, features: Tensor, labels: Tensor | None = None) -> None:
        """Add a batch of the test set, after all of the training set."""
        sums = self._sums_of_these_weights()
        sums.add_test(*self._checked(features, labels, name="update_test"))

    @torch.no_grad()
    def compute(self) -> Measurement:
        """The metrics of all batches since the last reset."""
        if self._sums is None:
            raise ModelError("no batch was given: call update(features, labels) first")
        statistics = self._sums.statistics(has_bias=self.head.bias is not None)
        return Measurement(statistics, convention=self.convention, notes=[ONE_PASS])

    def _sums_of_these_weights(self) -> OnePass:
        layer = layer_in_float64(self.head)
        if self._sums is None:
            self._sums = OnePass(layer)
        if not all(map(torch.equal, layer, self._sums.last_layer)):
            raise ModelError("the last layer's weights have changed between two batches; call reset first")
        return self._sums

    def _checked(self, features: Tensor, labels: Tensor | None, *, name: str) -> tuple[Tensor, Tensor | None]:
        rows_BD = feature_rows(torch.as_tensor(features), self.head.weight, name=name)
        if labels is None:
            return rows_BD, None
        sizes = {"num_samples": len(rows_BD), "num_classes": self.head.out_features}
        return rows_BD, class_labels(labels, **sizes, name=name).to(rows_BD.device)
