"""`collapse measure FILE`: its table, its JSON, and one line for every bad file."""

import argparse
import json
import math
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from collapse.commands import options
from collapse.commands.measure import run
from collapse.metrics.class_statistics import class_statistics
from collapse.metrics.conventions import CONVENTIONS, measure_all

K, D, SAMPLES = 4, 6, 40


def arrays():
    rng = np.random.default_rng(0)
    means, labels = 2 * rng.normal(size=(K, D)), np.arange(SAMPLES) % K
    return {
        "features": (means[labels] + rng.normal(size=(SAMPLES, D))).astype(np.float32),
        "labels": labels,
        "weight": (means + rng.normal(size=(K, D))).astype(np.float32),
        "bias": rng.normal(size=K).astype(np.float32),
        "test_features": (means[labels] + 2 * rng.normal(size=(SAMPLES, D))).astype(np.float32),
        "test_labels": labels,
    }


def expected(data, convention="reported"):
    statistics = class_statistics(
        features_ND=data["features"],
        labels_N=data["labels"],
        weight_KD=data["weight"],
        bias_K=data.get("bias"),
        test_features=data.get("test_features"),
        test_labels=data.get("test_labels"),
        extended=True,
    )
    return measure_all(statistics, convention=convention)


def measure(*words):
    parser = argparse.ArgumentParser()
    options.measure(parser)
    return run(parser.parse_args([str(word) for word in words]))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.npz"
    np.savez(path, **arrays())
    return path


def test_the_table_has_name_value_and_value_at_collapse(file, capsys):
    assert measure(file) == 0
    out, err = capsys.readouterr()
    header, *lines = out.splitlines()
    assert header.split(maxsplit=2) == ["metric", "reported", "at perfect collapse"]
    assert len({len(line) for line in (header, *lines)}) == 1
    rows = {name: (float(value), float(limit)) for name, value, limit in map(str.split, lines)}
    for name, value in expected(arrays()).items():
        assert rows[name][0] == pytest.approx(value, rel=1e-5)
    assert (rows["NC1"][1], rows["NC4"][1], rows["effective_rank"][1]) == (0, 1, K - 1)
    assert err == ""


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_json_is_one_object_with_every_metric(file, capsys, convention):
    assert measure(file, "--json", "--convention", convention) == 0
    out, err = capsys.readouterr()
    known = expected(arrays(), convention)
    finite = {name: value if math.isfinite(value) else None for name, value in known.items()}
    assert json.loads(out) == finite  # None: without a test set, say
    assert out.count("\n") == 1 and err == ""


def test_reported_is_the_default_convention(file, capsys):
    measure(file, "--json")
    default = capsys.readouterr().out
    measure(file, "--json", "--convention", "reported")
    assert capsys.readouterr().out == default


def test_an_unknown_convention_is_refused(file, capsys):
    with pytest.raises(SystemExit) as refusal:
        measure(file, "--convention", "mine")
    assert refusal.value.code == 2
    assert "'mine'" in capsys.readouterr().err


def test_what_cannot_be_measured_is_null_and_explained(tmp_path, capsys):
    data = arrays()
    for name in ("bias", "test_features", "test_labels"):
        del data[name]
    data["weight"][:] = 0
    data["features"] = data["features"].astype(np.float64)
    for k in range(K):  # class means on a line
        rows = data["labels"] == k
        data["features"][rows] += k * np.ones(D) - data["features"][rows].mean(0)
    np.savez_compressed(tmp_path / "poor.npz", **data)
    assert measure(tmp_path / "poor.npz", "--json") == 0
    out, err = capsys.readouterr()
    values = json.loads(out, parse_constant=pytest.fail)
    nothing = {name for name, value in values.items() if value is None}
    assert nothing == {
        *("NC0_normalised", "NC1", "NC2W", "NC2M", "NC2Wn", "NC2Wa", "NC3", "NC4"),
        "condition_number",
    }
    reasons = dict(line.split(": ", 2)[1:] for line in err.splitlines())
    assert reasons.keys() == nothing
    assert "needs test_features" in reasons["NC4"]
    assert reasons["NC1"].startswith("infinite")
    assert reasons["NC3"].startswith("undefined")


