"""A prepared dataset is the same bytes every time, and refused when it is damaged."""

import dataclasses
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from collapse.datasets import DATASETS, DatasetError
from collapse.datasets.loading import load_arrays
from collapse.datasets.prepared import load_prepared, save_prepared


@pytest.fixture
def prepared(tmp_path):
    path = tmp_path / "Fake.safetensors"
    save_prepared(load_arrays("Fake", root=tmp_path, cache=tmp_path), path, "Fake")
    return path


def test_prepared_round_trip(prepared, tmp_path):
    arrays = load_arrays("Fake", root=tmp_path, cache=tmp_path)
    again = load_prepared(prepared, "Fake")
    assert set(again) == set(arrays)
    assert all(torch.equal(arrays[name], again[name]) for name in arrays)
    assert os.listdir(tmp_path) == ["Fake.safetensors"]


def check_refused(path, dataset, *words):
    with pytest.raises(DatasetError) as caught:
        load_prepared(path, dataset)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message
    assert "delete it and run again" in message
    assert all(word in message for word in words)


@pytest.mark.parametrize("kept", [0, 4, 100, 1000, -1])
def test_truncated_prepared_file_is_refused(kept, prepared):
    prepared.write_bytes(prepared.read_bytes()[:kept])
    check_refused(prepared, "Fake", "truncated")


def test_missing_prepared_file_is_refused(tmp_path):
    check_refused(tmp_path / "none.safetensors", "Fake", "missing")


def test_altered_prepared_file_is_refused(prepared):
    data = bytearray(prepared.read_bytes())
    data[len(data) // 2] ^= 1
    prepared.write_bytes(bytes(data))
    check_refused(prepared, "Fake", "altered", "SHA-256", DATASETS["Fake"].digest)


def test_prepared_file_of_another_dataset_is_refused(prepared):
    check_refused(prepared, "Digits", "dataset Fake, expected Digits")


def test_prepared_file_of_another_digest_is_refused(prepared, monkeypatch):
    monkeypatch.setitem(DATASETS, "Fake", dataclasses.replace(DATASETS["Fake"], arrays_sha256="1" * 64))
    check_refused(prepared, "Fake", f"expected {'1' * 64}")


def test_foreign_safetensors_is_refused(prepared):
    save_file(load_file(prepared), prepared)  # loses the metadata
    check_refused(
        prepared, "Fake", "is of another version, or no prepared dataset", "delete it and run again"
    )


def test_prepared_file_of_an_older_version_is_refused(prepared):
    save_file(load_file(prepared), prepared, metadata={"dataset": "Fake", "digest": DATASETS["Fake"].digest})
    check_refused(prepared, "Fake", "is of another version", "delete it and run again")


def test_the_same_dataset_gives_the_same_bytes_in_any_process(prepared, tmp_path):
    code = (
        "import sys; from collapse.datasets.loading import load_arrays;"
        "from collapse.datasets.prepared import save_prepared;"
        "save_prepared(load_arrays('Fake', root='.', cache='.'), sys.argv[1], 'Fake')"
    )
    for name in ("second", "third"):
        subprocess.run([sys.executable, "-c", code, tmp_path / name], check=True, cwd=tmp_path)
        assert (tmp_path / name).read_bytes() == prepared.read_bytes()


def test_prepared_arrays_must_fit(tmp_path):
    arrays = load_arrays("Fake", root=tmp_path, cache=tmp_path)
    arrays["train_images"] = arrays["train_images"][:-1]
    with pytest.raises(DatasetError, match="train images"):
        save_prepared(arrays, tmp_path / "Fake.safetensors", "Fake")
    assert os.listdir(tmp_path) == []
