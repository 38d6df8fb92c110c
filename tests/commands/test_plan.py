"""What a study will cost, held against what training it writes and against the paper's own count."""

import shutil

import pandas as pd
import pytest
from conftest import ROOT

from collapse.architectures.initialisation import initial_network
from collapse.commands.main import main
from collapse.commands.plan import (
    forward_flops,
    measured_epochs,
    measured_speeds,
    pace_from,
    plan_table,
    run_bytes,
    run_flops,
    run_steps,
    statistics_bytes,
)
from collapse.files.errors import InputError
from collapse.measuring.pace import GUESSED, Pace, fitted, trained_on
from collapse.study.parameters import load_parameters
from collapse.study.runs import records, run_table, unique_runs
from collapse.training.images import load_images
from collapse.training.pack_files import prefixed
from collapse.training.run import train_run

PAPERS = ("FashionMNIST", 32, 60_000, 1.0)
FREE = Pace(None, 0.0, 0.0, 0.0, "steps and jobs that cost nothing")


def test_the_papers_count():
    """0.378 and 0.152 GMAC an image; 27.2 PFLOP a run of ResNet9 on 60,000 images, 10.9 of VGG9."""
    assert forward_flops("ResNet9", *PAPERS) / 2e9 == pytest.approx(0.378, abs=5e-4)
    assert forward_flops("VGG9", *PAPERS) / 2e9 == pytest.approx(0.152, abs=6e-4)
    assert 3 * 200 * 60_000 * forward_flops("ResNet9", *PAPERS) / 1e15 == pytest.approx(27.2, abs=0.1)
    assert 3 * 200 * 60_000 * forward_flops("VGG9", *PAPERS) / 1e15 == pytest.approx(10.9, abs=0.1)


def test_an_mlp_by_hand():
    """Two hidden layers of 128: inputs, 128 x 128, 128 x K, two operations a weight."""
    channels, classes = 1, 10
    one = forward_flops("MLP", "Digits", 8, 1_437, 1.0)
    assert one == 2 * (channels * 64 * 128 + 128 * 128 + 128 * classes)


def test_measuring_costs_a_forward_pass_each_time(tiny_run):
    assert [measured_epochs(tiny_run | {"epochs": e, "measure_every": 2}) for e in (1, 4, 5)] == [2, 4, 5]
    one = forward_flops("ResNet9", "Fake", 8, 300, 0.0625)
    rarely = run_flops(tiny_run | {"measure_every": 5})
    assert run_flops(tiny_run | {"measure_every": 1}) - rarely == one * 1 * (300 + 100)


def test_bytes_are_what_a_run_writes(tiny_run, prepared):
    import torch

    images = load_images(prepared, tiny_run, torch.device("cpu"))
    names = ("optimizer", "learning_rate", "momentum", "weight_decay", "coupled_fraction", "beta2", "epsilon",
             "schedule", "epochs", "batch_size", "measure_every", "seed")  # fmt: skip
    outcome = train_run(
        initial_network(tiny_run), images, padding=None, progress=lambda epoch, loss: None,
        **{name: tiny_run[name] for name in names},
    )  # fmt: skip
    written = [*prefixed("k", outcome.weights).values(), *outcome.trajectory.values()]
    at_the_end = statistics_bytes(10, 32)
    assert run_bytes(tiny_run) == sum(t.numel() * t.element_size() for t in written) + at_the_end


def test_the_plan_of_the_paper(parameters):
    """About 70 EFLOP for the training of the grid, and what measuring it adds."""
    table = run_table(parameters, "paper")
    plan = plan_table(table, images_per_second=parameters["images_per_second"], teraflops=200)
    its = table[table.experiment == "grid"]
    grid = plan_table(its, images_per_second=parameters["images_per_second"], teraflops=200)[:-1]
    assert plan.trainings.iloc[-1] == plan.trainings[:-1].sum() == table.key.nunique()
    assert plan.packs.iloc[-1] == table.pack.nunique()
    assert 70_000 < grid.petaflop.sum() < 85_000
    free = plan_table(table, images_per_second=parameters["images_per_second"], teraflops=200, pace=FREE)
    assert free.hours.to_numpy() == pytest.approx(plan.petaflop / 200e-3 / 3600)
    assert (plan.hours > free.hours).all() and plan.hours.iloc[-1] < 1.2 * free.hours.iloc[-1]
    speeds = parameters["images_per_second"]
    slow = plan_table(table, images_per_second=speeds, teraflops=None, pace=FREE)
    twice = {name: 2 * speed for name, speed in speeds.items()}
    fast = plan_table(table, images_per_second=twice, teraflops=None, pace=FREE)
    assert slow.hours.to_numpy() == pytest.approx(2 * fast.hours.to_numpy())


