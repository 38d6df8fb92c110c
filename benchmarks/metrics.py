"""Class statistics and all collapse metrics of features in memory, against the way they are usually computed.

    python benchmarks/metrics.py [--samples 60000] [--features 512] [--rounds 5]

The usual way is what public code of the field does: two passes in batches, the p x p within-class
covariance, and a pseudo-inverse of the between-class one. In float64 it is timed and compared as a
reference; in float32, as it is run on a GPU, its NC1 shows what is lost when the class means are nearly
of rank one. All on one thread.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
import torch
from alternating import compared, record, seconds_in_turn, spread
from torch import Tensor

from collapse.metrics.class_statistics import class_statistics
from collapse.metrics.conventions import measure_all

CLASSES, BATCH = 10, 128


def made_features(kind: str, *, samples: int, features: int, dtype: torch.dtype = torch.float32):
    """Features, labels and a last layer: ordinary, shifted far from 0, collapsed, or nearly of rank one."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    labels = torch.arange(samples) % CLASSES
    means, noise, shift = normal(CLASSES, features), 1.0, 0.0
    if kind == "shifted":
        shift = 100.0
    elif kind == "collapsed":
        noise = 1e-3
    elif kind == "nearly rank one":
        left, _, right = torch.linalg.svd(means - means.mean(0), full_matrices=False)
        means = left * torch.cat([torch.ones(1), torch.full((CLASSES - 1,), 1e-3)]) @ right * 10
        noise = 1e-3
    made = means[labels] + noise * normal(samples, features) + shift
    return made.to(dtype), labels, (0.1 * normal(CLASSES, features)).to(dtype)


def ours(features: Tensor, labels: Tensor, weight: Tensor) -> dict[str, float]:
    """The project's own: two sweeps in float64, nothing of size p x p."""
    statistics = class_statistics(
        features_ND=features, labels_N=labels, weight_KD=weight, bias_K=None, test_features=None,
        test_labels=None,
    )  # fmt: skip
    return measure_all(statistics, convention="reported")


def usual(features: Tensor, labels: Tensor, weight: Tensor) -> dict[str, float]:
    """NC1, NC2 and NC3 as reported, by batches, covariance and pseudo-inverse."""
    batches = list(zip(features.split(BATCH), labels.split(BATCH), strict=True))
    sums, counts = torch.zeros_like(weight), torch.zeros(CLASSES, dtype=weight.dtype)
    for batch, its in batches:
        for k in range(CLASSES):
            sums[k] += batch[its == k].sum(0)
            counts[k] += (its == k).sum()
    means = sums / counts[:, None]
    within = torch.zeros(features.shape[1], features.shape[1], dtype=weight.dtype)
    for batch, its in batches:
        for k in range(CLASSES):
            deviations = batch[its == k] - means[k]
            within += deviations.T @ deviations
    centred = means - means.mean(0)
    between = centred.T @ centred / CLASSES
    gram = centred @ centred.T
    etf = (torch.eye(CLASSES, dtype=weight.dtype) - 1 / CLASSES) / (CLASSES - 1) ** 0.5
    return {
        "NC1": (torch.trace(within / len(features) @ torch.linalg.pinv(between)) / CLASSES).item(),
        "NC2": torch.linalg.norm(gram / torch.linalg.norm(gram) - etf).item(),
        "NC3": torch.linalg.norm(
            weight / torch.linalg.norm(weight) - centred / torch.linalg.norm(centred)
        ).item(),
    }


def deviations(kind: str, *, samples: int, features: int) -> list[dict[str, object]]:
    """How far each way's NC1, NC2 and NC3 are from the usual way's in float64 with the explicit rank."""
    data = made_features(kind, samples=samples, features=features, dtype=torch.float64)
    gold = usual_of_known_rank(*data)
    single = tuple(x.float() if x.is_floating_point() else x for x in data)
    found = {"ours": ours(*data), "usual, float64": usual(*data), "usual, float32": usual(*single)}
    rows = []
    for case, values in found.items():
        worst = max(abs(values[name] - gold[name]) / abs(gold[name]) for name in gold)
        what = {"quantity": f"largest relative deviation, {kind}", "unit": "1"}
        rows.append(spread(pd.Series([worst]), benchmark="metrics", case=case, **what))
    return rows


def usual_of_known_rank(features: Tensor, labels: Tensor, weight: Tensor) -> dict[str, float]:
    """The usual way in NumPy's float64, its pseudo-inverse from the K - 1 largest singular values."""
    x, y, w = features.numpy(), labels.numpy(), weight.numpy()
    means = np.stack([x[y == k].mean(0) for k in range(CLASSES)])
    centred = means - means.mean(0)
    _, sizes, right = np.linalg.svd(centred, full_matrices=False)
    projected = (x - means[y]) @ right[: CLASSES - 1].T / (sizes[: CLASSES - 1] / CLASSES**0.5)
    gram = centred @ centred.T
    etf = (np.eye(CLASSES) - 1 / CLASSES) / (CLASSES - 1) ** 0.5
    return {
        "NC1": (projected**2).sum() / len(x) / CLASSES,
        "NC2": np.linalg.norm(gram / np.linalg.norm(gram) - etf),
        "NC3": np.linalg.norm(w / np.linalg.norm(w) - centred / np.linalg.norm(centred)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=60_000, help="N; default: %(default)s")
    parser.add_argument("--features", type=int, default=512, help="p; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    size = {"samples": chosen.samples, "features": chosen.features}
    rows = []
    for kind in ("ordinary", "shifted", "collapsed", "nearly rank one"):
        rows += deviations(kind, **size)
    double = made_features("ordinary", **size, dtype=torch.float64)
    single = made_features("ordinary", **size)
    seconds = seconds_in_turn(
        {
            "usual, float64": lambda: usual(*double),
            "ours": lambda: ours(*double),
            "ours, float32 features": lambda: ours(*single),
        },
        rounds=chosen.rounds,
    )
    record(pd.concat([pd.DataFrame(rows), compared(seconds, benchmark="metrics", usual="usual, float64")]))


if __name__ == "__main__":
    main()
