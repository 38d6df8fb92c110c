"""Table 1 and the figure of the theorems: every check holds, and fails for a wrong rule."""

from __future__ import annotations

import runpy

import numpy as np
import pytest
from as_job import as_job
from matplotlib.figure import Figure
from synthetic import SCRIPTS, load_script

from collapse.metrics.neural_collapse import etf_distance, nc0
from collapse.paper.theorem_table import print_theorems, theorem_table
from collapse.theory.closed_forms import NC0_RATIOS
from collapse.theory.last_layer import descend, moving_problem
from collapse.theory.theorem_checks import (
    check_2_1,
    check_3_3,
    check_3_4,
    check_sgd,
    largest_stable,
    nc0_share_of_bound,
    sgd_alpha,
)

SETTING = {"learning_rate": 0.02, "weight_decay": 0.1, "steps": 800}
TABLE = {**SETTING, "num_classes": [3, 10], "momentum": 0.9, "seed": 3141}
FIGURE = {**SETTING, "steps": 300, "num_classes": 10, "more_classes": [3, 10], "momentum": 0.9, "seed": 3141}
PROBLEM = {"num_classes": 4, "momentum": 0.9, "seed": 0}


@pytest.fixture(scope="module")
def table():
    return theorem_table(**TABLE)


def failing(checks):
    """What fails of what is not a misprint."""
    return [
        check["check"]
        for check in checks
        if check["verdict"] == "fails" and not check["check"].startswith("as printed")
    ]


