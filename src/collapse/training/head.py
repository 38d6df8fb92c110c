"""What the last layer alone tells; apart from collapse.training.evaluation, so that extraction reaches no
metric.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from collapse.metrics.neural_collapse import nc0, nc0_normalised, singular_values


def head_metrics(head: nn.Linear) -> dict[str, Any]:
    """What the weights of the last layer tell without features: NC0, and the singular values of W."""
    weight_KD = head.weight.detach().double().cpu().numpy()
    return {
        "NC0": nc0(weight_KD),
        "NC0_normalised": nc0_normalised(weight_KD),
        "singular_values_W": singular_values(weight_KD).tolist(),
    }
