"""A made-up study in the schema of runs.parquet and history.parquet, shaped like a real one.

The numbers follow simple formulas with seeded noise: coupled decay lowers NC0 and NC3, decoupled
decay does so under SGD alone, strong decay diverges, SGD's slowest corner stays undertrained.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd

from collapse.results import MEASURES, RUN_COLUMNS

SCRIPTS = Path(__file__).resolve().parents[1] / "workflow" / "scripts"
OPTIMIZERS = ("SGD", "SGDW", "Adam", "AdamW", "Signum", "SignumW")
MOMENTA = (0.0, 0.5, 0.7, 0.9, 0.95, 0.98)
COUPLED_DECAYS = (0.0, 0.00005, 0.0005, 0.005, 0.05, 0.5)
DECOUPLED_DECAYS = (0.0, 0.0005, 0.05, 0.5, 5.0, 10.0)
INITIAL = {"NC0": 1.7538, "NC1": 7.0, "NC2": 0.80, "NC3": 1.414, "NC4": 0.3}
EPOCHS = (0, 1, 2, 5, 10, 20, 40, 66, 80, 100, 133, 150, 175, 200)
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


def _run(rng, experiment: str, name: str, rate: float, momentum: float, decay: float) -> dict:
    closed_form = _closed_form(name, rate, momentum, decay, 1.0)
    nc0 = _nc0(rng, name, rate, decay, closed_form)
    nc3 = float(np.clip(0.75 + 0.16 * np.log10(nc0) + rng.normal(0, 0.06), 0.08, 1.41))
    metrics = dict.fromkeys(MEASURES, 0.5) | {
        "NC0": nc0,
        "NC0_normalised": nc0 / 900,
        "NC1": float(np.exp(rng.normal(-3 + 1.5 * nc3, 0.4))),
        "NC2": float(np.clip(0.1 + 0.55 * nc3 + rng.normal(0, 0.05), 0.08, 1.15)),
        "NC3": nc3,
        "NC4": float(1 - abs(rng.normal(0, 0.001))),
    }
    diverged = rate * decay / (1 - 0.5 * momentum) > 0.02 and name != "SGD"
    diverged = diverged or (name == "SGD" and rate * decay / (1 - momentum) > 0.05)
    undertrained = name.startswith("SGD") and rate == 0.001 and momentum == 0 and decay > 0.004
    status = "diverged" if diverged else "done"
    reason = "loss is not finite in epoch 1" if diverged else ""
    if undertrained and not diverged:
        reason = "undertrained: train_accuracy 0.9421"
    key = f"{experiment}-{name}-{rate:g}-{momentum:g}-{decay:g}"
    return {
        **dict.fromkeys(RUN_COLUMNS),
        **(dict.fromkeys(MEASURES, np.nan) if diverged else metrics),
        **{f"{m}_init": INITIAL.get(m, 1.0) for m in MEASURES},
        **{"experiment": experiment, "key": key, "pack": f"{experiment}-{name}-{rate:g}"},
        **{"architecture": "ResNet9", "width": 1.0, "dataset": "FashionMNIST", "image_size": 32},
        **{"train_size": 60000, "augmentation": "none", "optimizer": name, "learning_rate": rate},
        **{"momentum": momentum, "weight_decay": decay, "coupled_fraction": np.nan},
        **{"epochs": 200, "batch_size": 128, "seed": 3141, "status": status, "reason": reason},
        **{"valid": not reason, "epochs_done": 1 if diverged else 200, "seconds": 480.0},
        "train_accuracy": np.nan if diverged else (0.9421 if undertrained else 1.0),
        **{"test_accuracy": 0.92, "train_loss": 1e-4, "test_loss": 0.4},
        "NC0_closed_form": closed_form,
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


def _history(rng, run: pd.Series) -> list[dict]:
    rows = []
    for epoch in EPOCHS:
        share = 1 - np.exp(-epoch / 25)
        measured = epoch in (0, 1, 5, 20, 66, 100, 133, 175, 200)
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
            run["optimizer"], run["learning_rate"], run["momentum"], run["weight_decay"], share
        )
        scale = 1 + share * np.log1p(row["NC0"])
        spectrum = np.append(np.linspace(1.4, 0.9, 9) * scale, row["NC0"] / np.sqrt(10) / 1.4)
        row["singular_values_W"] = np.sort(spectrum)[::-1]
        means = np.append(np.linspace(9, 6, 9) * scale, 1e-7)
        row["singular_values_M"] = means if measured else None
        rows.append(row)
    return rows
