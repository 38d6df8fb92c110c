"""Packs: a run does not know its neighbours, and nothing finished is trained twice."""

import numpy as np
import pandas as pd
import pytest
import torch

from collapse.measuring.collect import collect
from collapse.measuring.extraction import extract_statistics
from collapse.measuring.measurement import measure_pack
from collapse.measuring.results import MEASURES
from collapse.study.settings import SETTINGS
from collapse.training import packs
from collapse.training.pack_files import PackFileError, PackPaths, joined, read_pack
from collapse.training.packs import train_pack
from collapse.training.reuse import take_over


@pytest.fixture
def runs(tiny_run):
    """Three runs that end well and one that diverges."""
    changes = [
        {"optimizer": "SGD"},
        {"optimizer": "AdamW", "learning_rate": 0.003},
        {"optimizer": "SignumW", "learning_rate": 0.003},
        {"optimizer": "SGD", "learning_rate": 1e12},
    ]
    return [tiny_run | {"key": f"{i:012d}"} | change for i, change in enumerate(changes)]


def trained(runs, prepared, folder):
    paths = PackPaths.inside(folder)
    train_pack(runs, prepared=prepared, paths=paths, unfinished=folder / "unfinished", device="cpu")
    return read_pack(paths)


def assert_same(one, other):
    """Everything but the seconds it took."""
    for ours, theirs in [(one.weights, other.weights), (one.trajectory, other.trajectory)]:
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name].nan_to_num(7), theirs[name].nan_to_num(7)) for name in ours)
    pd.testing.assert_frame_equal(one.history, other.history)
    pd.testing.assert_frame_equal(
        one.outcomes.drop(columns="seconds"), other.outcomes.drop(columns="seconds")
    )


def test_results_do_not_depend_on_the_pack_or_its_order(runs, prepared, tmp_path):
    together = trained(runs, prepared, tmp_path / "together")
    backwards = trained(runs[::-1], prepared, tmp_path / "backwards")
    for number, run in enumerate(runs):
        alone = trained([run], prepared, tmp_path / str(number))
        assert_same(alone, joined([together], keys=[run["key"]]))
        assert_same(alone, joined([backwards], keys=[run["key"]]))


def test_a_diverged_run_is_recorded_and_its_pack_goes_on(runs, prepared, tmp_path):
    pack = trained(runs[::-1], prepared, tmp_path)
    status = pack.outcomes.set_index("key").status
    assert status.tolist() == ["diverged", "done", "done", "done"]
    diverged = pack.outcomes.iloc[0]
    assert "not finite at epoch" in diverged.reason and diverged.epochs_done < 5
    assert not any(name.startswith(diverged.key) for name in pack.weights)


def no_memory(*_, **__):
    raise RuntimeError("CUDA out of memory.\nTried to allocate")


