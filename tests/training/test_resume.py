"""A run that was stopped goes on mid-way to the same bits; a state that does not fit is dropped."""

import ast
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from train_a_pack import main as train_here

import collapse
from collapse.architectures import ARCHITECTURES
from collapse.architectures.initialisation import initial_network
from collapse.datasets.loading import load_arrays
from collapse.datasets.prepared import save_prepared
from collapse.datasets.preprocessing import black_pixel
from collapse.optimizers import OPTIMIZERS
from collapse.study.settings import HAVE
from collapse.training import packs, run_state
from collapse.training.images import load_images
from collapse.training.pack_files import PackFileError, PackPaths
from collapse.training.pack_lock import PackBusyError, only_trainer
from collapse.training.packs import TRAINING, train_pack
from collapse.training.run import train_run
from collapse.training.run_state import KeptState, read_state, usable_state, write_state

CPU = torch.device("cpu")
SOURCE = Path(collapse.__file__).parent
TESTS = Path(__file__).parents[1]
MADE_BY = {"run": {"key": "0123456789ab", "train_size": 300, "coupled_fraction": None}, "device": "cpu"}


@pytest.fixture
def folder(tmp_path, prepared, tiny_run):
    """What `train_a_pack.py` wants: three runs of a second or so, one augmented, one that diverges."""
    changes = [
        {"optimizer": "AdamW", "learning_rate": 0.003, "augmentation": "crop_flip"},
        {"optimizer": "SGD"},
        {"optimizer": "SGD", "learning_rate": 1e12},
    ]
    runs = [
        tiny_run | {"epochs": 40, "measure_every": 10, "key": f"{i:012d}"} | x for i, x in enumerate(changes)
    ]
    (tmp_path / "runs.json").write_text(json.dumps(runs), encoding="utf-8")
    shutil.copy(prepared, tmp_path / "prepared.safetensors")
    return tmp_path


def moments_of(run, images, padding=None):
    """A run to its end, and the moments after every epoch."""
    moments = []
    outcome = trained(run, images, padding, between_epochs=lambda take: moments.append(take()))
    return outcome, moments


def trained(run, images, padding=None, **more):
    settings = {name: run[name] for name in TRAINING}
    nothing = dict(progress=lambda epoch, loss: None, padding=padding)
    return train_run(initial_network(run), images, **settings, **nothing, **more)


def assert_same_outcome(one, other):
    """All but the seconds."""
    for ours, theirs in [(one.weights, other.weights), (one.trajectory, other.trajectory)]:
        assert ours.keys() == theirs.keys()
        for name in ours:  # of layer statistics some are NaN, which no comparison of numbers finds equal
            assert ours[name].numpy().tobytes() == theirs[name].numpy().tobytes(), name
    empty = dict(weights=None, trajectory={}, seconds=0.0)
    assert replace(one, **empty) == replace(other, **empty)


CASES = [("ResNet9", optimizer) for optimizer in OPTIMIZERS]
CASES += [(architecture, "Adam") for architecture in ARCHITECTURES if architecture != "ResNet9"]


@pytest.mark.parametrize(("architecture", "optimizer"), CASES)
def test_a_run_goes_on_to_the_same_bits(architecture, optimizer, tiny_run, prepared, tmp_path):
    """Through the file, every optimizer and every architecture: whatever else they keep would be missed."""
    run = tiny_run | {
        "architecture": architecture, "optimizer": optimizer, "learning_rate": 0.003, "epochs": 2,
        "image_size": ARCHITECTURES[architecture].smallest_image_size, "measure_every": 1,
        "coupled_fraction": 0.5 if optimizer == "AdamInterpolated" else None,
    }  # fmt: skip
    if architecture in HAVE["linear_layers"]:
        run |= {"relu_layers": 1, "linear_layers": 2}
    padding = black_pixel("Fake")
    if architecture == "UFM":
        run |= {"dataset": "Indices", "train_size": 10_000, "batch_size": 2_000}
        prepared, padding = tmp_path / "Indices.safetensors", None
        save_prepared(load_arrays("Indices", root="absent", cache=tmp_path), prepared, "Indices")
    images = load_images(prepared, run, CPU)
    whole, moments = moments_of(run, images, padding)
    assert [moment.epoch for moment in moments] == [1, 2]
    for moment in moments:  # after the last epoch, too, a run can be killed
        write_state(moment, tmp_path / "state", made_by=MADE_BY)
        torch.rand(3)  # the global generator is not where it was
        again = trained(run, images, padding, begin=read_state(tmp_path / "state")[0])
        assert_same_outcome(whole, again)


