"""Tables: the paper's way of printing, the choice of runs, words where there is no number."""

from __future__ import annotations

import runpy

import numpy as np
import pandas as pd
import pytest
from as_job import as_job
from matplotlib.text import Text
from synthetic import OPTIMIZERS, SCRIPTS, fail, load_script, make_study, undertrain

from collapse.measuring.results import read_history, read_results, read_runs
from collapse.paper.selection import (
    absences,
    outcome,
    remarks,
    select,
    smallest,
    unmeasured,
    why_no_valid,
)
from collapse.paper.tables import (
    final_metrics,
    format_change,
    format_value,
    hyperparameters,
    overview,
    print_hyperparameters,
    print_metrics,
    print_regression,
    smallest_metrics,
    write_table,
)

GRID = {"architecture": "ResNet9", "dataset": "FashionMNIST", "experiment": "grid"}
TABLE_2 = GRID | {"experiment": "table_2"}


@pytest.fixture(scope="module")
def study():
    return make_study(seed=0)


@pytest.fixture(scope="module")
def runs(study):
    return study[0]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.14e-4, "2.14e-04"),
        (0.0049, "4.90e-03"),
        (0.005, "0.01"),
        (0.05, "0.05"),
        (3185.69, "3185.69"),
        (0.0, "0.00"),
        (np.nan, "–"),
    ],
)
def test_values_print_as_in_the_paper(value, text):
    assert format_value(value) == text


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (-0.9999, "<-99.5%"),
        (-0.9951, "<-99.5%"),
        (-0.9949, "-99.5%"),
        (-0.806, "-80.6%"),
        (-0.0, "+0.0%"),
        (0.442, "+44.2%"),
        (1.0, "+100.0%"),
        (1.01, ">>100%"),
        (np.nan, "–"),
    ],
)
def test_changes_print_as_in_the_paper(change, text):
    assert format_change(change) == text


def test_table_2_traces_each_number_to_its_run(runs):
    table = load_script("tables/table_2.py").make(runs, **TABLE_2, optimizers=OPTIMIZERS, require_valid=True)
    assert list(table["optimizer"]) == list(OPTIMIZERS)
    for row in table.itertuples():
        run = runs[runs["key"] == row.key].iloc[0]
        assert row.status == "valid"
        assert run["NC3"] == row.NC3
        assert row.NC3_change == pytest.approx(run["NC3"] / run["NC3_init"] - 1)
    closed = table.set_index("optimizer")["NC0_closed_form"]
    assert closed.notna().to_dict() == {name: name.startswith("SGD") for name in OPTIMIZERS}
    printed = print_metrics(table).set_index("Optimizer")
    assert printed.loc["SGD", "NC0 ↓"].endswith("(<-99.5%)")
    assert printed.loc["SignumW", "NC0 ↓"].endswith("(>>100%)")


def test_seeds_are_averaged_and_all_their_keys_named(runs):
    one = select(runs, **TABLE_2, optimizers=["Adam"])
    two = pd.concat([one, one.assign(key="other", NC3=one["NC3"] + 0.2)])
    row = final_metrics(two, of_all=two, optimizers=["Adam"]).iloc[0]
    assert row["NC3"] == pytest.approx(one["NC3"].iloc[0] + 0.1)
    assert row["key"] == f"{one['key'].iloc[0]} other"


def test_an_optimizer_without_a_valid_run_has_a_row_that_says_why(runs):
    changed = fail(runs, runs["optimizer"] == "AdamW", status="diverged", reason="loss")
    changed = changed[changed["optimizer"] != "Signum"]
    for name in ("table_2", "table_3"):
        settings = TABLE_2 | {"require_valid": True} if name == "table_2" else GRID
        table = load_script(f"tables/{name}.py").make(changed, **settings, optimizers=OPTIMIZERS)
        table = table.set_index("optimizer")
        count = 1 if name == "table_2" else 108
        assert table.loc["AdamW", "status"] == f"no valid run of AdamW here: {count} diverged"
        assert table.loc["Signum", "status"] == "no run of Signum in this study"
        assert np.isnan(table.loc["AdamW", "NC0"])
        assert np.isnan(table.loc["AdamW", "NC0_change"])
        printed = print_metrics(table.reset_index()).set_index("Optimizer")
        assert printed.loc["AdamW", "NC0 ↓"] == "–"
        assert "108 diverged" in printed.loc["AdamW", "Run"] or name == "table_2"


