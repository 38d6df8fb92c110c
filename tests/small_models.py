"""Small networks, data and loaders for the tests of one's own models."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from collapse.metrics.class_statistics import class_statistics


def data(num_samples=300, *, width=12, num_classes=5, counts=None, seed=0):
    """Inputs about a mean of their class, and labels, shuffled."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.tensor(counts or [num_samples // num_classes] * num_classes)
    labels = torch.arange(len(counts)).repeat_interleave(counts)
    labels = labels[torch.randperm(len(labels), generator=generator)]
    centres = torch.randn(len(counts), width, generator=torch.Generator().manual_seed(99))
    return centres[labels] + 0.5 * torch.randn(len(labels), width, generator=generator), labels


def mlp(*, width=12, features=16, num_classes=5, bias=True, seed=0):
    """A body with what behaves otherwise in training, and a head."""
    torch.manual_seed(seed)
    body = [nn.Linear(width, features), nn.BatchNorm1d(features), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*body, nn.Linear(features, num_classes, bias=bias))


def loader(inputs, labels, *, batch_size=64, **settings):
    return DataLoader(TensorDataset(inputs, labels), batch_size=batch_size, **settings)


@torch.no_grad()
def statistics_of(body, head, train, test=None):
    """Of all features at once: what every way through batches has to give."""
    body.eval()
    dtype = head.weight.dtype
    features, test_features = (
        None if each is None else body(each[0].to(dtype)).flatten(1) for each in (train, test)
    )
    return class_statistics(
        features_ND=features, labels_N=train[1], weight_KD=head.weight,
        bias_K=head.bias, test_features=test_features, test_labels=None if test is None else test[1],
        extended=True,
    )  # fmt: skip
