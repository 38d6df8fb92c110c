"""The settings of a run, and which of them go together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from collapse.datasets.registry import DATASETS
from collapse.study.parameters import ParameterError

# What determines a run's result, and its type; with the dataset's digest and PROTOCOL, a run's key.
SETTINGS: dict[str, type] = {
    "architecture": str,
    "width": float,
    "dataset": str,
    "image_size": int,
    "train_size": int,
    "augmentation": str,
    "optimizer": str,
    "learning_rate": float,
    "momentum": float,
    "weight_decay": float,
    "coupled_fraction": float,
    "beta2": float,
    "epsilon": float,
    "schedule": str,
    "epochs": int,
    "batch_size": int,
    "measure_every": int,
    "precision": str,
    "loss": str,
    "head": str,
    "feature_dimension": str,
    "feature_decay": float,
    "stem": str,
    "relu_layers": int,
    "linear_layers": int,
    "seed": int,
}
# What a run has that does not say so. With it the setting is no part of the run's key.
UNSAID: dict[str, Any] = {
    "loss": "cross_entropy",
    "head": "learned",
    "feature_dimension": "p",  # the architecture's own; K: as many as classes
    "feature_decay": None,  # weight decay acts on all parameters, and on no feature
    "stem": None,  # the architecture's own
    "relu_layers": None,
    "linear_layers": None,
}
OPTIONAL = ("coupled_fraction", "train_size", *UNSAID)  # nothing: no such setting; all training images
# The architectures that a setting of their form is for.
HAVE: dict[str, tuple[str, ...]] = {
    "feature_dimension": ("ResNet9", "ResNet18", "ResNet50"),
    "stem": ("ResNet18", "ResNet50"),
    "relu_layers": ("MLPTail", "ResNet20"),
    "linear_layers": ("MLPTail", "ResNet20"),
}
# Pixels a side. Here beside collapse.architectures' own, which cannot be read without torch.
SMALLEST_IMAGE = {
    "ResNet9": 8, "VGG9": 16, "MLP": 1, "UFM": 1, "ViT": 8, "ResNet50": 32, "ResNet18": 32,
    "MLPTail": 1, "ResNet20": 4,
}  # fmt: skip
# At width 1, to which they are proportional. An architecture that is not here is not checked in advance.
NUM_FEATURES = {
    "ResNet9": 512, "VGG9": 512, "MLP": 128, "UFM": 512, "ViT": 512, "ResNet50": 2048, "ResNet18": 512,
    "MLPTail": 512, "ResNet20": 512,
}  # fmt: skip


def said(run: Mapping[str, Any], names: Iterable[str] = UNSAID) -> dict[str, Any]:
    """Of these settings those in which a run is another than one that does not say them."""
    return {name: run[name] for name in names if name in run and run[name] != UNSAID[name]}


def require_possible(settings: Mapping[str, Any], *, where: str) -> None:
    """What no schema can say. Raises ParameterError."""
    dataset, architecture = DATASETS[settings["dataset"]], settings["architecture"]
    if settings["train_size"] > dataset.train_size:
        raise ParameterError(
            f"{where}: train_size {settings['train_size']} is more than the {dataset.train_size} "
            f"training images of {dataset.name}"
        )
    if settings["train_size"] != dataset.train_size and settings["train_size"] % dataset.num_classes:
        raise ParameterError(
            f"{where}: train_size {settings['train_size']} is not a multiple of the "
            f"{dataset.num_classes} classes of {dataset.name}"
        )
    if (64 * settings["width"]) % 1:
        raise ParameterError(f"{where}: width {settings['width']}: 64 * width must be a whole number")
    if settings["train_size"] < 2 * dataset.num_classes:
        raise ParameterError(f"{where}: train_size {settings['train_size']}: two a class are needed")
    if settings["batch_size"] > settings["train_size"]:
        raise ParameterError(
            f"{where}: batch_size {settings['batch_size']} is more than the {settings['train_size']} images "
            "that are trained on; choose at most as many"
        )
    if settings["batch_size"] == 1 or settings["train_size"] % settings["batch_size"] == 1:
        raise ParameterError(
            f"{where}: batch_size {settings['batch_size']} leaves a batch of one of "
            f"{settings['train_size']} images, which BatchNorm cannot train on; choose another"
        )
    if settings["image_size"] < SMALLEST_IMAGE[architecture]:
        raise ParameterError(
            f"{where}: image_size {settings['image_size']} is too small for {architecture}; "
            f"at least {SMALLEST_IMAGE[architecture]} is needed"
        )
    if architecture == "ViT" and settings["image_size"] % 4:
        raise ParameterError(
            f"{where}: image_size {settings['image_size']}: ViT needs a multiple of its patch size 4"
        )
    if (architecture == "UFM") != (dataset.name == "Indices"):
        raise ParameterError(f"{where}: architecture UFM and dataset Indices go together, and only so")
    if architecture == "UFM" and settings["train_size"] != dataset.train_size:
        raise ParameterError(f"{where}: train_size: UFM has a feature for every sample, {dataset.train_size}")
    known = ("none", "imagenet") if dataset.stays_on_disk else ("none", "crop_flip")
    if settings["augmentation"] not in known:
        raise ParameterError(
            f"{where}: augmentation {settings['augmentation']}: {dataset.name} can have {' or '.join(known)}"
        )
    if (settings["optimizer"] == "AdamInterpolated") != ("coupled_fraction" in settings):
        raise ParameterError(f"{where}: coupled_fraction goes with AdamInterpolated, and only with it")


def require_form(settings: Mapping[str, Any], *, where: str) -> None:
    """That the settings of a network's form are those of its architecture. Raises ParameterError."""
    architecture = settings["architecture"]
    for name, architectures in HAVE.items():
        if said(settings, [name]) and architecture not in architectures:
            raise ParameterError(
                f"{where}: {name}: {architecture} has no such setting; "
                f"it is for {' and '.join(architectures)}"
            )
    for name in ("relu_layers", "linear_layers"):
        if settings[name] is None and architecture in HAVE[name]:
            raise ParameterError(f"{where}: {name}: {architecture} needs it; say how many")
    if settings["feature_decay"] is not None and settings["weight_decay"] == 0:
        raise ParameterError(f"{where}: feature_decay needs a weight_decay of the last layer above 0")
    features, classes = features_of(settings), DATASETS[settings["dataset"]].num_classes
    if settings["head"] == "fixed_etf" and features is not None and features < classes:
        raise ParameterError(
            f"{where}: head fixed_etf needs as many features as the {classes} classes of "
            f"{settings['dataset']}; {architecture} has {features:g} at width {settings['width']}: "
            "choose a larger width"
        )


def features_of(settings: Mapping[str, Any]) -> float | None:
    """How many features the network of these settings ends in; none where that is not known in advance."""
    if settings["feature_dimension"] == "K":
        return DATASETS[settings["dataset"]].num_classes
    full = NUM_FEATURES.get(settings["architecture"])
    return None if full is None else full * settings["width"]
