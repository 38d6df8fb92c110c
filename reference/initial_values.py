"""Measures the untrained network of table 2 in eval mode and in training mode: reference/initial_values.csv.

    COLLAPSE_DATA=~/datasets python reference/initial_values.py       (a quarter of an hour on two cores)

The changes that the paper prints imply its initial values. They are those of training mode, where BatchNorm
normalises by the statistics of a batch (DEVIATIONS.md).
"""

import csv
from pathlib import Path

import torch

from collapse.architectures.initialisation import initial_network
from collapse.datasets import data_root
from collapse.datasets.loading import load_arrays
from collapse.datasets.preprocessing import preprocess
from collapse.metrics.class_statistics import class_statistics
from collapse.metrics.neural_collapse import METRICS
from collapse.study.parameters import PROJECT_ROOT, load_parameters
from collapse.study.runs import records, run_table
from collapse.training.run import minibatches

SHOWN = ("NC0", "NC1", "NC2", "NC3")


@torch.no_grad()
def initial_values(images: torch.Tensor, labels: torch.Tensor, run: dict, *, training: bool) -> dict:
    """NC0 to NC3 of the network of `run` before its first step, over all images in batches as in training."""
    network = initial_network(run).train(training)
    batches = list(minibatches(len(labels), batch_size=run["batch_size"], seed=run["seed"], epoch=0))
    features = torch.cat([network.features(images[indices]) for indices in batches])
    head = network.head
    statistics = class_statistics(
        features_ND=features, labels_N=labels[torch.cat(batches)], weight_KD=head.weight, bias_K=head.bias,
        test_features=None, test_labels=None,
    )  # fmt: skip
    return {name: METRICS[name](statistics) for name in SHOWN}


def main() -> None:
    parameters = load_parameters(PROJECT_ROOT / "params.yaml")
    table = run_table(parameters, "core")
    run = records(table[table.experiment == "table_2"])[0]
    arrays = load_arrays(run["dataset"], root=data_root(parameters["data_root"]), cache="data")
    images = preprocess(arrays["train_images"], dataset=run["dataset"], image_size=run["image_size"])
    rows = [
        {"mode": mode, "images": len(images), "batch_size": run["batch_size"], "torch": torch.__version__}
        | initial_values(images, arrays["train_labels"], run, training=mode == "training")
        for mode in ("eval", "training")
    ]
    with Path(__file__).with_suffix(".csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