def test_table_2_may_show_an_undertrained_run_and_says_so(runs):
    changed = undertrain(runs, (runs["experiment"] == "table_2") & (runs["optimizer"] == "SGD"))
    changed = fail(changed, changed["optimizer"] == "AdamW", status="diverged", reason="loss")
    make = load_script("tables/table_2.py").make
    table = make(changed, **TABLE_2, optimizers=OPTIMIZERS, require_valid=False).set_index("optimizer")
    assert table.loc["SGD", "status"] == "undertrained" and table.loc["SGD", "NC3"] > 0
    printed = print_metrics(table.reset_index()).set_index("Optimizer")
    assert printed.loc["SGD", "Run"].endswith("(undertrained)")
    assert np.isnan(table.loc["AdamW", "NC3"]), "a diverged run is never shown"
    strict = make(changed, **TABLE_2, optimizers=OPTIMIZERS, require_valid=True).set_index("optimizer")
    assert np.isnan(strict.loc["SGD", "NC3"])
    shown = select(changed, **TABLE_2, optimizers=["SGD"], valid=False)
    assert remarks(shown, shown=shown, optimizers=["SGD"]) == ["SGD undertrained: 93.0% training accuracy"]


def test_tables_3_and_5_are_of_the_valid_run_with_the_smallest_nc3(runs):
    valid = select(runs, **GRID)
    best = valid.loc[valid.groupby("optimizer")["NC3"].idxmin()].set_index("optimizer")
    # a smaller NC3 of an undertrained run must not win
    loser = undertrain(runs.assign(), runs["key"] == best.loc["Adam", "key"])
    for table_runs, wins in ((runs, True), (loser, False)):
        settings = GRID | {"optimizers": OPTIMIZERS}
        table_3 = load_script("tables/table_3.py").make(table_runs, **settings)
        table_5 = load_script("tables/table_5.py").make(table_runs, **settings)
        assert list(table_3["key"]) == list(table_5["key"])
        row = table_5.set_index("optimizer").loc["Adam"]
        assert (row["key"] == best.loc["Adam", "key"]) == wins
        if wins:
            assert row["weight_decay"] == best.loc["Adam", "weight_decay"]
            assert row["learning_rate"] == best.loc["Adam", "learning_rate"]
            assert row["momentum"] == best.loc["Adam", "momentum"]
    assert print_hyperparameters(table_5)["Weight decay"].str.len().gt(0).all()


def test_hyperparameters_of_two_runs_have_no_mean(runs):
    valid = select(runs, **GRID, optimizers=["Adam"])
    with pytest.raises(ValueError, match="one run an optimizer"):
        hyperparameters(valid, of_all=valid, optimizers=["Adam"])


def test_smallest_passes_over_nan_and_settles_ties_by_key(runs):
    three = select(runs, **GRID, optimizers=["Adam"]).head(3).copy()
    three["NC3"] = [np.nan, 0.2, 0.2]
    three["key"] = ["a", "c", "b"]
    assert list(smallest(three, metric="NC3")["key"]) == ["b"]


def test_the_overview_adds_up(runs):
    changed = fail(runs, runs.index < 5, status="failed", reason="out of memory")
    table = overview(select(changed, experiment="grid", valid=False))
    assert (table["planned"] == table["done"] + table["diverged"] + table["failed"]).all()
    assert (table["done"] == table["valid"] + table["undertrained"]).all()
    body, total = table.iloc[:-1], table.iloc[-1]
    assert list(body["optimizer"]) == list(OPTIMIZERS)
    assert (body["planned"] == 108).all()
    assert total["planned"] == 648
    assert total["failed"] == 5
    assert total["valid"] == body["valid"].sum() > 0
    made = load_script("tables/table_4.py").make(changed, experiment="grid")
    pd.testing.assert_frame_equal(made, table)
    assert load_script("tables/table_4.py").make(runs, experiment="none")["planned"].sum() == 0


def test_runs_that_are_missing_are_counted_and_said_wherever_others_stand_for_them(runs):
    """In a study of evidence a run may not be measured yet: that is neither a failure nor nothing."""
    lost = (runs["optimizer"] == "Adam") & (runs["momentum"] == 0.9)
    some = fail(runs, lost, status="missing", reason="not measured yet")
    grid = select(some, **GRID, valid=False)
    table = overview(grid)
    adds_up = table["done"] + table["diverged"] + table["failed"] + table["missing"]
    assert (table["planned"] == adds_up).all() and table["missing"].iloc[-1] == 18
    assert "missing" not in overview(select(runs, **GRID, valid=False))
    assert unmeasured(grid) == "18 of 648 runs not run yet" and unmeasured(runs) == ""
    words = "18 of 108 runs of Adam not run yet"
    assert absences(grid, optimizers=["Adam", "SGD"]) == ["630 of 648 runs so far"]
    table_3 = load_script("tables/table_3.py").make(some, **GRID, optimizers=OPTIMIZERS)
    assert table_3.set_index("optimizer").status.to_dict() == {
        name: f"valid, {words}" if name == "Adam" else "valid" for name in OPTIMIZERS
    }
    smallest_of = smallest_metrics(grid, metrics=["NC3"]).set_index("weight_decay")
    assert smallest_of.status["none"] == "3 of 108 runs not run yet" and smallest_of.NC3["none"] > 0
    figure = load_script("figures/weight_decay.py").draw(
        some, some, **GRID, panels=[{"optimizers": ["Adam"], "metric": "NC3"}], columns=1
    )
    assert any("90 of 108 runs so far" in text.get_text() for text in figure.findobj(Text))