def test_a_moment_shares_nothing_with_its_run(tiny_run, prepared):
    _, moments = moments_of(tiny_run, load_images(prepared, tiny_run, CPU))
    assert [len(moment.history) for moment in moments] == [2, 3, 4, 5, 6]
    assert not torch.equal(moments[0].parameters, moments[1].parameters)
    names = [name for name in moments[0].buffers if name.endswith("running_mean")]
    for name in names:
        assert not torch.equal(moments[0].buffers[name], moments[1].buffers[name])
    assert not torch.equal(moments[0].optimizer["velocity"], moments[1].optimizer["velocity"])


@pytest.fixture
def state(tiny_run, prepared, tmp_path):
    """A state in its file."""
    _, moments = moments_of(tiny_run | {"epochs": 1}, load_images(prepared, tiny_run, CPU))
    file = tmp_path / "state.safetensors"
    write_state(moments[0], file, made_by=MADE_BY)
    return file


def test_a_state_that_fits_is_taken(state):
    assert usable_state(state, made_by=MADE_BY).epoch == 1
    assert state.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"device": "NVIDIA H200"},
        {"kernels": "fused"},
        {"run": {"key": "0123456789ab", "train_size": 301}},
        {"protocol": 9},
    ],
)
def test_a_state_of_something_else_is_dropped_and_said(state, change, caplog):
    assert usable_state(state, made_by=MADE_BY | change) is None
    assert not state.exists()
    assert f"another {next(iter(change))} than here" in caplog.text and str(state) in caplog.text


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_state_is_dropped_and_said(state, kept, caplog):
    content = state.read_bytes()
    state.write_bytes(content[: int(kept * len(content))])
    assert usable_state(state, made_by=MADE_BY) is None
    assert not state.exists() and "cannot be read" in caplog.text and str(state) in caplog.text


@pytest.mark.parametrize("place", [9, 2000, -1, -100_000])
def test_one_altered_byte_of_a_state_is_noticed(state, place, caplog):
    content = bytearray(state.read_bytes())
    content[place] ^= 1
    state.write_bytes(content)
    assert usable_state(state, made_by=MADE_BY) is None
    assert not state.exists() and str(state) in caplog.text


def test_a_weights_file_is_no_state(state, tmp_path, caplog):
    shutil.copy(SOURCE / "files/errors.py", state)
    assert usable_state(state, made_by=MADE_BY) is None
    run_state.save_tensors({"a": torch.zeros(2)}, state)
    assert usable_state(state, made_by=MADE_BY) is None
    assert "is not the state of a run" in caplog.text


def test_files_hold_data_only():
    """Nothing that is read could be a program: no pickle, in no disguise.

    torch.load may read a user's features with weights_only=True, which takes tensors and plain data alone.
    """
    for file in SOURCE.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        for call in ast.walk(ast.parse(text)):
            if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("torch.load"):
                said = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
                assert said.get("weights_only") == "True", file.name
        for word in (
            "from torch import load",
            "torch.serialization",
            "= torch.load\n",
            "torch.save(",
            "import pickle",
            "from pickle import",
            "allow_pickle=True",
            "read_pickle",
        ):
            assert word not in text, f"{file.name}: {word}"


def test_the_interval_is_kept(tmp_path, tiny_run, prepared, monkeypatch):
    """A file every 60 seconds of a clock on which an epoch takes 25; a copy in memory after each."""
    _, moments = moments_of(tiny_run, load_images(prepared, tiny_run, CPU))
    clock = iter(range(0, 10_000, 25))
    now = [0.0]
    monkeypatch.setattr(run_state.time, "monotonic", lambda: now[0])
    kept = KeptState(tmp_path / "state", made_by=MADE_BY, every_seconds=60)
    written = []
    for moment in moments:
        now[0] = next(clock) + 25.0
        kept.between_epochs(lambda moment=moment: moment)
        written.append(read_state(kept.file)[0].epoch if kept.file.exists() else 0)
        assert kept.latest is moment
    assert written == [0, 0, 3, 3, 3]
    kept.write()
    assert read_state(kept.file)[0].epoch == 5
    kept.remove()
    assert not kept.file.exists() and not kept.write()


def test_a_state_that_cannot_be_written_stops_nothing(tiny_run, prepared, tmp_path, caplog, monkeypatch):
    def full(tensors, path, *, about):
        raise PackFileError(f"{path} cannot be written (No space left on device)")

    monkeypatch.setattr(run_state, "save_tensors", full)
    paths = PackPaths.inside(tmp_path)
    train_pack(
        [tiny_run], prepared=prepared, paths=paths, unfinished=tmp_path / "unfinished", device="cpu",
        save_every_minutes=0,
    )  # fmt: skip
    assert paths.outcomes.exists()
    assert caplog.text.count("no state is kept") == tiny_run["epochs"]


