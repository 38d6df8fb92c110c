"""Figures of runs through training (4, 8, 9, 14, 15, 17-25): that each shows the runs it names."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import ROOT
from figure_parts import drawn_lines, words
from synthetic import fail, load_script, make_paper, undertrain

from collapse.optimizers import OPTIMIZERS
from collapse.paper.selection import select
from collapse.paper.targets import target_settings, targets_of
from collapse.study.parameters import load_parameters

PARAMETERS = load_parameters(ROOT / "params.yaml")
FIGURES = targets_of(PARAMETERS, "paper", "figures")
SIX = ["SGD", "SGDW", "Adam", "AdamW", "Signum", "SignumW"]


@pytest.fixture(scope="module")
def paper():
    return make_paper(seed=0)


def drawn(number: int, runs, history, **changes):
    """The paper's figure of that number."""
    target = FIGURES[f"figure_{number}"]
    settings = target_settings(PARAMETERS, "paper", target["settings"]) | changes
    return load_script(f"figures/{target['script']}.py").draw(runs, history, **settings)


def of_setting(number: int, runs, **conditions):
    """The runs, valid or not, that a figure's settings name."""
    settings = FIGURES[f"figure_{number}"]["settings"]
    chosen = {name: settings[name] for name in ("experiment", "architecture", "dataset")}
    return select(runs, **chosen, **{"valid": False, **conditions})


def legend(figure) -> list[str]:
    """The entries of a figure's legend."""
    return [text.get_text() for text in figure.legends[0].get_texts()]


def log_of(history, key: str, metric: str):
    """What was logged of a metric of one run."""
    return history[(history["key"] == key)].dropna(subset=[metric]).sort_values("epoch")


def test_alpha_is_nc0_squared_over_the_classes_at_steps(paper):
    runs, history = paper
    figure = drawn(9, runs, history)
    decays = sorted(of_setting(9, runs)["weight_decay"].unique())
    assert len(figure.axes) == len(decays) == 3
    for axis, decay in zip(figure.axes, decays, strict=True):
        for line, name in zip(axis.lines, ["SGD", "Adam", "AdamW", "Signum", "SignumW"], strict=True):
            (key,) = of_setting(9, runs, optimizers=[name], where={"weight_decay": decay})["key"]
            logged = log_of(history, key, "NC0")
            np.testing.assert_array_equal(line.get_xdata(), 5 * logged["epoch"])  # 640 samples in 128s
            np.testing.assert_allclose(line.get_ydata(), logged["NC0"] ** 2 / 10)
            assert line.get_color() == OPTIMIZERS[name].colour
    assert legend(figure) == ["SGD", "Adam", "AdamW", "SignSGD", "SignSGDW"]


def test_the_inlay_has_the_last_steps_and_hides_no_curve(paper):
    figure = drawn(9, *paper)
    figure.draw_without_rendering()
    for axis in figure.axes:
        (inlay,) = axis.child_axes
        assert inlay.get_xlim() == (8000, 10000)
        box = inlay.get_tightbbox().transformed(axis.transAxes.inverted())
        for line in axis.lines:
            heights = axis.transLimits.transform(np.log10(line.get_xydata().clip(1e-300)))[:, 1]
            assert heights.max() < box.y0
        low, high = inlay.get_ylim()
        ends = [line.get_ydata()[line.get_xdata() >= 8000] for line in inlay.lines]
        assert low <= min(map(np.min, ends)) <= max(map(np.max, ends)) <= high


def test_signum_with_momentum_keeps_its_name(paper):
    runs, history = paper
    changed = runs.copy()
    changed.loc[(runs["experiment"] == "mlp") & (runs["optimizer"] == "Signum"), "momentum"] = 0.9
    assert legend(drawn(9, changed, history))[3:] == ["Signum", "SignSGDW"]


