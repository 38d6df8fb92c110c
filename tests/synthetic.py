"""A made-up study in the schema of runs.parquet and history.parquet, shaped like a real one.

The numbers follow simple formulas with seeded noise: coupled decay lowers NC0 and NC3, decoupled
decay does so under SGD alone, strong decay diverges, SGD's slowest corner stays undertrained.
"""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd

from collapse.measuring.results import DEPTH_COLUMNS, MEASURES, RUN_COLUMNS
from collapse.optimizers import OPTIMIZERS as REGISTRY
from collapse.study.settings import UNSAID
from collapse.theory.keepers import RowSum, row_sum

SCRIPTS = Path(__file__).resolve().parents[1] / "workflow" / "scripts"
OPTIMIZERS = ("SGD", "SGDW", "Adam", "AdamW", "Signum", "SignumW")
MOMENTA = (0.0, 0.5, 0.7, 0.9, 0.95, 0.98)
COUPLED_DECAYS = (0.0, 0.00005, 0.0005, 0.005, 0.05, 0.5)
DECOUPLED_DECAYS = (0.0, 0.0005, 0.05, 0.5, 5.0, 10.0)
SEEDS = (3141, 1, 2, 3, 4)
INITIAL = {"NC0": 1.7538, "NC1": 7.0, "NC2": 0.80, "NC3": 1.414, "NC4": 0.3}
EPOCHS = (0, 1, 2, 5, 10, 20, 40, 66, 80, 100, 133, 150, 175, 200)
POINTS = ("block1", "block2", "residual1", "block3", "block4", "residual2", "head input")
SUM_OF_RATES = 34411.0  # of the schedule over 200 epochs of 469 steps, at rate 1


def load_script(path: str) -> ModuleType:
    """A figure or table script as a module, found by its path below workflow/scripts."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, SCRIPTS / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_study(*, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs of the experiments grid, momentum_heatmap and table_2, and the history of table_2's."""
    rng = np.random.default_rng(seed)
    rows = [_run(rng, "grid", *setting) for setting in _grid()]
    heatmap_decays = (0.0, 2.5e-5, 5e-5, 1e-4, 5e-4, 1e-3, 2.5e-3, 5e-3)
    for momentum in (0.0, 0.5, 0.7, 0.9, 0.95, 0.97, 0.98):
        for decay in heatmap_decays:
            rows.append(_run(rng, "momentum_heatmap", "SGD", 0.001, momentum, decay))
    for name in OPTIMIZERS:
        rate = 0.0679 if name.startswith("SGD") else 0.001
        rows.append(_run(rng, "table_2", name, rate, 0.9, 0.0005))
    runs = pd.DataFrame(rows)[list(RUN_COLUMNS)]
    chosen = runs[runs["experiment"] == "table_2"]
    history = [row for _, run in chosen.iterrows() for row in _history(rng, run)]
    return runs, pd.DataFrame(history)


