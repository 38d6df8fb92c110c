"""What can go wrong from outside, one test a row: one line that names file and remedy, exit status not 0,
nothing finished lost, and the next attempt completes.

| fault | test |
|---|---|
| dataset file truncated or altered | here at training; other readers in test_datasets, test_image_folder |
| checkpoint, statistics, table truncated or altered | here; through Snakemake in test_workflow |
| state of a run truncated, altered, of something else | test_resume |
| kill -9, SIGTERM, SIGINT | test_resume; twenty times through Snakemake in test_twenty_kills |
| full disk in training, in measuring | here, on a small tmpfs |
| NaN and Inf loss in one run of a pack | here |
| out of GPU memory; a GPU that breaks down | here |
| a GPU asked for that is not there | here, in a job and through Snakemake |
| read-only results | here, in a job and through Snakemake |
| clock set back | here |
| two runs of the workflow at once; a lock left by kill -9 | here |
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from as_job import as_job
from tiny_study import ROOT, SNAKEMAKE, snakemake, write_parameters

from collapse.datasets.registry import DatasetError
from collapse.files.errors import InputError
from collapse.measuring.extraction import extract_statistics
from collapse.measuring.measurement import measure_pack
from collapse.measuring.results import read_runs
from collapse.records.job import job
from collapse.training import packs
from collapse.training import run as training
from collapse.training.images import DeviceError, choose_device
from collapse.training.pack_files import PackFileError, PackPaths, read_pack, read_table
from collapse.training.packs import train_pack


@pytest.fixture
def runs(tiny_run):
    """Three runs of a pack."""
    return [tiny_run | {"key": f"{i:012d}", "weight_decay": 0.01 * i, "epochs": 2} for i in range(3)]


def train(runs, prepared, folder, *, device="cpu"):
    paths = PackPaths.inside(folder / "pack")
    train_pack(runs, prepared=prepared, paths=paths, unfinished=folder / "unfinished", device=device)
    return read_pack(paths)


def extract(runs, prepared, folder):
    extract_statistics(
        runs, prepared=prepared, weights=PackPaths.inside(folder / "pack").weights,
        statistics=folder / "pack/statistics.safetensors", device="cpu",
    )  # fmt: skip


def measure(folder):
    measure_pack(
        statistics=folder / "pack/statistics.safetensors", metrics=folder / "pack/metrics.parquet",
        trajectory=folder / "pack/trajectory.safetensors", convention="reported",
        history_metrics=folder / "pack/history_metrics.parquet",
    )  # fmt: skip


def contents(folder):
    return {file.name: file.read_bytes() for file in sorted(Path(folder).iterdir()) if file.is_file()}


def assert_one_line(error, *words):
    message = str(error.value)
    assert isinstance(error.value, InputError)
    assert "\n" not in message
    for word in words:
        assert str(word) in message


def truncate(file):
    file.write_bytes(file.read_bytes()[:-64])


def alter(file):
    """One bit, in the last tensor or in the first page."""
    content = bytearray(file.read_bytes())
    content[-5 if file.suffix == ".safetensors" else 40] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, alter])
def test_damaged_dataset(damage, runs, prepared, tmp_path):
    train(runs[:1], prepared, tmp_path)
    before = contents(tmp_path / "pack")
    damaged = Path(shutil.copy(prepared, tmp_path / "Fake.safetensors"))
    damage(damaged)
    with pytest.raises(DatasetError) as caught:
        train(runs, damaged, tmp_path)
    assert_one_line(caught, damaged, "delete it and run again")
    assert contents(tmp_path / "pack") == before
    shutil.copy(prepared, damaged)
    assert train(runs, damaged, tmp_path).outcomes.status.tolist() == ["done"] * 3


@pytest.mark.parametrize("damage", [truncate, alter])
def test_damaged_checkpoint(damage, runs, prepared, tmp_path):
    train(runs[:1], prepared, tmp_path)
    weights = tmp_path / "pack/weights.safetensors"
    whole = weights.read_bytes()
    damage(weights)
    for attempt in (lambda: extract(runs[:1], prepared, tmp_path), lambda: train(runs, prepared, tmp_path)):
        with pytest.raises(PackFileError) as caught:
            attempt()
        assert_one_line(caught, weights, "delete it and run again")
    weights.unlink()
    train(runs[:1], prepared, tmp_path)
    assert weights.read_bytes() == whole
    extract(runs[:1], prepared, tmp_path)


@pytest.mark.parametrize("damage", [truncate, alter])
@pytest.mark.parametrize("name", ["statistics.safetensors", "trajectory.safetensors"])
def test_damaged_statistics(damage, name, runs, prepared, tmp_path):
    train(runs[:1], prepared, tmp_path)
    extract(runs[:1], prepared, tmp_path)
    damage(tmp_path / "pack" / name)
    with pytest.raises(PackFileError) as caught:
        measure(tmp_path)
    assert_one_line(caught, tmp_path / "pack" / name, "delete it and run again")
    assert not (tmp_path / "pack/metrics.parquet").exists()


@pytest.mark.parametrize("damage", [truncate, alter])
def test_damaged_table(damage, runs, prepared, tmp_path):
    train(runs[:1], prepared, tmp_path)
    for name in ("history.parquet", "outcomes.parquet"):
        file = tmp_path / "pack" / name
        damage(file)
        for read in (read_table, read_runs):
            with pytest.raises(InputError) as caught:
                read(file)
            assert_one_line(caught, file, "delete it and run again")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MB, and how to fill it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount(folder, "-t", "tmpfs", "-o", "size=4m", "tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)  # what was read there is still mapped


def mount(folder, *arguments):
    done = subprocess.run(["mount", *arguments, folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs a mount, which is refused here: {done.stderr.strip()}")


def fill(disk, *, but):
    """Leave `but` bytes."""
    space = os.statvfs(disk)
    (disk / "ballast").write_bytes(bytes(space.f_bavail * space.f_frsize - but))


def test_full_disk_in_training(runs, prepared, small_disk, tmp_path):
    """Full before the second run has ended: what was there stays, and then all is as if it had never been."""
    whole = train(runs, prepared, tmp_path)
    train(runs[:1], prepared, small_disk)
    before = contents(small_disk / "pack")
    fill(small_disk, but=50_000)
    with pytest.raises(PackFileError) as caught:
        train(runs, prepared, small_disk)
    assert_one_line(caught, small_disk, "No space left on device", "make room", "run again")
    assert contents(small_disk / "pack") == before
    assert not list(small_disk.rglob("*.partial"))
    (small_disk / "ballast").unlink()
    resumed = train(runs, prepared, small_disk)
    assert all(torch.equal(resumed.weights[name], tensor) for name, tensor in whole.weights.items())


def test_full_disk_in_measuring(runs, prepared, small_disk):
    train(runs, prepared, small_disk)
    fill(small_disk, but=0)
    for attempt in (lambda: extract(runs, prepared, small_disk), lambda: measure(small_disk)):
        with pytest.raises(PackFileError) as caught:
            attempt()
        assert_one_line(caught, small_disk, "No space left on device", "make room", "run again")
        (small_disk / "ballast").unlink()
        attempt()
        fill(small_disk, but=0)
        (small_disk / "pack/metrics.parquet").unlink(missing_ok=True)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number(loss, runs, prepared, tmp_path, monkeypatch, caplog):
    """In one run: that one says so, with the epoch, and the others are as they are without it."""
    undisturbed = train(runs, prepared, tmp_path / "undisturbed")
    train_epoch = training.train_epoch

    def spoilt(network, state, images, *, epoch, step, **settings):
        state, found = train_epoch(network, state, images, epoch=epoch, step=step, **settings)
        rule = step.keywords["rule"]
        return state, loss if epoch == 1 and rule.keywords["coupled_decay"] == 0.01 else found

    monkeypatch.setattr(training, "train_epoch", spoilt)
    pack = train(runs, prepared, tmp_path)
    assert pack.outcomes.status.tolist() == ["done", "diverged", "done"]
    assert pack.outcomes.reason.tolist() == ["", "loss is not finite at epoch 2", ""]
    assert "run 000000000001 diverged: loss is not finite at epoch 2; the pack goes on" in caplog.text
    assert {name.partition("/")[0] for name in pack.weights} == {"000000000000", "000000000002"}
    assert all(torch.equal(undisturbed.weights[name], tensor) for name, tensor in pack.weights.items())


class Memory:
    """`train_run` on a GPU whose memory suffices for the second run at the attempts named."""

    def __init__(self, *, suffices_at=()):
        self.train_run, self.attempts, self.suffices_at = packs.train_run, 0, suffices_at

    def __call__(self, *arguments, **settings):
        if settings["weight_decay"] == 0.01:
            self.attempts += 1
            if self.attempts not in self.suffices_at:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nGPU 0 has")
        return self.train_run(*arguments, **settings)


def test_out_of_gpu_memory_once(runs, prepared, tmp_path, monkeypatch, caplog):
    undisturbed = train(runs, prepared, tmp_path / "undisturbed")
    monkeypatch.setattr(packs, "train_run", Memory(suffices_at=[2]))
    pack = train(runs, prepared, tmp_path)
    words = "run 000000000001: CUDA out of memory. Tried to allocate 20.00 GiB.; memory is freed and the run "
    assert words + "tried again, alone" in caplog.text
    assert pack.outcomes.status.tolist() == ["done"] * 3
    assert all(torch.equal(undisturbed.weights[name], tensor) for name, tensor in pack.weights.items())


def test_out_of_gpu_memory_for_good(runs, prepared, tmp_path, monkeypatch, caplog):
    """The run is recorded as failed, the others are kept; once there is memory, it alone is trained."""
    with monkeypatch.context() as patch:
        patch.setattr(packs, "train_run", memory := Memory())
        pack = train(runs, prepared, tmp_path)
        assert memory.attempts == 2
    assert pack.outcomes.status.tolist() == ["done", "failed", "done"]
    assert pack.outcomes.reason[1] == "CUDA out of memory. Tried to allocate 20.00 GiB."
    assert "run 000000000001 failed: CUDA out of memory" in caplog.text
    caplog.set_level("INFO")
    again = train(runs, prepared, tmp_path)
    assert "3 runs, 2 of them trained before" in caplog.text
    assert again.outcomes.status.tolist() == ["done"] * 3
    assert all(torch.equal(again.weights[name], tensor) for name, tensor in pack.weights.items())


def test_images_larger_than_the_gpu(runs, prepared, tmp_path, monkeypatch):
    def too_large(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.\nmore")

    monkeypatch.setattr(packs, "load_images", too_large)
    with pytest.raises(DeviceError) as caught:
        train(runs, prepared, tmp_path)
    assert_one_line(caught, prepared, "free its memory", "run again")


def test_a_gpu_that_breaks_down(runs, prepared, tmp_path, monkeypatch):
    """No other run is computed on it, none recorded as failed; the next attempt has what was finished."""
    train_run = packs.train_run

    def broken(*arguments, **settings):
        if settings["weight_decay"] == 0.01:
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nmore")
        return train_run(*arguments, **settings)

    with monkeypatch.context() as patch, pytest.raises(DeviceError) as caught:
        patch.setattr(packs, "train_run", broken)
        train(runs, prepared, tmp_path)
    assert_one_line(caught, "000000000001", "illegal memory access", "run again")
    assert (tmp_path / "unfinished/000000000000/outcomes.parquet").exists()
    assert train(runs, prepared, tmp_path).outcomes.status.tolist() == ["done"] * 3


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_no_gpu_in_a_job(runs, prepared, tmp_path):
    with pytest.raises(DeviceError) as caught:
        train(runs, prepared, tmp_path, device="cuda")
    assert_one_line(caught, "device: cuda", "set device to auto or cpu")
    with pytest.raises(DeviceError):
        choose_device("cuda")


def run_as_job(folder, *, inputs, work):
    """A job around `work`; its exit status."""
    task = as_job(folder, "measure.py", input=inputs, output={}, params={})
    with pytest.raises(SystemExit) as ended, job(task):
        work()
    return ended.value.code


def test_read_only_results(runs, prepared, tmp_path, capsys):
    results = tmp_path / "results"
    results.mkdir()
    train(runs[:1], prepared, results)
    before = contents(results / "pack")
    mount(results, "--bind", results)
    try:
        mount(results, "-o", "remount,ro,bind")
        assert run_as_job(tmp_path, inputs={}, work=lambda: train(runs, prepared, results)) == 1
    finally:
        subprocess.run(["umount", "--lazy", results], check=True)
    errors = capsys.readouterr().err
    assert "Read-only file system" in errors and str(results) in errors and "Traceback" not in errors
    assert contents(results / "pack") == before
    assert len(train(runs, prepared, results).outcomes) == 3


def test_a_clock_set_back(tmp_path, capsys):
    """Refused before hours are spent on what Snakemake would throw away as older than its inputs."""
    file = tmp_path / "Fake.safetensors"
    file.touch()
    inputs = {"prepared": str(file), "others": [str(file)]}
    ahead = time.time() + 3600
    os.utime(file, (ahead, ahead))
    worked = []
    assert run_as_job(tmp_path, inputs=inputs, work=lambda: worked.append(1)) == 1
    errors = capsys.readouterr().err
    assert f"{file} is 60 minutes ahead of this machine's clock" in errors and "run again" in errors
    assert "Traceback" not in errors and not worked
    os.utime(file)
    with job(as_job(tmp_path, "measure.py", input=inputs, output={}, params={})):
        worked.append(1)
    assert worked


TARGET = "results/tiny/runs.parquet"


def through_snakemake(test):
    return pytest.mark.workflow(pytest.mark.xdist_group("workflow")(test))


@through_snakemake
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_no_gpu_is_said_once_before_any_job(tmp_path):
    write_parameters(tmp_path, lambda parameters: parameters.update(device="cuda"))
    result = snakemake(tmp_path, TARGET)
    assert result.returncode == 1
    assert result.stderr.count("device: cuda is asked for, but torch sees no GPU here; set device to") == 1
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "results").exists()
    assert snakemake(tmp_path, "--dry-run", TARGET).returncode == 0, "to plan for a GPU takes none"


@through_snakemake
def test_two_at_once_and_a_lock_left_behind(tmp_path):
    """The second is told why not; a lock that kill -9 has left is taken away as the message says."""

    def one_run(parameters):
        row = {"optimizer": "SGD", "learning_rate": 0.05, "weight_decay": 0.01}
        parameters["studies"]["tiny"]["experiments"] = {"grid": {"rows": [row]}}

    write_parameters(tmp_path, one_run)
    command = [SNAKEMAKE, "--snakefile", ROOT / "Snakefile", "--profile", ROOT / "profiles/default"]
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    first = subprocess.Popen([*command, "--directory", tmp_path, TARGET], cwd=tmp_path, **quiet)
    while not (logs := list(tmp_path.glob("results/tiny/logs/train/*"))):
        assert first.poll() is None
        time.sleep(0.05)
    pack = f"results/tiny/packs/{logs[0].stem}/outcomes.parquet"
    os.killpg(first.pid, signal.SIGSTOP)  # it is still at work, however long the second takes to start
    for ended in (False, True):
        second = snakemake(tmp_path, pack)
        assert second.returncode == 1
        assert "LockException" in second.stderr and "--unlock" in second.stderr
        assert "Traceback" not in second.stderr
        if not ended:
            os.killpg(first.pid, signal.SIGKILL)
            first.wait()
    assert snakemake(tmp_path, "--unlock").returncode == 0
    assert snakemake(tmp_path, pack).returncode == 0
    assert (tmp_path / pack).exists() and not list(tmp_path.glob("results/tiny/unfinished/*"))


@through_snakemake
def test_read_only_results_through_snakemake(tmp_path):
    write_parameters(tmp_path)
    results = tmp_path / "results"
    results.mkdir()
    mount(results, "--bind", results)
    try:
        mount(results, "-o", "remount,ro,bind")
        result = snakemake(tmp_path, TARGET)
    finally:
        subprocess.run(["umount", "--lazy", results], check=True)
    assert result.returncode == 1
    assert "results/tiny cannot be written; make results writable, then run again" in result.stderr
    assert "Traceback" not in result.stderr
