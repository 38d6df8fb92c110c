"""What is written is whole, and has the mode that the umask gives; what cannot be written is one line."""

import errno
import os
import stat

import pytest
import torch
from safetensors import SafetensorError

from collapse.commands.main import main
from collapse.datasets import DatasetError, prepared
from collapse.datasets.loading import load_arrays
from collapse.files import errors
from collapse.files.atomic import write_atomically
from collapse.lineage.versions import tools, verbs
from collapse.training.pack_files import PackFileError, save_tensors


@pytest.fixture(params=[0o022, 0o002, 0o077])
def mask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_files_have_the_mode_of_the_umask(mask, tmp_path):
    """safetensors itself writes 0600, which no other member of a group can read."""
    plain, tensors, data = tmp_path / "plain", tmp_path / "tensors", tmp_path / "data"
    plain.write_text("as any program writes")
    save_tensors({"a": torch.zeros(2)}, tensors)
    prepared.save_prepared(load_arrays("Fake", root="absent", cache=tmp_path), data, "Fake")
    for path in (plain, tensors, data):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask, path
    save_tensors({"a": torch.ones(2)}, tensors)
    assert stat.S_IMODE(tensors.stat().st_mode) == 0o666 & ~mask, "and of a file that is replaced"


def test_half_a_file_is_never_there(tmp_path):
    def half(partial):
        partial.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "file"
    path.write_text("whole")
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, half)
    assert path.read_text() == "whole" and os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [SafetensorError("I/O error: No space left on device (os error 28)"),
                                   OSError(errno.ENOSPC, "No space left on device")])  # fmt: skip
def test_a_full_disk_is_one_line(error, tmp_path, monkeypatch):
    def full(*_, **__):
        raise error

    arrays = load_arrays("Fake", root="absent", cache=tmp_path)
    monkeypatch.setattr(prepared, "save_file", full)
    monkeypatch.setattr("collapse.training.pack_files.save_file", full)
    path = tmp_path / "Fake.safetensors"
    for write, kind in (
        (lambda: prepared.save_prepared(arrays, path, "Fake"), DatasetError),
        (lambda: save_tensors({"a": torch.zeros(2)}, path), PackFileError),
    ):
        with pytest.raises(kind) as caught:
            write()
        words = str(caught.value)
        assert words.startswith(f"{path} cannot be written (") and "No space left" in words
        assert "make room or make it writable, then run again" in words and "\n" not in words
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("verb", ["record", "restore", "changed", "snapshot"])
def test_a_read_only_folder_is_one_line_of_every_verb(verb, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.EROFS, "Read-only file system", "results/demo/snakemake_records.tar.gz")

    for module, names in ((tools, ("planned_jobs", "cache_folder", "is_clone")), (verbs, ("write_archive",))):
        for name in names:
            monkeypatch.setattr(module, name, refuse)
    assert main([verb, "demo"]) == 2
    assert capsys.readouterr().err == (
        "collapse: results/demo/snakemake_records.tar.gz cannot be written (Read-only file system); "
        "make room or make it writable, then run again\n"
    )


def test_a_file_that_may_not_be_read_is_not_called_unwritable(tmp_path, monkeypatch):
    unreadable = OSError(errno.EACCES, "Permission denied", str(tmp_path / "file"))
    assert "cannot be written" not in errors.in_one_line(unreadable)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert errors.in_one_line(unreadable).startswith(f"{tmp_path / 'file'} cannot be written")


def test_without_a_clone_nothing_is_recorded_and_nothing_fails(tmp_path, monkeypatch, capsys):
    """A download as ZIP: `make demo` ends with a sentence, not with DVC's error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tools, "planned_jobs", lambda study: {})
    monkeypatch.setattr(verbs, "load_parameters", lambda path: {"studies": {"demo": {}}})
    assert main(["record", "demo"]) == 0
    said = capsys.readouterr()
    assert (
        said.out == f"results/demo is made, and no version of it is recorded: {verbs.NO_CLONE}\n"
        and not said.err
    )
    assert main(["changed", "demo"]) == 0
    assert f"DVC: {verbs.NO_CLONE}" in capsys.readouterr().out
    assert main(["restore", "demo"]) == 2
    assert capsys.readouterr().err == f"collapse: no results to bring back: {verbs.NO_CLONE}\n"
