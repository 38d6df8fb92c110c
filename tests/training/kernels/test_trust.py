"""A run takes fused kernels only where its first step by them is the plain one; else it says why not."""

import logging

import pandas as pd
import pytest
import torch
from interpreted import DEVICES, HAS_TRITON, INTERPRETED, VARIABLE, use_few_programs

from collapse.training import packs
from collapse.training.images import load_images
from collapse.training.kernels import trust
from collapse.training.kernels.named import kernels_named
from collapse.training.kernels.trust import KernelsError, chosen_kernels, lacks_fused, mistrust
from collapse.training.pack_files import PackPaths
from collapse.training.packs import first_batch, train_pack

CPU = torch.device("cpu")
interpreted_only = pytest.mark.skipif(not INTERPRETED, reason="needs Triton's interpreter, on a CPU")


@pytest.fixture
def interpreted(monkeypatch):
    """A CPU counts as a device with kernels."""
    if INTERPRETED:
        monkeypatch.setenv(VARIABLE, "1")
        use_few_programs(monkeypatch)


@pytest.fixture(autouse=True)
def few_test_images(monkeypatch):
    """A look at the features costs little."""

    def few(*arguments, **named):
        images = load_images(*arguments, **named)
        return images._replace(test_images=images.test_images[:10], test_labels=images.test_labels[:10])

    monkeypatch.setattr(packs, "load_images", few)


@pytest.fixture
def run(tiny_run):
    return tiny_run | {"train_size": 20, "batch_size": 20, "epochs": 1, "learning_rate": 0.003}


def batch_of(run, prepared, device):
    return first_batch(run, load_images(prepared, run, torch.device(device)))


def altered(name, change):
    """The fused kernels with one of them changed."""
    fused = kernels_named("fused")
    return fused._replace(**{name: change(getattr(fused, name))})


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_the_kernels_are_trusted(precision, device, run, prepared, interpreted):
    run = run | {"precision": precision, "optimizer": "SignumW", "width": 0.125}
    assert mistrust(run, *batch_of(run, prepared, device), kernels_named("fused")) == ""


def with_halved_gradients(written):
    def gradients(network, flat, batch, labels):
        loss = written(network, flat, batch, labels)
        flat.gradients.mul_(0.5)
        return loss

    return gradients


def without_running_statistics(written):
    def gradients(network, flat, batch, labels):
        before = [buffer.clone() for buffer in network.buffers()]
        loss = written(network, flat, batch, labels)
        for buffer, old in zip(network.buffers(), before, strict=True):
            buffer.copy_(old)
        return loss

    return gradients


def faster_rule(fused_rule):
    def rule(optimizer, flat, **settings):
        return fused_rule(optimizer, flat, **settings | {"momentum": 0.8})

    return rule


def enlarged(body):
    return lambda module, x: 1.01 * body(module, x)


def not_a_number(body):
    return lambda module, x: float("nan") * body(module, x)


@interpreted_only
@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("gradients", with_halved_gradients, "gradients of weights by 0.5 (trusted: 0.001)"),
        ("gradients", without_running_statistics, "running statistics by "),
        ("rule", faster_rule, "update by "),
        ("body", enlarged, "features in evaluation by 0.01 "),
        ("body", not_a_number, "features in evaluation by nan "),
    ],
)  # fmt: skip
def test_whatever_differs_is_named_with_by_how_much(part, change, words, run, prepared, interpreted):
    found = mistrust(run, *batch_of(run, prepared, CPU), altered(part, change))
    assert found.startswith("they differ from the plain ones") and words in found and "\n" not in found


def trained(run, prepared, tmp_path, kernels, *, runs=1):
    """The outcomes of a pack of equal runs but for their seeds."""
    paths, seeds = PackPaths.inside(tmp_path), range(3141, 3141 + runs)
    train_pack(
        [run | {"seed": seed, "key": f"{seed:012d}"} for seed in seeds], prepared=prepared, paths=paths,
        unfinished=tmp_path / "unfinished", device="cpu", kernels=kernels,
    )  # fmt: skip
    return pd.read_parquet(paths.outcomes)


@interpreted_only
def test_auto_takes_them_and_says_so(run, prepared, tmp_path, interpreted, caplog):
    outcomes = trained(run, prepared, tmp_path, "auto")
    assert outcomes.kernels.tolist() == ["fused"] and outcomes.status.tolist() == ["done"]
    assert "not trusted" not in caplog.text


