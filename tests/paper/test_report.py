"""The report: HTML tables, sections, its first page. As a reader opens it: test_report_in_browser.py."""

import re

import pandas as pd
import pytest
from synthetic import make_study

from collapse.paper.html_tables import html_page, html_table
from collapse.paper.report.first_page import (
    first_page,
    lacking_sentence,
    run_counts,
    scale_sentences,
)
from collapse.paper.report.sections import APPENDIX, FURTHER, in_report, item_title, section_of
from collapse.records.durations import duration


def test_a_table_holds_every_cell_as_text():
    printed = pd.DataFrame({"Name": ["a < b & c", "`1f2e`"], "Checks": ["one<br>two", "<script>"]})
    table = html_table(printed, title="NC0 < 1", note="A & B")
    assert "<td>a &lt; b &amp; c</td>" in table
    assert "<td><code>1f2e</code></td>" in table
    assert '<td class="lines">one<br>two</td>' in table
    assert "<script>" not in table and '<td class="lines">&lt;script&gt;</td>' in table
    assert "<caption>NC0 &lt; 1<small>A &amp; B</small></caption>" in table
    assert table.count("<tr>") == 3


@pytest.mark.parametrize(
    ("cells", "is_number"),
    [
        (["1.5", "2.14e-04 (<-99.5%)", "–"], True),
        (["8.04 (>>100%)", "[0.175, 0.206]", "0:06:16"], True),
        (["1", "2 valid"], False),
        (["Adam"], False),
        (["", ""], False),
    ],
)
def test_columns_of_numbers_stand_flush_right(cells, is_number):
    assert ('<td class="number">' in html_table(pd.DataFrame({"x": cells}))) is is_number


def test_a_page_needs_nothing_from_elsewhere():
    page = html_page(pd.DataFrame({"x": [1]}), title="T", note=None)
    assert page.startswith("<!doctype html>") and '<meta charset="utf-8">' in page
    assert not re.search(r"(src|href)=", page) and "<small>" not in page


def test_every_target_has_a_section(parameters):
    named = {*parameters["tables"], *parameters["figures"], *parameters["theory"], "claims", "comparison"}
    published = {f"table_{n}" for n in range(1, 8)} | {f"figure_{n}" for n in range(1, 59)}
    for target in named | published:
        beyond_the_paper = re.search(r"_1\d\d$|^(zhu|jacot)_\w+_1\d$", target) is not None
        if target.endswith("_table_11"):
            assert section_of(target)[0] == "2 Theory"
        else:
            assert (section_of(target)[0] == FURTHER) == beyond_the_paper, target
    assert section_of("table_2") == section_of("figure_8") == ("1 Main results", None)
    assert section_of("figure_56") == (APPENDIX, "Fig. 52-56: VGG9 on MNIST")
    assert section_of("table_9")[0] == section_of("figure_grid_2")[0] == FURTHER


def test_items_sort_by_number_and_say_what_they_show():
    titles = [
        item_title(f"figure_{n}", "NC0: a panel each.", aliases={"figure_10": "figure_2"}) for n in (2, 11)
    ]
    assert titles == ["Figure  2, again as figure 10: NC0", "Figure 11: NC0"]
    assert titles == sorted(titles)
    assert item_title("theory", "alpha(t) as theorem 3.1 has it.", aliases={}) == (
        "Theory: alpha(t) as theorem 3.1 has it"
    )
    assert item_title("figure_my_histogram", "Of NC3.", aliases={}) == "Figure my histogram: Of NC3"
    assert item_title("figure_grid_2", "Of NC3.", aliases={}) == "Figure grid 2: Of NC3"
    assert len(in_report("table_2", "Final metrics.")["labels"]) == 1


def test_a_run_of_two_experiments_counts_once_in_all():
    runs = make_study(seed=0)[0]
    table_2 = runs[runs["experiment"] == "table_2"]
    shared = pd.concat([table_2, table_2.assign(experiment="again")])
    counts = run_counts(shared).set_index("experiment")
    assert counts["planned"].tolist() == [6, 6, 6]
    assert counts["seconds"].tolist() == [2880.0] * 3
    assert (counts["done"] == counts["valid"] + counts["undertrained"]).all()


def test_times_scales_and_what_is_lacking_are_said():
    assert duration(5938.4) == "1:38:58"
    assert scale_sentences({"a": "small", "b": None, "c": "small"}) == [
        "a, c: small.",
        "b: at the scale of the paper.",
    ]
    lacking = ["table_7", *(f"figure_{n}" for n in (4, 14, 15, 16, 30, 31))]
    assert "study: table 7, figures 4, 14 to 16, 30, 31. " in lacking_sentence(lacking)
    assert lacking_sentence([]).startswith("Every table")


def test_the_first_page_says_what_was_run():
    made_on = dict(device="cpu", threads=1, torch_version="2.13.0", kernels="plain", protocol=1)
    runs = make_study(seed=0)[0].assign(**made_on)
    page = first_page(
        runs,
        study="mini",
        title="mini: <small>",
        notes={"grid": "half as wide"},
        lacking=["figure_30"],
        claims=pd.DataFrame({"Claim": ["C1"], "Verdict": ["holds"]}),
        citation="arXiv 2602.16642",
        comparison=pd.DataFrame({"Table": ["table 2"], "as reported": [3]}),
        code="abc of today",
    )
    said = (
        "Study mini",
        "Of 1 claims: holds 1.",
        "&lt;small&gt;",
        "grid: half as wide.",
        "figure 30",
        "C1",
        "holds",
        "as reported",
    )
    for words in (*said, "2.13.0", "commit abc of today", "snakemake", "seconds of training"):
        assert words in page, words
