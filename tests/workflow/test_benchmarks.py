"""Every benchmark runs, at a size at which its figures mean nothing, and keeps what it measures."""

import importlib
import subprocess
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
import tiny_study
import torch
import yaml
from conftest import ROOT
from interpreted import INTERPRETED, VARIABLE, use_few_programs

from collapse.commands.main import main
from collapse.study.runs import run_table


@pytest.fixture
def benchmark(monkeypatch, tmp_path):
    """Runs a benchmark as its command line does; returns what it adds to the results."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    alternating = importlib.import_module("alternating")
    monkeypatch.setattr(alternating, "RESULTS", tmp_path / "results.csv")

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        importlib.import_module(name).main()
        return pd.read_csv(tmp_path / "results.csv")

    return run


def test_the_metrics_are_those_of_the_usual_way(benchmark):
    """On ordinary, shifted, collapsed and nearly rank-one features: to 1e-10 of a float64 gold."""
    table = benchmark("metrics", "--samples", 2000, "--features", 64, "--rounds", 2)
    deviations = table[table.quantity.str.startswith("largest relative deviation")]
    ours = deviations[deviations.case == "ours"]
    assert len(ours) == 4 and (ours.value < 1e-10).all()
    lost = deviations[(deviations.case == "usual, float32") & deviations.quantity.str.endswith("rank one")]
    assert lost.value.item() > 0.5, "a float32 pseudo-inverse drops directions"
    ratios = table[table.quantity == "times faster than usual, float64"]
    assert len(ratios) == 2 and (ratios.low <= ratios.value).all() and (ratios.value <= ratios.high).all()


@pytest.mark.parametrize("architecture", ["ResNet9", "VGG9"])
def test_the_trainer_against_the_usual_loop(benchmark, architecture):
    table = benchmark(
        "trainer", "--architecture", architecture, "--width", 0.0625, "--samples", 256, "--rounds", 1,
        "--device", "cpu",
    )  # fmt: skip
    assert table.case.unique().tolist() == ["usual loop", "ours"]
    looking = "looking at the features, of the time of 200 epochs"
    assert set(table.quantity) == {"time", "speed", "times faster than usual loop", looking}
    assert (table.threads == 1).all() and (table.torch == torch.__version__).all()


def test_both_loops_take_the_same_step(benchmark, monkeypatch):
    """The same batch, network and hyperparameters: the same parameters after it, up to rounding."""
    trainer = importlib.import_module("trainer")
    chosen = SimpleNamespace(
        architecture="ResNet9", width=0.0625, samples=64, device="cpu", precision="float32"
    )
    theirs, mine = trainer.as_usual(trainer.new_network(chosen)), trainer.new_network(chosen)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (64, 28, 28), dtype=torch.uint8, generator=generator)
    pictures = trainer.Pictures(pixels, torch.arange(64) % 10)
    ready = trainer.preprocess(pixels[:, None], dataset="FashionMNIST", image_size=32)
    torch.testing.assert_close(torch.stack([picture for picture, _ in pictures]), ready, rtol=0, atol=1e-6)
    optimizer = torch.optim.SGD(
        theirs.parameters(), lr=trainer.LEARNING_RATE, momentum=trainer.MOMENTUM,
        weight_decay=trainer.WEIGHT_DECAY,
    )  # fmt: skip
    loader = trainer.DataLoader(pictures, trainer.BATCH)
    images = SimpleNamespace(train_images=ready, train_labels=pictures.labels)
    usual = trainer.usual_epoch(theirs, optimizer, loader, torch.device("cpu"))
    assert usual == pytest.approx(trainer.OurEpochs(mine, images)(), rel=1e-5)
    for one, other in zip(theirs.parameters(), mine.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_the_usual_loop_with_workers(benchmark):
    """Workers of a DataLoader are processes of a process."""
    table = benchmark(
        "trainer", "--architecture", "ResNet9", "--width", 0.0625, "--samples", 64, "--rounds", 1,
        "--device", "cpu", "--workers", 1, 2,
    )  # fmt: skip
    assert table.case.unique().tolist() == ["usual loop, 1 workers", "ours", "usual loop, 2 workers"]
    assert {f"times faster than usual loop, {n} workers" for n in (1, 2)} <= set(table.quantity)
    assert not table.duplicated(["case", "quantity"]).any()


def test_the_most_wanted_runs_come_first(benchmark, parameters):
    reported = yaml.safe_load((ROOT / "reference/reported.yaml").read_text(encoding="utf-8"))
    module = importlib.import_module("wanted_runs")
    found = module.wanted_runs(parameters, reported)
    table = pd.concat([run_table(parameters, study) for study in ("core", "paper")])
    runs = table.drop_duplicates("key").set_index("key").loc[[one.key for one in found]]
    assert runs.optimizer.tolist()[:3] == ["SGDW", "Signum", "SignumW"]
    assert [one.kernels for one in found[3:9]] == [None] * 3 + ["fused"] * 3
    heatmap = runs[[one.experiment == "momentum_heatmap" for one in found]]
    assert len(heatmap) == 56
    corners = set(zip(heatmap.momentum[:4], heatmap.weight_decay[:4], strict=True))
    assert corners == {(0, 0), (0, 0.005), (0.98, 0), (0.98, 0.005)}
    best = runs[[one.experiment == "grid" for one in found]].set_index("optimizer")
    assert len(best) == 6
    for optimizer, settings in reported["table5"].items():
        assert best.loc[optimizer, list(settings)].to_dict() == settings
    assert sorted(runs.seed[-28:-24]) == [3142, 3142, 3143, 3143]
    assert runs.optimizer.tolist()[-24:-20] == ["MuonW", "MuonHiddenW", "LionW", "AdamW"]


@pytest.mark.skipif(not INTERPRETED, reason="needs Triton's interpreter, on a CPU")
def test_fused_kernels_beside_plain_ones(benchmark, monkeypatch):
    monkeypatch.setenv(VARIABLE, "1")
    use_few_programs(monkeypatch)
    small = ["--precision", "tf32", "--width", 0.0625, "--device", "cpu"]
    table = benchmark("kernels", "--architecture", "ResNet9", *small, "--image-size", 8)
    assert set(table.case) == {"plain", "fused", "matrix product"} and table.benchmark.nunique() == 1
    fused = table[table.case == "fused"].set_index("quantity").value
    assert fused["trusted"] == 1 and fused["time of a step"] > 0
    distances = fused[fused.index.str.startswith("distance of the ")]
    assert len(distances) == 2 and (distances < 1e-5).all()
    expected = fused["arithmetic"] / table[table.case == "matrix product"].value.item()
    assert fused["of the matrix rate"] == pytest.approx(expected, rel=1e-3)
    assert 0 < fused["looks at the features, of the time of 200 epochs"] < 1
    monkeypatch.delenv(VARIABLE)
    without = benchmark("kernels", "--architecture", "VGG9", *small)
    without = without[without.benchmark.str.contains("VGG9")]
    assert without[without.quantity == "trusted"].value.item() == 0
    assert set(without[without.quantity == "speed"].case) == {"plain"}


@pytest.mark.workflow
def test_the_overhead_of_jobs(benchmark, finished):
    table = benchmark("overhead", "tiny", "--results", finished / "results")
    train = table[table.case == "train"]
    assert train.rounds.item() == 4 and 0 < train.low.item() <= train.high.item()
    assert {"extract_statistics", "measure", "collect"} <= set(table.case)


@pytest.mark.workflow
def test_all_that_a_gpu_should_show(finished, tmp_path, benchmark):
    """Every stage but the tests on a CPU, at a size that means nothing; what evidence has is not trained."""
    tiny_study.write_parameters(tmp_path)

    def on_gpu(minutes, evidence, out, *stages):
        return subprocess.run(
            [sys.executable, ROOT / "benchmarks/on_gpu.py", "--minutes", str(minutes),
             "--out", tmp_path / out, "--device", "cpu", "--study", "tiny", "--experiment", "table_2",
             "--params", tmp_path / "params.yaml", "--width", "0.0625", "--samples", "256",
             "--results", tmp_path / f"{out}_results", "--evidence", evidence,
             "--stages", *stages],
            capture_output=True, text=True, timeout=600, cwd=tmp_path,
        )  # fmt: skip

    empty = tmp_path / "none"
    empty.mkdir()
    first = on_gpu(8, empty, "first", "trainer")
    assert first.returncode == 0, first.stdout
    assert "trainer: 0, 0, 0, 0, 0" in first.stdout
    rows = pd.read_csv(tmp_path / "first/results.csv")
    assert rows.benchmark.str.startswith("trainer, ").all() and len(rows) > 20
    assert "hours: of one device, at the speed measured on" in (tmp_path / "first/log.txt").read_text()

    half = tmp_path / "evidence/tiny/table_2"
    whole = ["--study", "tiny", "--experiment", "table_2", "--params", str(tmp_path / "params.yaml")]
    assert (
        main(["evidence", *whole, "--results", str(finished / "results"), "--out", str(half.parents[1])]) == 0
    )
    none_left = on_gpu(2, tmp_path / "evidence", "second", "runs")
    assert none_left.returncode == 0 and "evidence has all that are wanted" in none_left.stdout
    mistaken = on_gpu(2, tmp_path / "absent", "mistaken", "runs")
    assert mistaken.returncode == 2 and "absent is not there" in mistaken.stderr
    trained = on_gpu(4, empty, "third", "runs")
    assert trained.returncode == 0 and "runs: 0, 0, 0, 0, 0, 0, 0, 0" in trained.stdout, trained.stdout
    assert "1 of 4 runs" in trained.stdout and "4 of 4 runs" in trained.stdout, "home after each"
    for name in ("runs.parquet", "history.parquet"):
        one, other = (pd.read_parquet(tmp_path / f"{place}/{name}") for place in (
            "third/evidence/tiny/table_2", "evidence/tiny/table_2"))  # fmt: skip
        pd.testing.assert_frame_equal(
            *(table.drop(columns="seconds", errors="ignore") for table in (one, other))
        )


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_without_a_gpu_all_that_a_gpu_should_show_stops_at_once(tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, ROOT / "benchmarks/on_gpu.py", "--minutes", "9", "--out", out]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and not done.stdout and not out.exists()
    assert done.stderr == "on_gpu.py: torch sees no GPU here; --device cpu shows that all stages work\n"