@interpreted_only
def test_a_job_warns_once_and_goes_on_with_plain_ones(
    run, prepared, tmp_path, interpreted, monkeypatch, caplog
):
    broken = altered("gradients", with_halved_gradients)
    monkeypatch.setattr(trust, "kernels_named", lambda name: broken)
    outcomes = trained(run, prepared, tmp_path, "auto", runs=2)
    assert outcomes.kernels.tolist() == ["plain", "plain"] and (outcomes.status == "done").all()
    warnings = [x.getMessage() for x in caplog.records if "not trusted" in x.getMessage()]
    assert len(warnings) == 1 and "gradients of weights by 0.5" in warnings[0]
    with pytest.raises(KernelsError, match=r"gradients of weights by 0.5 .*; set kernels to auto or plain"):
        trained(run, prepared, tmp_path / "fused", "fused")
    assert not list((tmp_path / "fused").glob("*.parquet"))


@interpreted_only
@pytest.mark.parametrize("error", [RuntimeError("Failed to find C compiler.\nmore"), OSError("no Python.h")])
def test_without_a_compiler_plain_ones_train(error, run, prepared, interpreted, monkeypatch):
    def raising(*arguments):
        raise error

    monkeypatch.setattr(trust, "mistrust", raising)
    batch = batch_of(run, prepared, CPU)
    chosen, why = chosen_kernels("auto", run, lambda: batch, CPU)
    assert chosen == "plain" and why == f"{type(error).__name__}: {str(error).splitlines()[0]}"


@interpreted_only
def test_want_of_memory_gets_a_second_chance(run, prepared, tmp_path, interpreted, monkeypatch, caplog):
    """With the kernels that were chosen; amid the trial it makes the job go on with plain ones."""
    fused, calls = kernels_named("fused"), []

    def gradients(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory\nmore")
        return fused.gradients(*arguments)

    monkeypatch.setattr(
        "collapse.training.run.kernels_named", lambda name: fused._replace(gradients=gradients)
    )
    outcomes = trained(run, prepared, tmp_path / "run", "auto")
    assert outcomes.kernels.tolist() == ["fused"] and outcomes.status.tolist() == ["done"]
    assert "memory is freed and the run tried again" in caplog.text
    calls.clear()
    monkeypatch.setattr(trust, "kernels_named", lambda name: fused._replace(gradients=gradients))
    batch = batch_of(run, prepared, CPU)
    assert chosen_kernels("auto", run, lambda: batch, CPU) == (
        "plain", "OutOfMemoryError: CUDA out of memory",
    )  # fmt: skip


def never():
    raise AssertionError("no batch is needed to know it")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"architecture": "MLP"}, "Linear has no kernel"),
        ({"architecture": "ViT"}, "Tokens has no kernel"),
        ({"image_size": 12}, "a max-pool of 3 x 3 pixels has no kernel"),
    ],
)
@interpreted_only
def test_a_network_without_kernels_trains_by_plain_ones(changes, reason, run, interpreted):
    """With auto without a word."""
    assert chosen_kernels("auto", run | changes, never, CPU) == ("plain", "")
    with pytest.raises(KernelsError, match=reason):
        chosen_kernels("fused", run | changes, never, CPU)


def test_a_cpu_and_a_machine_without_triton_have_none(run, prepared, tmp_path, monkeypatch, caplog):
    """auto: plain, without a word; fused: one line before anything is trained."""
    caplog.set_level(logging.WARNING)
    monkeypatch.delenv(VARIABLE, raising=False)
    assert chosen_kernels("auto", run, never, CPU) == ("plain", "")
    with pytest.raises(KernelsError) as refused:
        trained(run, prepared, tmp_path, "fused")
    words = str(refused.value)
    assert words.startswith("kernels: fused is asked for, but cannot be used here: ") and "\n" not in words
    assert ("Triton has no kernels for the cpu" if HAS_TRITON else "triton is not installed") in words
    monkeypatch.setattr(trust.importlib.util, "find_spec", lambda name: None)
    assert lacks_fused(torch.device("cuda")) == "triton is not installed"
    assert not caplog.records


def test_plain_is_plain(run, monkeypatch):
    monkeypatch.setattr(packs, "first_batch", never)
    assert chosen_kernels("plain", run, never, CPU) == ("plain", "")