def test_curves_of_the_smallest_nc3_are_those_of_table_5(paper):
    runs, history = paper
    best = load_script("tables/table_5.py").make(
        runs, experiment="grid", architecture="ResNet9", dataset="FashionMNIST", optimizers=SIX
    )
    for number, metrics in (
        (17, ["train_loss", "train_accuracy"]),
        (18, ["NC0", "NC3"]),
        (20, ["NC1", "NC2"]),
    ):
        figure = drawn(number, runs, history, closed_form=False)
        for axis, metric in zip(figure.axes, metrics, strict=True):
            by_colour = {line.get_color(): line for line in axis.lines}
            assert len(axis.lines) == len(by_colour) == 6
            for row in best.itertuples():
                line = by_colour[OPTIMIZERS[row.optimizer].colour]
                logged = log_of(history, row.key, metric)
                np.testing.assert_allclose(line.get_xydata(), logged[["epoch", metric]])


def test_an_undertrained_run_of_smaller_nc3_is_not_drawn(paper):
    runs, history = paper
    adam = of_setting(18, runs, optimizers=["Adam"], valid=True).sort_values("NC3")
    changed = undertrain(runs, runs["key"] == adam["key"].iloc[0])
    figure = drawn(18, changed, history, optimizers=["Adam"])
    logged = log_of(history, adam["key"].iloc[1], "NC3")
    np.testing.assert_allclose(figure.axes[1].lines[0].get_ydata(), logged["NC3"])


def test_singular_values_on_a_logarithmic_axis_leave_out_what_is_zero(paper):
    runs, history = paper
    figure = drawn(19, runs, history)
    weights, means = figure.axes
    assert len(weights.lines) == 12 and len(means.lines) == 6
    assert min(line.get_ydata().min() for line in means.lines) > 1
    assert "the smallest singular value of M is 0" in words(figure)
    assert len(drawn(19, runs, history, scale="linear").axes[1].lines) == 12


def test_a_figure_narrowed_to_some_momenta_has_these_alone(paper):
    runs, history = paper
    figure = drawn(4, runs, history)
    assert [len(axis.lines) for axis in figure.axes] == [2] * 5
    assert len(drawn(23, runs, history).axes[0].lines) == 7
    without = runs[runs["momentum"] != 0.7]
    said = words(drawn(4, without, history))
    assert "no run with momentum 0.7 in this study" in said
    diverged = fail(runs, runs["momentum"] == 0.7, status="diverged", reason="x")
    assert "no valid run of SGD at momentum 0.7 here: 1 diverged" in words(drawn(4, diverged, history))
    slow = undertrain(runs, runs["momentum"] == 0.9)
    assert "SGD at momentum 0.9 undertrained: 93.0% training accuracy" in words(drawn(4, slow, history))


def test_the_coupled_share_tells_the_interpolations_apart(paper):
    runs, history = paper
    figure = drawn(8, runs, history)
    assert legend(figure) == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
    assert figure.legends[0].get_title().get_text() == "coupled share of the weight decay"
    shares = of_setting(8, runs).sort_values("coupled_fraction")
    for line, key in zip(figure.axes[1].lines, shares["key"], strict=True):
        np.testing.assert_allclose(line.get_ydata(), log_of(history, key, "NC0")["NC0"])


def test_short_and_long_runs_without_decay_differ_in_dashes(paper):
    runs, history = paper
    figure = drawn(25, runs, history)
    lines = figure.axes[3].lines
    assert len(lines) == 7  # the run with decay is not among them
    assert [line.get_linestyle() for line in lines] == ["-"] * 5 + ["--"] * 2
    assert [line.get_xdata()[-1] for line in lines] == [200] * 5 + [2000] * 2
    assert lines[0].get_color() == pytest.approx(lines[5].get_color())  # momentum 0
    momenta = [rf"$\beta$ = {momentum}" for momentum in ("0", "0.7", "0.9", "0.95", "0.98")]
    assert legend(figure) == [*momenta, "200 epochs", "2000 epochs"]
    ticks = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert ticks == ["0", "1", "10", "100", "1000"]
    lost = (runs["experiment"] == "zero_weight_decay") & (runs["epochs"] == 2000)
    said = words(drawn(25, fail(runs, lost, status="diverged", reason="x"), history))
    assert "no valid run of SGD at momentum 0.98, 2000 epochs here: 1 diverged" in said
    assert len(drawn(22, runs, history).axes[0].lines) == 5