def refused(capsys, path):
    """The one line on stderr."""
    assert measure(path) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith(f"collapse measure: {path}: ")
    return err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": None}, "missing arrays: features; add them"),
        ({"labels": None, "weight": None}, "missing arrays: labels, weight"),
        ({"surplus": np.ones(1)}, "unknown arrays: surplus; the known names are features, labels"),
        ({"labels": np.array([None] * SAMPLES)}, "labels: holds pickled objects"),
        ({"labels": np.zeros(SAMPLES)}, "labels: dtype is float64; convert it to integers"),
        ({"labels": np.arange(SAMPLES) % (K + 1)}, "labels: from 0 to 4; allowed is 0 to 3"),
        ({"labels": np.arange(SAMPLES) % (K - 1)}, "labels: missing classes: 3"),
        ({"labels": np.r_[3, np.arange(SAMPLES - 1) % 3]}, "labels: single-sample classes: 3"),
        ({"labels": np.zeros((SAMPLES, 1), int)}, "labels: shape is (40, 1)"),
        (
            {"labels": np.eye(K)[np.arange(SAMPLES) % K]},
            "labels: one-hot, of shape (40, 4); give the class of each sample, labels.argmax(1)",
        ),
        ({"features": np.ones((SAMPLES, D), int)}, "features: dtype is int64; convert it to float"),
        ({"features": np.full((SAMPLES, D), np.nan)}, "features: not finite"),
        ({"features": np.array("text")}, "features: dtype <U4 does not hold plain numbers"),
        ({"weight": np.ones((K, D + 1))}, "weight: shape is (4, 7); expected K x 6"),
        ({"bias": np.ones(K + 1)}, "bias: shape is (5,); expected 4"),
        ({"test_features": np.ones((3, D + 1))}, "test_features: shape is (3, 7); expected T x 6"),
        ({"test_features": None}, "test_labels: given without test_features"),
        ({"test_labels": np.zeros(3, int)}, "test_labels: shape is (3,); expected (40,)"),
    ],
)
def test_bad_arrays_are_refused_in_one_line(tmp_path, capsys, change, message):
    kept = {name: array for name, array in (arrays() | change).items() if array is not None}
    np.savez(tmp_path / "bad.npz", **kept)
    assert message in refused(capsys, tmp_path / "bad.npz")


def test_files_that_are_not_npz_are_refused_in_one_line(tmp_path, capsys, file):
    assert "no such file" in refused(capsys, tmp_path / "absent.npz")
    assert "not a file" in refused(capsys, tmp_path)
    bad = tmp_path / "bad.npz"
    for content in (b"", b"plain text", file.read_bytes()[:500]):
        bad.write_bytes(content)
        assert "not a readable npz file; write one with numpy.savez" in refused(capsys, bad)
    with bad.open("wb") as handle:
        np.save(handle, np.ones(3))
    assert "not a readable npz file" in refused(capsys, bad)


def test_damaged_members_are_refused_in_one_line(tmp_path, capsys, file):
    bad = tmp_path / "bad.npz"
    content = bytearray(file.read_bytes())
    content[content.index(b"NUMPY") + 300] ^= 255  # in the data of the first array
    bad.write_bytes(content)
    assert "features: unreadable" in refused(capsys, bad)
    with zipfile.ZipFile(file) as whole:
        members = {name: whole.read(name) for name in whole.namelist()}
    array = members.pop("features.npy")
    for name, damaged in (
        ("features", b"text"),
        ("features.npy", b"\x93NUMPY text"),
        ("features.npy", array.replace(b"}", b" ", 1)),  # NumPy lets a TokenError escape here
        ("features.npy", array[:-1]),
    ):
        with zipfile.ZipFile(bad, "w") as other:
            for member, data in {**members, name: damaged}.items():
                other.writestr(member, data)
        assert "features: " in refused(capsys, bad)


def test_nothing_in_a_file_is_ever_executed(tmp_path, capsys):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    np.savez(tmp_path / "trap.npz", **arrays() | {"bias": np.array([Trap()])})
    assert "bias: holds pickled objects; save plain numbers" in refused(capsys, tmp_path / "trap.npz")