def test_one_process_at_a_time_trains_a_pack(tiny_run, prepared, tmp_path):
    arguments = dict(prepared=prepared, paths=PackPaths.inside(tmp_path), device="cpu")
    unfinished = tmp_path / "unfinished"
    with only_trainer(unfinished), pytest.raises(PackBusyError) as caught:
        train_pack([tiny_run], unfinished=unfinished, **arguments)
    words = str(caught.value)
    assert f"process {os.getpid()} on" in words and str(unfinished) in words and "run again" in words
    assert "\n" not in words
    train_pack([tiny_run], unfinished=unfinished, **arguments)
    assert not unfinished.exists()


def start(folder, *, save_every_minutes):
    environment = os.environ | {"PYTHONPATH": f"{SOURCE.parent}{os.pathsep}{TESTS}"}
    return subprocess.Popen(
        [sys.executable, TESTS / "train_a_pack.py", folder, str(save_every_minutes)],
        env=environment, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.005)


def states(folder):
    """The states and when they were written."""
    return {file: file.stat().st_mtime_ns for file in folder.glob("unfinished/*/state.safetensors")}


def assert_ends_as(undisturbed, folder):
    """Byte for byte; of the outcomes all but the seconds."""
    for name in ("weights.safetensors", "trajectory.safetensors", "history.parquet"):
        assert (undisturbed / "packs" / name).read_bytes() == (folder / "packs" / name).read_bytes(), name
    tables = [
        pd.read_parquet(f / "packs/outcomes.parquet").drop(columns="seconds") for f in (undisturbed, folder)
    ]
    pd.testing.assert_frame_equal(*tables)
    assert not (folder / "unfinished").exists()


@pytest.fixture
def undisturbed(folder, tmp_path_factory):
    whole = Path(shutil.copytree(folder, tmp_path_factory.mktemp("whole") / "pack"))
    train_here(whole, save_every_minutes=5)
    return whole


def test_signals_save_and_kills_do_no_harm(folder, undisturbed):
    """SIGTERM, SIGINT, then SIGKILL at random moments: the next attempt goes on, and ends the same."""
    for number in (signal.SIGTERM, signal.SIGINT):
        before = states(folder)
        process = start(folder, save_every_minutes=0)
        wait_for(lambda before=before: states(folder) not in ({}, before), process)
        process.send_signal(number)
        process.send_signal(number)  # the second does not tear what the first has begun
        errors = process.communicate()[1]
        assert process.returncode == 128 + number, errors
        last = errors.splitlines()[-1]
        # Between two runs, where a slow machine may have got to, there is nothing to save.
        assert re.search(
            rf"stopped by {number.name}(: run \d{{12}} is saved after epoch \d+ of 40; .*)?$", last
        )
        assert "Traceback" not in errors
        assert len(states(folder)) <= 1
    dice = random.Random(3141)
    for _ in range(3):
        process = start(folder, save_every_minutes=0)
        wait_for((folder / "unfinished/.lock").exists, process)
        try:
            process.wait(dice.uniform(0, 3))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
    process = start(folder, save_every_minutes=0)
    errors = process.communicate()[1]
    assert process.returncode == 0, errors
    assert_ends_as(undisturbed, folder)


def test_an_interrupted_job_says_where_nothing_was_saved(folder, monkeypatch, capsys):
    """Stopped in the first epoch, before there is a state."""

    def stop(*_, **__):
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(packs, "train_run", stop)
    with pytest.raises(SystemExit):
        train_here(folder, save_every_minutes=5)
    words = "is not saved; run again and it begins anew, the runs of the pack that have ended are kept"
    said = capsys.readouterr().err
    assert words in said and "goes on from there" not in said


def test_an_interrupted_job_says_where_it_goes_on(folder, undisturbed, monkeypatch, caplog):
    """Stopped in the second run: the first is kept whole, the second goes on mid-way, time left heeds it."""
    caplog.set_level("INFO")
    between_epochs = KeptState.between_epochs

    def stop_at_eleven(self, take):
        between_epochs(self, take)
        if self.latest.epoch == 11 and "000000000001" in str(self.file):
            assert not self.file.exists(), "what is saved is saved by the signal"
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(KeptState, "between_epochs", stop_at_eleven)
        patch.setattr(run_state, "COPY_SECONDS", 0.0)
        with pytest.raises(SystemExit) as stopped:
            train_here(folder, save_every_minutes=1000)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert (folder / "unfinished/000000000000/outcomes.parquet").exists()
    assert [file.parent.name for file in states(folder)] == ["000000000001"]
    caplog.clear()
    train_here(folder, save_every_minutes=0)
    log = (folder / "logs/train.log").read_text(encoding="utf-8")
    assert "3 runs, 1 of them trained before" in log
    assert "run 000000000001 goes on from epoch 11 of 40" in log
    assert_ends_as(undisturbed, folder)