def test_a_constant_shows_no_rounding(paper):
    constant = drawn(22, *paper).axes[0]
    low, high = constant.get_ylim()
    assert low < 1.2 and high > 2.5
    assert all(np.ptp(line.get_ydata()) < 1e-4 for line in constant.lines)
    assert len([label for label in constant.get_yticklabels() if label.get_text()]) >= 3


def test_accuracies_end_at_one(paper):
    runs, history = paper
    for figure, place in ((drawn(17, runs, history), 1), (drawn(58, runs, history), 4)):
        assert 1 < figure.axes[place].get_ylim()[1] < 1.05


def test_short_above_long_in_one_range(paper):
    runs, history = paper
    figure = drawn(14, runs, history)
    assert [axis.get_title() for axis in figure.axes] == ["200 epochs"] * 4 + ["2000 epochs"] * 4
    for place, metric in enumerate(["NC0", "NC1", "NC2", "NC3"]):
        short, long = figure.axes[place], figure.axes[place + 4]
        assert short.get_ylim() == long.get_ylim()
        for axis, epochs in ((short, 200), (long, 2000)):
            adam = of_setting(14, runs, optimizers=["Adam"], where={"epochs": epochs})
            line = drawn_lines(axis)[0]
            np.testing.assert_allclose(line.get_ydata(), adam.sort_values("weight_decay")[metric])
    lost = (runs["epochs"] == 2000) & (runs["optimizer"] == "AdamW")
    said = words(drawn(14, fail(runs, lost, status="diverged", reason="x"), history))
    assert "2000 epochs: no valid run of AdamW here: 6 diverged; each point is one run." in said
    scaled = runs.assign(epochs=runs["epochs"] // 10)
    assert drawn(14, scaled, history).axes[0].get_title() == "20 epochs"


def test_figure_3_has_a_range_a_pair_of_optimizers(paper):
    signs, _, sgds, _ = drawn(3, *paper).axes
    assert signs.get_ylim() != sgds.get_ylim()


def test_each_setting_has_its_short_and_its_long_run(paper):
    runs, history = paper
    figure = drawn(15, runs, history)
    its = of_setting(15, runs, optimizers=["SGD"])
    rows = its[["weight_decay", "momentum"]].drop_duplicates().sort_values(["weight_decay", "momentum"])
    assert len(rows) == len(figure.axes[0].get_yticks()) == 6
    assert figure.axes[0].get_yticklabels()[1].get_text() == r"$\lambda$ = 0, $\beta$ = 0.9"
    for axis, metric in zip(figure.axes, ["NC0", "NC1", "NC2", "NC3"], strict=True):
        points = [line for line in axis.lines if len(line.get_xdata()) == 1]
        wanted = rows.merge(its.sort_values("epochs"))[[metric, "epochs"]]
        assert [line.get_xdata()[0] for line in points] == pytest.approx(list(wanted[metric]))
        assert [line.get_ydata()[0] for line in points] == [row for row in range(6) for _ in range(2)]
    assert figure.axes[0].get_xscale() == "log" and figure.axes[2].get_xscale() == "linear"
    lost = its[(its["momentum"] == 0.95) & (its["epochs"] == 2000)]["key"]
    changed = fail(runs, runs["key"].isin(lost), status="diverged", reason="x")
    figure = drawn(15, changed, history)
    assert len(figure.axes[0].lines) == 3 * 6 - 2
    assert "SGD at weight decay 0.0025, momentum 0.95, 2000 epochs here: 1 diverged" in words(figure)
    alike = runs[runs["epochs"] == 200]
    assert "all runs here are of one length" in words(drawn(15, alike, history))


def test_axes_are_logarithmic_for_metrics_that_span_orders(paper):
    runs, history = paper
    scales = [(axis.get_xscale(), axis.get_yscale()) for axis in drawn(57, runs, history).axes]
    assert scales == [("log", "linear"), ("linear", "linear"), ("linear", "linear")]
    assert drawn(12, runs, history).axes[0].get_yscale() == "log"
    points = sum(len(c.get_offsets()) for c in drawn(57, runs, history).axes[0].collections)
    assert points == len(select(runs, experiment="grid"))