@pytest.mark.parametrize("optimizer", ["SGD", "SGDW"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_row_sum_of_real_training_follows_the_recursion(optimizer, momentum):
    """Gradients of a cross-entropy whose data change at every step; learning rate not constant."""
    rates = 0.05 / (1 + np.arange(300) / 50)
    how = {"momentum": momentum, "weight_decay": 0.3}
    gradient = moving_problem(num_classes=5, num_features=6, batch_size=9, seed=1)
    start = np.random.default_rng(2).normal(size=(5, 6))
    weights = list(descend(start, gradient, optimizer=optimizer, learning_rates=rates, **how))
    ratios = NC0_RATIOS[optimizer](rates, **how)
    np.testing.assert_allclose([nc0(weight) / nc0(start) for weight in weights], ratios, rtol=1e-9)
    assert np.linalg.norm(weights[-1] - ratios[-1] * start) > 0.1  # W itself was trained


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("optimizer", ["SGD", "SGDW"])
def test_bounds_of_theorems_3_1_and_3_2_are_sharp_in_training(optimizer, momentum):
    bound = 2 * (1 + momentum) if optimizer == "SGD" else 2.0

    def change(eta_lambda):
        how = PROBLEM | {"momentum": momentum, "learning_rate": 0.1, "weight_decay": eta_lambda / 0.1}
        alpha_T = sgd_alpha(optimizer, steps=600, **how)
        return alpha_T[-1] / alpha_T[300]

    assert change(0.99 * bound) < 0.1
    assert change(1.01 * bound) > 10
    assert change(bound) == pytest.approx(1, rel=1e-6)  # at the bound neither
    assert change(0.0) == pytest.approx(1, rel=1e-6)  # nor without decay


def test_largest_stable_finds_the_bound_of_the_rule_that_runs():
    how = PROBLEM | {"learning_rate": 0.1, "momentum": 0.05}
    assert largest_stable("SGD", near=2.1, **how) == pytest.approx(2.1, rel=1e-3)
    assert largest_stable("SGDW", near=2.1, **how) == pytest.approx(2.0, rel=1e-3)


def test_checks_hold_for_the_rule_they_speak_of():
    for name in ("SGD", "SGDW"):
        assert failing(check_sgd(predicted_for=name, simulated_with=name, **PROBLEM, **SETTING)) == []
    assert failing(check_3_3(simulated_with="SignumW", num_classes=4, **SETTING)) == []
    assert failing(check_3_4(simulated_with="Signum", num_classes=4, **SETTING)) == []


@pytest.mark.parametrize("right,wrong", [("SGD", "SGDW"), ("SGDW", "SGD")])
def test_sgd_checks_fail_for_the_other_decay(right, wrong):
    named = failing(check_sgd(predicted_for=right, simulated_with=wrong, **PROBLEM, **SETTING))
    assert len(named) == 2  # alpha(t) and the bound


def test_3_3_fails_for_coupled_decay():
    named = failing(check_3_3(simulated_with="Signum", num_classes=4, **SETTING))
    assert named == ["alpha(800)", "limit of ||W^T 1||^2 / K"]


@pytest.mark.parametrize("wrong", ["SignumW", "SGD", "SGDW"])
def test_3_4_fails_for_decoupled_decay_and_without_the_sign(wrong):
    named = failing(check_3_4(simulated_with=wrong, num_classes=4, **SETTING))
    assert {"alpha(800)", "T1", "T2, within two steps"} <= set(named)


def test_proposition_2_1_is_a_tight_bound():
    (check,) = check_2_1(num_classes=7, seed=0)
    assert check["verdict"] == "holds"
    assert check["simulated"] == pytest.approx(1, abs=1e-4)
    rng = np.random.default_rng(1)
    for _ in range(20):
        assert nc0_share_of_bound(*rng.normal(size=(2, 5, 9))) <= 1


def test_proposition_2_1_needs_bounded_weights():
    """NC2 = 0 and NC3 -> 0 with NC0 = 1: W = s M^T with 1 v^T / K added, s -> infinity."""
    means_KD = np.eye(4) - 1 / 4
    assert etf_distance(means_KD @ means_KD.T) < 1e-12
    rows_KD = np.full((4, 4), 1 / 8)  # the same in every row, of norm 1/4
    nc3 = []
    for size in (1.0, 100.0, 10_000.0):
        weight_KD = size * means_KD + rows_KD
        assert nc0(weight_KD) == pytest.approx(1)
        nc3.append(np.linalg.norm(weight_KD / np.linalg.norm(weight_KD) - means_KD / np.sqrt(3)))
    assert nc3[2] < 1e-4 < nc3[1] < 1e-2 < nc3[0]


def test_every_check_holds_but_for_the_misprints(table):
    printed = table["check"].str.startswith("as printed")
    assert (table.loc[~printed, "verdict"] == "holds").mean() == 1
    assert set(table.loc[printed, "verdict"]) == {"fails"}
    assert list(dict.fromkeys(table["theorem"])) == ["2.1", "3.1", "3.2", "3.3", "3.4"]
    missing = table[table["check"] == "as printed: limit of ||W^T 1||^2"]
    np.testing.assert_allclose(missing["simulated"] / missing["predicted"], [3, 10], rtol=0.5)


def test_table_prints(table):
    printed = print_theorems(table)
    assert len(printed) == 5 * 2
    assert printed["Verdict"].str.startswith("holds").all()
    assert list(printed["Verdict"]).count("holds; not as printed") == 4
    assert "α(800)" in " ".join(printed["Predicted, simulated"])
    broken = table.assign(verdict="fails")
    assert print_theorems(broken)["Verdict"].str.startswith("fails: ").all()


def test_two_classes_are_refused():
    with pytest.raises(ValueError, match="at least 3"):
        theorem_table(**TABLE | {"num_classes": [2, 10]})


def snakemake(tmp_path, script, settings, *names):
    output = {name: tmp_path / f"target.{name}" for name in names}
    params = {"settings": settings, "caption": "The theorems.", "note": None}
    return as_job(tmp_path, script, output=output, params=params, config={"study": "demo"})


def test_script_writes_table_1_and_repeats_it_bit_for_bit(tmp_path, table):
    job = snakemake(tmp_path, "tables/table_1.py", TABLE | {"num_classes": [10]}, "csv", "markdown", "html")
    runpy.run_path(str(SCRIPTS / "tables/table_1.py"), init_globals={"snakemake": job})
    assert job.output.csv.read_text() == table[table["num_classes"] == 10].to_csv(
        index=False, lineterminator="\n"
    )
    text = job.output.markdown.read_text(encoding="utf-8")
    assert text.startswith("**The theorems.**")
    assert "not as printed" in text


def test_figure_shows_predicted_and_simulated():
    draw = load_script("figures/theory.py").draw
    figure = draw(**FIGURE)
    assert isinstance(figure, Figure)
    texts = " ".join(t.get_text() for t in figure.findobj(match=lambda artist: hasattr(artist, "_text")))
    for word in ("predicted", "simulated", "SGDW", "$T_1$", "$T_2$", "$K = 3$"):
        assert word in texts
    for axis in figure.axes:
        circles = [line for line in axis.lines if line.get_marker() == "o"]
        curves = [line for line in axis.lines if line.get_linestyle() == "-" and len(line.get_xdata()) > 9]
        assert len(circles) >= 2 and len(curves) >= 2


def test_script_draws_the_figure(tmp_path):
    job = snakemake(tmp_path, "figures/theory.py", FIGURE, "pdf", "png")
    runpy.run_path(str(SCRIPTS / "figures/theory.py"), init_globals={"snakemake": job})
    assert job.output.pdf.read_bytes().startswith(b"%PDF")
    assert job.output.png.stat().st_size > 20_000