def test_a_failed_run_is_recorded_and_gets_another_chance(runs, prepared, tmp_path, monkeypatch):
    train_run = packs.train_run

    def some_memory(*arguments, **settings):
        return (no_memory if settings["optimizer"] == "AdamW" else train_run)(*arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(packs, "train_run", some_memory)
        failed = trained(runs[:2], prepared, tmp_path)
    assert failed.outcomes.status.tolist() == ["done", "failed"]
    assert failed.outcomes.reason.tolist() == ["", "CUDA out of memory."]
    assert trained(runs[:2], prepared, tmp_path).outcomes.status.tolist() == ["done", "done"]


def test_augmentation_of_a_run_is_heeded(runs, prepared, tmp_path):
    plain = trained(runs[:1], prepared, tmp_path / "plain")
    cropped = trained([runs[0] | {"augmentation": "crop_flip"}], prepared, tmp_path / "cropped")
    name = f"{runs[0]['key']}/head.weight"
    assert not torch.equal(plain.weights[name], cropped.weights[name])


def test_a_pack_without_a_trained_run_is_an_error(runs, prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(packs, "train_run", no_memory)
    with pytest.raises(PackFileError, match="CUDA out of memory"):
        trained(runs[:2], prepared, tmp_path)
    assert not PackPaths.inside(tmp_path).outcomes.exists()


def test_added_runs_are_trained_alone(runs, prepared, tmp_path, monkeypatch):
    first = trained(runs[:2], prepared, tmp_path)
    called = []
    train_one = packs.train_one
    monkeypatch.setattr(
        packs, "train_one", lambda run, *rest: called.append(run["key"]) or train_one(run, *rest)
    )
    second = trained(runs[:3], prepared, tmp_path)
    assert called == [runs[2]["key"]]
    assert all(torch.equal(second.weights[name], tensor) for name, tensor in first.weights.items())
    assert second.outcomes.iloc[:2].equals(first.outcomes)


def test_finished_runs_of_an_interrupted_job_are_kept(runs, prepared, tmp_path, monkeypatch):
    whole = trained(runs, prepared, tmp_path / "whole")
    train_one = packs.train_one
    called = []

    def interrupted(run, *rest):
        called.append(run["key"])
        if len(called) == 3:
            raise KeyboardInterrupt
        return train_one(run, *rest)

    monkeypatch.setattr(packs, "train_one", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained(runs, prepared, tmp_path / "again")
    resumed = trained(runs, prepared, tmp_path / "again")
    assert called == [run["key"] for run in runs[:3]] + [run["key"] for run in runs[2:]]
    assert_same(whole, resumed)
    assert not (tmp_path / "again" / "unfinished").exists()


@pytest.mark.parametrize("name", ["weights", "history", "outcomes"])
def test_a_truncated_file_is_named_with_the_remedy(runs, prepared, tmp_path, name):
    trained(runs[:1], prepared, tmp_path)
    path = getattr(PackPaths.inside(tmp_path), name)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(PackFileError, match="delete it and run again") as caught:
        trained(runs[:2], prepared, tmp_path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_from_training_to_the_two_tables(runs, prepared, tmp_path):
    """Measured from the checkpoint, the metrics are those that training saw at its end."""
    paths = PackPaths.inside(tmp_path)
    pack = trained(runs, prepared, tmp_path)
    extract_statistics(
        runs, prepared=prepared, weights=paths.weights, statistics=tmp_path / "s", device="cpu"
    )
    measure_pack(
        statistics=tmp_path / "s", trajectory=paths.trajectory, metrics=tmp_path / "m",
        history_metrics=tmp_path / "h", convention="reported",
    )  # fmt: skip
    table = pd.DataFrame(runs)[["key", *SETTINGS]]
    table = pd.concat([table.assign(experiment="a"), table[:1].assign(experiment="b")]).assign(pack="p")
    collect(
        table, histories=[paths.history], outcomes=[paths.outcomes], metrics=[tmp_path / "m"],
        history_metrics=[tmp_path / "h"], evidence=[],
        valid_accuracies={"a": 0.9, "b": 0.9}, runs_file=tmp_path / "runs", history_file=tmp_path / "history",
    )  # fmt: skip
    result, history = pd.read_parquet(tmp_path / "runs"), pd.read_parquet(tmp_path / "history")
    assert result.columns[:3].tolist() == ["experiment", "key", "pack"]
    assert len(result) == 5 and len(history) == len(pack.history)
    assert result.status.tolist() == ["done", "done", "done", "diverged", "done"]
    assert result.valid.tolist() == (result.train_accuracy >= 0.9).tolist()
    assert history.measured.tolist() == history.NC3.notna().tolist()
    assert history.NC0.notna().sum() == len(history) - 1, "the diverged epoch alone has none"
    last = history[history.epoch == 5].set_index("key")
    first = history[history.epoch == 0].set_index("key")
    for row in result.itertuples():
        for name in MEASURES:
            assert getattr(row, f"{name}_init") == first.loc[row.key, name]
            if row.status == "done":
                assert getattr(row, name) == last.loc[row.key, name], name
            else:
                assert pd.isna(getattr(row, name))
    assert result[result.status == "diverged"].train_accuracy.isna().all(), "it has no end"
    centred = last.loc[result.key[result.status == "done"]]
    squared = 2 - (2 - centred.NC3_centred**2) * np.sqrt(1 - centred.gauge_share)
    np.testing.assert_allclose(centred.NC3, np.sqrt(squared), atol=1e-9)
    undertrained = result[(result.status == "done") & ~result.valid]
    assert undertrained.reason.str.startswith("undertrained: training accuracy").all()
    assert result.NC0_closed_form.notna().tolist() == [True, False, False, True, True]
    sgd = result.iloc[0]
    assert pytest.approx(sgd.NC0_closed_form, rel=1e-4) == sgd.NC0


def test_a_run_without_outcome_is_never_silently_missing(runs, prepared, tmp_path):
    paths = PackPaths.inside(tmp_path)
    trained(runs[:1], prepared, tmp_path)
    measure_pack_file = tmp_path / "m"
    pd.DataFrame({"key": pd.Series(dtype=str)}).to_parquet(measure_pack_file)
    with pytest.raises(PackFileError, match=runs[1]["key"]):
        collect(
            pd.DataFrame(runs[:2]).assign(experiment="a", pack="p"), histories=[paths.history],
            outcomes=[paths.outcomes], metrics=[measure_pack_file],
            history_metrics=[measure_pack_file], evidence=[], valid_accuracies={"a": 0.9, "b": 0.9},
            runs_file=tmp_path / "runs", history_file=tmp_path / "history",
        )  # fmt: skip


def test_a_run_that_another_pack_had_is_taken_over(runs, prepared, tmp_path):
    """Packed differently, nothing is trained again that was: to the same bits."""
    together = trained(runs, prepared, tmp_path / "former")
    folder, former = tmp_path / "now", [tmp_path / "none", tmp_path / "former"]
    added = runs[0] | {"key": "added0000000", "momentum": 0.5}
    paths, unfinished = PackPaths.inside(folder), folder / "unfinished"
    take_over([runs[2], added, runs[3]], paths=paths, unfinished=unfinished, former=former)
    assert sorted(part.name for part in unfinished.iterdir()) == sorted([runs[2]["key"], runs[3]["key"]])
    pack = trained([runs[2], added, runs[3]], prepared, folder)
    kept = [runs[2]["key"], runs[3]["key"]]
    assert_same(joined([pack], keys=kept), joined([together], keys=kept))
    seconds = [one.outcomes.set_index("key").seconds[kept].tolist() for one in (pack, together)]
    assert seconds[0] == seconds[1], "copied, not trained"
    take_over([runs[2], added], paths=paths, unfinished=unfinished, former=former)
    assert not unfinished.exists(), "what the pack has it need not take over"
