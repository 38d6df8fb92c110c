"""What is seen of a network at one moment: its fit and its class statistics."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional

from collapse.architectures.network import Body, Network
from collapse.datasets.image_folder import FolderImages
from collapse.metrics.class_statistics import ClassStatistics, class_statistics
from collapse.training.images import Images
from collapse.training.losses import Criterion

EVALUATION_BATCH = 1000
FUSED_BATCH = 2500  # by fused kernels: 1,000 images take a GPU no longer than launching what they need


class Diverged(ArithmeticError):
    """The loss, the weights or the features are no longer finite numbers."""


def require_finite(loss: float, values: Tensor) -> None:
    """Raises Diverged when the loss or a weight is infinite or not a number."""
    if not math.isfinite(loss):
        raise Diverged("loss is not finite")
    if not values.isfinite().all():
        raise Diverged("weights are not finite")


@torch.no_grad()
def evaluate(
    network: Network,
    images: Tensor | FolderImages,
    labels: Tensor,
    *,
    criterion: Criterion = functional.cross_entropy,
    body: Body | None = None,
) -> tuple[Tensor, float, float]:
    """Features (N, p), mean loss and accuracy in eval mode. Raises Diverged.

    body: what computes the features in the place of the network's own body.
    All features are on the device at once, but never twice: ResNet50's of ImageNet are 10.5 GB.
    """
    network.eval()
    size = FUSED_BATCH if body else EVALUATION_BATCH
    batches = (network.features(batch, body=body) for batch in images.split(size))
    features = gathered(batches, num_samples=len(labels))
    if not features.isfinite().all():
        raise Diverged("features are not finite")
    logits = network.head(features)
    loss = criterion(logits, labels).item()
    if not math.isfinite(loss):
        raise Diverged("loss in evaluation is not finite")
    accuracy = (logits.argmax(1) == labels).double().mean().item()
    return features, loss, accuracy


def gathered(batches: Iterable[Tensor], *, num_samples: int) -> Tensor:
    """All batches below each other, as torch.cat has them; each is gone when the next one is made."""
    features, end = None, 0
    for batch in batches:
        if features is None:
            features = batch.new_empty(num_samples, *batch.shape[1:])
        start, end = end, end + len(batch)
        features[start:end] = batch
        del batch
    return features


def statistics_of(
    network: Network,
    images: Images,
    *,
    criterion: Criterion = functional.cross_entropy,
    body: Body | None = None,
) -> tuple[ClassStatistics, dict[str, float]]:
    """Class statistics, and loss and accuracy on both sets, from one pass over the data.

    As in the paper, NC1 to NC3 see the training set in eval mode, NC4 the test set. Raises Diverged.
    """
    means = {"criterion": criterion, "body": body}
    features, train_loss, train_accuracy = evaluate(
        network, images.train_images, images.train_labels, **means
    )
    test_features, test_loss, test_accuracy = evaluate(
        network, images.test_images, images.test_labels, **means
    )
    statistics = class_statistics(
        features_ND=features,
        labels_N=images.train_labels,
        weight_KD=network.head.weight.detach(),
        bias_K=None if network.head.bias is None else network.head.bias.detach(),
        test_features=test_features,
        test_labels=images.test_labels,
    )
    return statistics, {
        "train_loss": train_loss,
        "train_accuracy": train_accuracy,
        "test_loss": test_loss,
        "test_accuracy": test_accuracy,
    }
