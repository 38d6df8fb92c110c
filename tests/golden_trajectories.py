"""Twenty float64 steps of every optimizer and architecture; stored by `python tests/golden_trajectories.py`.

Biases before a BatchNorm are left out: their gradient is zero but for rounding, whose sign Signum follows.
"""

import json
import tempfile
from pathlib import Path

import pytest
import torch

from collapse.architectures import ARCHITECTURES
from collapse.architectures.initialisation import initial_network
from collapse.datasets.loading import load_arrays
from collapse.datasets.prepared import save_prepared
from collapse.optimizers import OPTIMIZERS
from collapse.study.runs import PROTOCOL
from collapse.training.images import Images, load_images
from collapse.training.packs import TRAINING
from collapse.training.run import train_run

GOLDEN = Path(__file__).with_name("golden") / "trajectories.json"
RUN = {
    "width": 0.0625, "dataset": "Fake", "train_size": 300, "augmentation": "none", "momentum": 0.9,
    "weight_decay": 0.01, "beta2": 0.999, "epsilon": 1e-8, "schedule": "thirds", "epochs": 4,
    "batch_size": 64, "measure_every": 4, "precision": "float32", "seed": 3141,
}  # fmt: skip
# Every optimizer on ResNet9, those of the paper on every architecture.
OF_THE_PAPER = ("SGD", "SGDW", "Adam", "AdamW", "Signum", "SignumW", "AdamInterpolated")
CASES = [(a, o) for a in ARCHITECTURES for o in OPTIMIZERS if a == "ResNet9" or o in OF_THE_PAPER]


# VGG9 at the paper's size: at 16x16 its last blocks see one pixel, where a channel that no ReLU clips has a
# BatchNorm bias with a gradient of zero, and Signum follows the sign of its rounding.
TAIL = {"image_size": 8, "relu_layers": 2, "linear_layers": 3}
SETTINGS_OF = {
    "VGG9": {"image_size": 32},
    "UFM": {"dataset": "Indices", "train_size": 10_000, "batch_size": 2_000},
    "MLPTail": TAIL,
    "ResNet20": TAIL,
}


def trajectory(architecture: str, optimizer: str, folder: Path) -> dict[str, list[float]]:
    """Loss and NC0 an epoch, and a corner of W at the end, of 4 epochs of 5 steps."""
    run = RUN | {
        "architecture": architecture,
        "image_size": ARCHITECTURES[architecture].smallest_image_size,
        "optimizer": optimizer,
        "learning_rate": 0.05 if optimizer.startswith("SGD") else 0.003,
        "coupled_fraction": 0.5 if optimizer == "AdamInterpolated" else None,
    }
    run |= SETTINGS_OF.get(architecture, {})
    torch.set_num_threads(1)
    images = load_images(prepared_file(run["dataset"], folder), run, torch.device("cpu"))
    images = Images(*(t.double() if t.is_floating_point() else t for t in images))
    outcome = train_run(
        initial_network(run).double(), images, padding=None, progress=lambda epoch, loss: None,
        **{name: run[name] for name in TRAINING},
    )  # fmt: skip
    return {
        "loss": [row["running_loss"] for row in outcome.history[1:]],
        "NC0": [row["NC0"] for row in outcome.history],
        "W": outcome.weights["head.weight"][:2, :3].flatten().tolist(),
    }


def prepared_file(dataset: str, folder: Path) -> Path:
    """The dataset as rule prepare_dataset leaves it, written once."""
    path = folder / f"{dataset}.safetensors"
    if not path.exists():
        save_prepared(load_arrays(dataset, root="absent", cache=folder), path, dataset)
    return path


def require_golden(architecture: str, optimizer: str, folder: Path) -> None:
    """That training gives the stored numbers. Raises AssertionError."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert golden["protocol"] == PROTOCOL, f"PROTOCOL was raised: store new numbers (python {__file__})"
    found = trajectory(architecture, optimizer, folder)
    stored = golden["trajectories"].get(f"{architecture} {optimizer}")
    assert stored, f"no trajectory of {architecture} {optimizer} is stored: python {__file__} adds it"
    for name, numbers in stored.items():
        assert found[name] == pytest.approx(numbers, rel=1e-7), (
            f"{architecture} {optimizer} trains differently ({name}): if that is meant, raise protocol"
        )


def write_golden() -> None:
    """Store what training gives now: all of it where PROTOCOL was raised, else what is not stored yet."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    stored = golden["trajectories"] if golden["protocol"] == PROTOCOL else {}
    with tempfile.TemporaryDirectory() as folder:
        found = {f"{a} {o}": stored.get(f"{a} {o}") or trajectory(a, o, Path(folder)) for a, o in CASES}
    text = json.dumps({"protocol": PROTOCOL, "trajectories": found}, indent=1)
    GOLDEN.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_golden()