def tensors():
    return {name: torch.tensor(array) for name, array in arrays().items()}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.bool])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_files_of_torch_and_safetensors_are_read_in_every_precision(tmp_path, capsys, suffix, dtype):
    """What upcasting loses nothing of is measured as it is; npz knows all but bfloat16."""
    features = tensors()["features"]
    data = tensors() | {"features": features > 1 if dtype is torch.bool else features.to(dtype)}
    file = tmp_path / f"model{suffix}"
    save_file(data, file) if suffix == ".safetensors" else torch.save(data, file)
    assert measure(file, "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert values == expected(data | {"features": data["features"].double()})
    if dtype is not torch.bfloat16:
        np.savez(tmp_path / "model.npz", **{name: tensor.numpy() for name, tensor in data.items()})
        assert measure(tmp_path / "model.npz", "--json") == 0
        assert json.loads(capsys.readouterr().out) == values


def test_an_old_pt_file_is_read(tmp_path, capsys):
    """Of PyTorch before 1.6: no zip."""
    torch.save(tensors(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert measure(tmp_path / "old.pt", "--json") == 0
    assert json.loads(capsys.readouterr().out) == expected(arrays())


class Trap:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: tensors() | {"bias": Trap()}, "holds objects that are no tensors; torch.save a dict of"),
        (lambda: torch.nn.Linear(2, 2), "holds objects that are no tensors"),
        (lambda: torch.ones(3), "holds a Tensor; torch.save a dict of tensors: features, labels, weight"),
        (lambda: torch.nn.Linear(2, 2).state_dict() | {"labels": torch.ones(1)}, "missing arrays: features"),
        (lambda: tensors() | {"labels": [0, 1]}, "labels: a list, not a tensor; save torch.as_tensor of it"),
        (
            lambda: tensors() | {f"layer.{n}": torch.ones(1) for n in range(9)},
            "unknown arrays: layer.0, layer.1, layer.2, layer.3, layer.4, layer.5 and 3 more; the known",
        ),
        (lambda: tensors() | {"features": torch.ones(3, 4)}, "weight: shape is (4, 6); expected K x 4"),
    ],
)
def test_bad_pt_files_are_refused_in_one_line(tmp_path, capsys, content, message):
    torch.save(content(), tmp_path / "bad.pt")
    assert message in refused(capsys, tmp_path / "bad.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_damaged_files_of_torch_and_safetensors_are_refused_in_one_line(tmp_path, capsys, suffix):
    file = tmp_path / f"whole{suffix}"
    save_file(tensors(), file) if suffix == ".safetensors" else torch.save(tensors(), file)
    whole, bad = file.read_bytes(), tmp_path / f"bad{suffix}"
    for content in (b"", b"plain text", whole[:100], whole[: len(whole) // 2], b"\x80\x04K\x01."):
        bad.write_bytes(content)
        assert "unreadable (" in refused(capsys, bad)
    save_file({"surplus": torch.ones(1)}, tmp_path / "other.safetensors")
    assert "missing arrays: features, labels" in refused(capsys, tmp_path / "other.safetensors")


def test_more_classes_than_a_simplex_has_get_attainable_values(tmp_path, capsys):
    """As ResNet18 on ImageNet: 1,000 classes, 512 features."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 20
    data = {
        "features": rng.normal(size=(60, 6)) + labels[:, None], "labels": labels,
        "weight": rng.normal(size=(20, 6)),
    }  # fmt: skip
    np.savez(tmp_path / "many.npz", **data)
    assert measure(tmp_path / "many.npz") == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].split(maxsplit=2) == ["metric", "reported", "best attainable"]
    best = {line.split()[0]: line.split()[-1] for line in out.splitlines()[1:]}
    assert float(best["NC2"]) == pytest.approx(math.sqrt(2 - 2 * math.sqrt(6 / 19)), rel=1e-5)
    assert best["NC2a"] == "–" and best["effective_rank"] == "6" and best["NC3"] == "0"
    assert "K = 20 > p + 1 = 7: no simplex has so many vertices in 6 dimensions" in err


def test_help_explains_every_metric_in_a_line():
    parser = argparse.ArgumentParser()
    options.measure(parser)
    shown = parser.format_help()
    lines = {line.split()[0]: line for line in shown.splitlines() if line.startswith("  ")}
    for convention, metrics in CONVENTIONS.items():
        assert f"\n{convention}" in shown
        for name in metrics:
            assert name in lines and len(lines[name]) > 40, (convention, name)
    assert max(map(len, shown.splitlines())) < 125