def test_table_6_leaves_out_runs_that_are_not_valid(runs):
    make = load_script("tables/table_6.py").make
    table = make(runs, **GRID, optimizers=OPTIMIZERS).set_index("learning_rate")
    assert list(table.index) == ["0.001", "0.005", "0.01", "0.0679", "all"]
    assert table.loc["all", "n"] == len(select(runs, **GRID))
    assert table.loc["all", "n"] == table["n"].iloc[:-1].sum()
    printed = print_regression(table.reset_index())
    assert list(printed["Experiment"][[0, 4]]) == ["LR=0.001", "all"]
    nothing = make(
        fail(runs, runs["key"].notna(), status="diverged", reason="x"), **GRID, optimizers=OPTIMIZERS
    )
    printed = print_regression(nothing)
    assert list(printed["R² / Adj R²"]) == ["–"]
    assert list(printed["Note"]) == ["a fit needs 3 runs, found 0"]


def test_files_hold_full_precision_and_the_note(runs, tmp_path):
    table = load_script("tables/table_2.py").make(runs, **TABLE_2, optimizers=OPTIMIZERS, require_valid=True)
    csv, markdown, html = (tmp_path / f"t.{kind}" for kind in ("csv", "md", "html"))
    printed = print_metrics(table)
    files = {"csv": csv, "markdown": markdown, "html": html}
    write_table(table, printed, **files, title="Table 2", note="demo study")
    back = pd.read_csv(csv)
    assert list(back["NC3"]) == list(table["NC3"])
    assert back.columns[0] == "optimizer"
    text = markdown.read_text(encoding="utf-8")
    assert text.startswith("**Table 2**\n\n*demo study*\n\n| Optimizer")
    assert text.count("\n| ") == 1 + len(OPTIMIZERS)
    text = html.read_text(encoding="utf-8")
    assert "<caption>Table 2<small>demo study</small></caption>" in text
    assert text.count("<tr>") == 1 + len(OPTIMIZERS) and "`" not in text


@pytest.mark.parametrize("number", [2, 3, 4, 5, 6])
def test_as_a_script_of_snakemake_it_reads_the_runs_and_writes_its_files(number, runs, tmp_path):
    runs.to_parquet(tmp_path / "runs")
    settings = {"experiment": "grid"} if number == 4 else GRID | {"optimizers": list(OPTIMIZERS)}
    settings |= {"require_valid": False} if number == 2 else {}
    job = as_job(
        tmp_path,
        f"tables/table_{number}.py",
        input={"runs": tmp_path / "runs"},
        output={name: tmp_path / f"t.{name}" for name in ("csv", "markdown", "html")},
        params={"settings": settings, "caption": "Its caption", "note": None},
    )
    script = SCRIPTS / "tables" / f"table_{number}.py"
    runpy.run_path(str(script), init_globals={"snakemake": job})
    rows = {2: 6, 3: 6, 4: 7, 5: 6, 6: 5}[number]
    assert len(pd.read_csv(job.output.csv)) == rows
    assert job.output.markdown.read_text(encoding="utf-8").startswith("**Its caption**\n\n| ")


def test_selection_and_outcomes(runs):
    adamw = select(runs, **GRID, optimizers=["AdamW"], valid=False)
    assert len(adamw) == 108
    assert 0 < len(select(runs, **GRID, optimizers=["AdamW"])) == adamw["valid"].sum() < 108
    assert len(select(runs, **GRID, where={"momentum": 0.9}, valid=False)) == 108
    assert len(select(runs, experiment="grid", valid=False)) == 648
    assert set(outcome(runs)) == {"valid", "diverged", "undertrained"}
    assert why_no_valid(adamw) == ""
    with pytest.raises(ValueError, match="status must be"):
        outcome(runs.assign(status="finished"))


def test_results_are_read_back_and_missing_columns_refused(study, tmp_path):
    runs, history = study
    runs.to_parquet(tmp_path / "runs.parquet")
    history.to_parquet(tmp_path / "history.parquet")
    read, logged = read_results(tmp_path / "runs.parquet", tmp_path / "history.parquet")
    assert len(read) == len(runs)
    assert len(logged["singular_values_W"].iloc[0]) == 10
    runs.drop(columns=["NC3_init"]).to_parquet(tmp_path / "short.parquet")
    with pytest.raises(ValueError, match="NC3_init"):
        read_runs(tmp_path / "short.parquet")
    with pytest.raises(ValueError, match="epoch"):
        read_history(tmp_path / "short.parquet")