def make_paper(*, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`make_study` and every other experiment of the paper, with the history of all but other grids."""
    rng = np.random.default_rng(seed)
    runs, _ = make_study(seed=seed)
    rows = [_run(rng, experiment, *setting, **others) for experiment, setting, others in _ablations()]
    for architecture in ("ResNet9", "VGG9"):
        for dataset in ("MNIST", "FashionMNIST", "CIFAR10"):
            if (architecture, dataset) != ("ResNet9", "FashionMNIST"):
                where = {"architecture": architecture, "dataset": dataset}
                rows += [_run(rng, "grid", *setting, **where) for setting in _grid()]
    runs = pd.concat([runs, pd.DataFrame(rows)[list(RUN_COLUMNS)].astype(runs.dtypes)], ignore_index=True)
    of_the_text = (runs["architecture"] == "ResNet9") & (runs["dataset"] == "FashionMNIST")
    logged = runs[(runs["experiment"] != "grid") | of_the_text]
    history = [row for _, run in logged.iterrows() for row in _history(rng, run)]
    return runs, pd.DataFrame(history)


def make_depth(runs: pd.DataFrame) -> pd.DataFrame:
    """The table depth of the runs of that experiment: AdamW collapses less than Adam, by a factor of 1.5."""
    rows = []
    for run in runs[runs["experiment"] == "depth"].drop_duplicates("key").to_dict("records"):
        for epoch, factor in ((0, 0.9), (run["epochs"], 0.6 if run["optimizer"] == "AdamW" else 0.4)):
            if epoch and run["status"] != "done":
                continue
            for view, (place, point) in itertools.product(("pooled", "whole"), enumerate(POINTS, start=1)):
                row = {"key": run["key"], "epoch": epoch, "view": view, "point": point, "depth": place}
                row |= {"num_features": 512, "NCC_train": 0.9, "NCC_test": 0.5 + 0.05 * place}
                row |= {
                    "within_over_between": 1.5 * factor ** (place if epoch else 1),
                    "NC1": 0.5,
                    "NC2": 0.5,
                }
                rows.append(row | {"numerical_rank": 100 - 10 * place, "stable_rank": 5.0})
    return pd.DataFrame(rows, columns=DEPTH_COLUMNS)


def _ablations():
    """Experiment, (optimizer, learning rate, momentum, weight decay), and the other settings."""
    yield "depth", ("MuonW", 0.003, 0.95, 0.0113), {}
    for name in OPTIMIZERS:
        yield "depth", (name, 0.0679 if name.startswith("SGD") else 0.001, 0.9, 0.0005), {}
    for momentum in (0.0, 0.5, 0.7, 0.9, 0.95, 0.97, 0.98):
        yield "momentum_dynamics", ("SGD", 0.001, momentum, 0.005), {}
    for fraction in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        others = {"dataset": "MNIST", "coupled_fraction": fraction}
        yield "interpolation", ("AdamInterpolated", 0.001, 0.9, 0.0005), others
    for momentum, epochs in [(b, 200) for b in (0.0, 0.7, 0.9, 0.95, 0.98)] + [(0.0, 2000), (0.98, 2000)]:
        yield "zero_weight_decay", ("SGD", 0.01, momentum, 0.0), {"epochs": epochs}
    yield "zero_weight_decay", ("SGD", 0.01, 0.9, 0.05), {}
    long = [("Adam", 0.0005, 0.9, decay) for decay in COUPLED_DECAYS]
    long += [("AdamW", 0.0005, 0.9, decay) for decay in DECOUPLED_DECAYS]
    corners = [(0.0, 0.0), (0.97, 5e-5), (0.0, 5e-4), (0.9, 5e-4), (0.9, 0.0), (0.95, 0.0025)]
    long += [("SGD", 0.001, *corner) for corner in corners]
    for setting, epochs in itertools.product(long, (200, 2000)):
        yield "long_training", setting, {"epochs": epochs}
    small = {"architecture": "MLP", "dataset": "Separable", "epochs": 2000, "train_size": 640}
    for name, decay in itertools.product(("SGD", "Adam", "AdamW", "Signum", "SignumW"), (5e-4, 1e-3, 5e-3)):
        yield "mlp", (name, 0.001, 0.0 if name.startswith("Signum") else 0.9, decay), small
    free = {"architecture": "UFM", "dataset": "Indices", "train_size": 10_000, "batch_size": 10_000}
    decays = (0.0, 1e-4, 5e-4, 1e-3, 5e-3, 0.05)
    for setting in itertools.product(("SGDW", "Adam", "AdamW"), (0.1, 0.3, 0.5, 1.0), (0.9,), decays):
        yield "ufm", setting, free
    for name in ("SGD", "Adam", "AdamW"):
        decays = (0, 1e-4, 0.05, 0.5, 1, 2, 4) if name == "AdamW" else (0, 1e-5, 1e-4, 5e-4, 1e-3, 0.05, 0.5)
        for momentum, decay in itertools.product((0.0, 0.8, 0.9, 0.95), decays):
            yield "vit", (name, 0.001, momentum, decay), {"architecture": "ViT", "dataset": "CIFAR10"}
    imagenet = {"architecture": "ResNet50", "dataset": "ImageNet", "epochs": 90}
    for setting in itertools.product(("Adam", "AdamW"), (0.0003,), (0.0, 0.5, 0.9), (0, 1e-5, 1e-4, 1e-3)):
        yield "imagenet", setting, imagenet
    for rate, momentum in ((0.01, 0.0), (0.005, 0.5), (0.003, 0.7), (0.001, 0.9), (5e-4, 0.95), (2e-4, 0.98)):
        for seed in SEEDS:
            yield "momentum_control", ("SGD", rate, momentum, 0.005), {"seed": seed}
    for rate, decay, epsilon in ((0.003, 0.0113, 1e-8), (0.003, 0.0113, 1e-4), (0.03, 0.00113, 0.01)):
        yield "epsilon", ("AdamW", rate, 0.9, decay), {"epsilon": epsilon}
    for seed, name in itertools.product(SEEDS, OPTIMIZERS):
        rate = 0.0679 if name.startswith("SGD") else 0.001
        yield "seeds", (name, rate, 0.9, 0.0005), {"seed": seed}

    for seed in (3141, 1, 2):
        for setting in optimizer_settings():
            yield "optimizers", setting, {"seed": seed}


def optimizer_settings():
    """Every optimizer but the interpolated and Signum's at two rates and decays, of equal eta lambda."""
    for name, entry in REGISTRY.items():
        rates = (0.0679,) if name.startswith("SGD") else (0.001, 0.005)
        products = (0, 3.395e-5) if entry.weight_decay_kind == "coupled" else (3.395e-5, 1e-4)
        if not name.startswith("Signum") and entry.weight_decay_kind != "interpolated":
            yield from ((name, rate, 0.9, product / rate) for rate in rates for product in products)


def alike(name: str) -> str:
    """The one of the six that an optimizer behaves like: SGD(W) where it keeps the row sum, else Adam(W)."""
    entry = REGISTRY[name]
    if name in OPTIMIZERS:
        return name
    keeps = row_sum(name) in (RowSum.KEPT, RowSum.ROUNDED) and entry.weight_decay_kind != "cautious"
    return ("SGD" if keeps else "Adam") + "W" * (entry.weight_decay_kind not in ("coupled", "interpolated"))


def fail(runs: pd.DataFrame, rows: pd.Series, *, status: str, reason: str) -> pd.DataFrame:
    """A copy of `runs` in which `rows` diverged or failed: no metric was measured."""
    changed = runs.copy()
    changed.loc[rows, ["status", "reason", "valid"]] = [status, reason, False]
    changed.loc[rows, [*MEASURES, "train_accuracy"]] = np.nan
    return changed


def undertrain(runs: pd.DataFrame, rows: pd.Series) -> pd.DataFrame:
    """A copy of `runs` in which `rows` ended below 99% training accuracy, metrics measured."""
    changed = runs.copy()
    changed.loc[rows, ["reason", "valid"]] = ["undertrained: train_accuracy 0.93", False]
    changed.loc[rows, "train_accuracy"] = 0.93
    return changed


def _grid():
    for name in OPTIMIZERS:
        rates = (0.001, 0.01, 0.0679) if name.startswith("SGD") else (0.001, 0.005, 0.01)
        decays = DECOUPLED_DECAYS if name in ("AdamW", "SignumW") else COUPLED_DECAYS
        for rate in rates:
            for momentum in MOMENTA:
                for decay in decays:
                    yield name, rate, momentum, decay


def _run(
    rng, experiment: str, name: str, rate: float, momentum: float, decay: float, **others: object
) -> dict:
    fraction, epochs = others.get("coupled_fraction", np.nan), others.get("epochs", 200)
    like = alike(name)
    closed_form = _closed_form(like, rate, momentum, decay, epochs / 200)
    coupled = decay * fraction if name == "AdamInterpolated" else decay
    nc0 = _nc0(rng, like, rate, coupled, closed_form)
    nc3 = float(np.clip(0.75 + 0.16 * np.log10(nc0) + rng.normal(0, 0.06), 0.08, 1.41))
    metrics = dict.fromkeys(MEASURES, 0.5) | {
        "NC0": nc0,
        "NC0_normalised": nc0 / 900,
        "NC1": float(np.exp(rng.normal(-3 + 1.5 * nc3, 0.4))),
        "NC2": float(np.clip(0.1 + 0.55 * nc3 + rng.normal(0, 0.05), 0.08, 1.15)),
        "NC3": nc3,
        "NC4": float(1 - abs(rng.normal(0, 0.001))),
        "gauge_share": nc0**2 / (nc0**2 + 20),
        "NC3_centred": 0.9 * nc3,
    }
    diverged = rate * decay / (1 - 0.5 * momentum) > 0.02 and name != "SGD"
    diverged = diverged or (name == "SGD" and rate * decay / (1 - momentum) > 0.05)
    undertrained = name.startswith("SGD") and rate == 0.001 and momentum == 0 and decay > 0.004
    status = "diverged" if diverged else "done"
    reason = "loss is not finite in epoch 1" if diverged else ""
    if undertrained and not diverged:
        reason = "undertrained: train_accuracy 0.9421"
    key = "-".join([experiment, name, f"{rate:g}-{momentum:g}-{decay:g}", *(str(v) for v in others.values())])
    return {
        **dict.fromkeys(RUN_COLUMNS),
        **(dict.fromkeys(MEASURES, np.nan) if diverged else metrics),
        **{f"{m}_init": INITIAL.get(m, 1.0) for m in MEASURES},
        **{"experiment": experiment, "key": key, "pack": f"{experiment}-{name}-{rate:g}"},
        **{"architecture": "ResNet9", "width": 1.0, "dataset": "FashionMNIST", "image_size": 32},
        **{"train_size": 60000, "augmentation": "none", "optimizer": name, "learning_rate": rate},
        **{"momentum": momentum, "weight_decay": decay, "coupled_fraction": fraction, "schedule": "thirds"},
        **UNSAID,
        **{"epochs": epochs, "batch_size": 128, "seed": 3141, "status": status, "reason": reason},
        **{"valid": not reason, "epochs_done": 1 if diverged else epochs, "seconds": 480.0},
        "train_accuracy": np.nan if diverged else (0.9421 if undertrained else 1.0),
        **{"test_accuracy": 0.92, "train_loss": 1e-4, "test_loss": 0.4},
        "NC0_closed_form": closed_form,
        **others,
    }


def _closed_form(name: str, rate: float, momentum: float, decay: float, share: float) -> float:
    """The continuous-time NC0 of SGD and SGDW after a share of training; NaN for the others."""
    if not name.startswith("SGD"):
        return np.nan
    speed = 1 / (1 - momentum) if name == "SGD" else 1.0
    return float(INITIAL["NC0"] * np.exp(-rate * decay * SUM_OF_RATES * share * speed))


def _nc0(rng, name: str, rate: float, decay: float, closed_form: float) -> float:
    noise = float(np.exp(rng.normal(0, 0.35)))
    base = {"Adam": 2.5, "AdamW": 5.0, "Signum": 8.0, "SignumW": 900.0}
    if name.startswith("SGD"):
        return max(closed_form, 1.5e-5 * noise)
    lowered = 1 + (decay / 1e-4) ** 0.6 if name in ("Adam", "Signum") else 1 + decay**0.5
    return base[name] * (rate / 0.001) ** 0.4 * noise / lowered


def _epochs(epochs: int) -> list[tuple[int, bool]]:
    """The logged epochs, and whether the features were measured there."""
    measured = (0, 5, 20, 66, 100, 133, 175, 200)
    return [(-(-epoch * epochs // 200), epoch in measured) for epoch in EPOCHS]


def _history(rng, run: pd.Series) -> list[dict]:
    rows = []
    for epoch, measured in _epochs(run["epochs"]):
        share = 1 - np.exp(-epoch / run["epochs"] * 8)
        row = {"key": run["key"], "epoch": epoch, "learning_rate": run["learning_rate"]}
        row |= {"measured": measured, "train_accuracy": min(1.0, 0.1 + share)}
        row |= {"running_loss": 2.3 * (1 - share) + 1e-4, "train_loss": 2.3 * (1 - share) + 1e-4}
        row |= {"test_loss": 0.4, "test_accuracy": 0.92 * share}
        for name in MEASURES:
            free = name in ("NC0", "NC0_normalised")
            start, end = run[f"{name}_init"], run[name]
            wiggle = np.exp(rng.normal(0, 0.03)) if epoch else 1.0
            value = start ** (1 - share) * end**share * wiggle
            row[name] = value if measured or free else np.nan
        row["NC0_closed_form"] = _closed_form(
            alike(run["optimizer"]),
            run["learning_rate"],
            run["momentum"],
            run["weight_decay"],
            share * run["epochs"] / 200,
        )
        if np.isfinite(row["NC0_closed_form"]):  # down to the floor of float32
            row["NC0"] = max(row["NC0_closed_form"], 1.5e-5) * (1 + rng.normal(0, 1e-6))
        scale = 1 + share * np.log1p(row["NC0"])
        spectrum = np.append(np.linspace(1.4, 0.9, 9) * scale, row["NC0"] / np.sqrt(10) / 1.4)
        row["singular_values_W"] = np.sort(spectrum)[::-1]
        means = np.append(np.linspace(9, 6, 9) * scale, 1e-7)
        row["singular_values_M"] = means if measured else None
        rows.append(row)
    return rows