def test_speeds_come_from_the_benchmark(tmp_path, capsys, monkeypatch):
    """The last measurement on the device counts; half the width is about a quarter of the arithmetic."""
    file = tmp_path / "results.csv"
    rows = [
        ("trainer, ResNet9, width 1, tf32", "ours", "speed", 1000, "GPU A"),
        ("trainer, ResNet9, width 1, tf32", "ours", "speed", 2000, "GPU A"),
        ("trainer, ResNet9, width 1, tf32", "usual loop", "speed", 10, "GPU A"),
        ("trainer, ResNet9, width 1, bfloat16", "ours", "speed", 9000, "GPU A"),
        ("trainer, VGG9, width 0.5, tf32", "ours", "speed", 4000, "GPU A"),
        ("trainer, VGG9, width 1, tf32", "ours", "speed", 5, "GPU B"),
    ]
    columns = ["benchmark", "case", "quantity", "value", "device"]
    pd.DataFrame(rows, columns=columns).to_csv(file, index=False)
    found = measured_speeds(file, device="gpu a", precision="tf32")
    assert found["ResNet9"] == 2000 and 1000 < found["VGG9"] < 1020
    with pytest.raises(InputError, match="in tf32 on 'H200'; there are: GPU A, GPU B"):
        measured_speeds(file, device="H200", precision="tf32")
    with pytest.raises(InputError, match="no speed of training in float32 on 'GPU A'; there are: none"):
        measured_speeds(file, device="GPU A", precision="float32")
    monkeypatch.chdir(ROOT)
    assert main(["plan", "core", "--device", "GPU B", "--benchmarks", str(file)]) == 0
    assert "measured on GPU B (VGG9), else at images_per_second" in capsys.readouterr().out
    assert main(["plan", "core", "--device", "GPU B", "--benchmarks", str(tmp_path / "none.csv")]) == 2
    assert "none.csv: no such file" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)  # where the default is not
    arguments = ["plan", "core", "--device", "GPU B", "--params", str(ROOT / "params.yaml")]
    assert main(arguments) == 2 and "no such file; make bench" in capsys.readouterr().err


def test_the_command(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main(["plan", "demo"]) == 0
    text = capsys.readouterr().out
    assert "petaflop" in text and "images_per_second of params.yaml" in text
    assert main(["plan", "demo", "--teraflops", "200", "--csv"]) == 0
    assert capsys.readouterr().out.startswith("architecture,dataset,trainings,packs,petaflop,gigabytes,hours")
    assert main(["plan", "dmeo"]) == 2 and "unknown study 'dmeo'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["plan", "demo", "--teraflops", "-1"])
    assert "invalid positive value" in capsys.readouterr().err


def test_steps_are_batches(tiny_run):
    """300 images in batches of 64, five epochs; 400 a measurement, of which there are five and the last."""
    assert measured_epochs(tiny_run) == 5
    assert run_steps(tiny_run) == 5 * 5 + 7 * 6, "the last smaller batch too"


def test_the_fit_finds_speed_and_cost_of_a_step():
    flops, steps = [1e9, 4e9, 2e9, 8e9, 1e9], [100, 100, 1000, 50, 3000]
    seconds = [f / 2e9 + 0.01 * n for f, n in zip(flops, steps, strict=True)]
    assert fitted(flops, steps, seconds) == pytest.approx((2e9, 0.01))
    speed, cost = fitted(flops, steps, [f / 2e9 for f in flops])
    assert speed == pytest.approx(2e9) and cost == pytest.approx(0, abs=1e-9)
    speed, cost = fitted(flops, steps, [0.01 * n for n in steps])
    assert cost == pytest.approx(0.01) and speed > 1e15
    speed, cost = fitted([1e9, 2e9, 3e9], [30, 20, 10], [1.0, 2.0, 3.0])
    assert speed == pytest.approx(1e9) and cost == pytest.approx(0, abs=1e-9), "never below zero"


def test_a_small_study_takes_minutes(parameters, tmp_path):
    """What starting jobs and taking steps costs is most of it."""
    table = run_table(parameters, "demo")
    guessed = pace_from(parameters, tmp_path, study="demo", device="cpu")
    assert guessed == GUESSED
    plan = plan_table(table, images_per_second=parameters["images_per_second"], teraflops=None, targets=30)
    assert 0.05 < plan.hours.iloc[-1] < 0.5
    assert plan.architecture.tolist()[-2:] == ["tables, figures", "all"]
    assert plan.hours[:-1].sum() == pytest.approx(plan.hours.iloc[-1])


@pytest.mark.workflow
def test_the_plan_of_a_study_is_what_it_took(finished, tmp_path, capsys):
    """The tiny study, as if its trainings had taken what a law says: the plan says so too."""
    parameters = load_parameters(finished / "params.yaml")
    results = shutil.copytree(finished / "results", tmp_path / "results")
    runs = unique_runs(run_table(parameters, "tiny"))
    law = {run["key"]: run_flops(run) / 2e9 + 1e-3 * run_steps(run) for run in records(runs)}
    for file in (results / "tiny/packs").glob("*/outcomes.parquet"):
        outcomes = pd.read_parquet(file)
        outcomes.assign(seconds=outcomes.key.map(law)).to_parquet(file)
    pace = pace_from(parameters, results, study="tiny", device="cpu")
    assert pace.flops_per_second and pace.job_seconds > 0 and pace.target_seconds > 0
    taken = trained_on(results / "tiny", device="cpu")
    assert 8 <= len(taken) < len(runs), "one diverges"
    only = pace._replace(job_seconds=0.0)
    table = run_table(parameters, "tiny")
    its = table[table.key.isin(taken.key)]
    plan = plan_table(its, images_per_second=parameters["images_per_second"], teraflops=None, pace=only)
    assert 3600 * plan.hours.iloc[-1] == pytest.approx(taken.seconds.sum())
    elsewhere = pace_from(parameters, results, study="demo", device="cpu")
    assert elsewhere.flops_per_second is None and elsewhere.job_seconds == pace.job_seconds
    assert pace_from(parameters, results, study="tiny", device="H100") == GUESSED
    command = ["plan", "tiny", "--params", str(finished / "params.yaml"), "--results", str(results)]
    assert main(command) == 0
    assert f"trainings and their jobs in {results / 'tiny'} took on cpu" in capsys.readouterr().out
