"""The report's first page: what was run, on what, and what came of the paper's claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import pandas as pd

from collapse.paper.html_tables import html_table
from collapse.paper.report.sections import section_of
from collapse.paper.scale import experiments_by_note
from collapse.paper.tables import fates
from collapse.records.durations import duration
from collapse.records.provenance import environment

# Chromium opens no address of more than 2 MB, and Snakemake's report has each page as its address: those of
# large pages (the explorer) are made short. A script that is set into a page does not run, this does.
LARGE_PAGES = """<img alt="" src="data:," hidden onerror="
for (const item of Object.values(results))
  if (item.data_uri.startsWith('data:text/html') &amp;&amp; item.data_uri.length > 1e6) {
    const bytes = Uint8Array.from(atob(item.data_uri.split('base64,')[1]), letter => letter.charCodeAt(0));
    item.data_uri = window.URL.createObjectURL(new Blob([bytes], {type: 'text/html;charset=utf-8'}));
  }">"""
ANALYSED_WITH = ("snakemake", "pandas", "statsmodels", "matplotlib")


def run_counts(runs: pd.DataFrame) -> pd.DataFrame:
    """What became of the runs of each experiment, then of the study's trainings.

    A run that two experiments ask for counts in each, and once in the last row, with the verdict of
    the first. Columns: experiment, then those of `fates` (collapse.paper.tables), seconds (of training,
    summed over runs).
    """
    once = runs.drop_duplicates("key")
    parts = []
    for names, its in ((runs["experiment"], runs), ("all, each training once", once)):
        counted = fates(its).assign(seconds=its["seconds"].fillna(0.0), experiment=names)
        parts.append(counted.groupby("experiment", sort=False).sum().reset_index())
    return pd.concat(parts, ignore_index=True)


def hardware(runs: pd.DataFrame) -> pd.DataFrame:
    """How many trainings ran on what: a row a device, threads, torch, kernels and protocol."""
    columns = ["device", "threads", "torch_version", "kernels", "protocol"]
    trained = runs[runs["status"] != "missing"]
    return trained.drop_duplicates("key").value_counts(columns, dropna=False).reset_index(name="trainings")


def versions() -> str:
    """Of Python and of what the analysis was made with."""
    used = environment()
    packages = ", ".join(f"{name} {used['packages'][name]}" for name in ANALYSED_WITH)
    return f"Python {used['python']}, {packages}; {used['system']}"


def print_counts(counts: pd.DataFrame) -> pd.DataFrame:
    """`run_counts` for the eye."""
    printed = counts.rename(columns=str.capitalize).rename(columns={"Seconds": "Training, h:mm:ss"})
    printed["Training, h:mm:ss"] = counts["seconds"].map(duration)
    return printed


def print_hardware(used: pd.DataFrame) -> pd.DataFrame:
    """`hardware` for the eye."""
    names = {"device": "Device", "threads": "Threads", "torch_version": "PyTorch", "kernels": "Kernels"}
    names |= {"protocol": "Training protocol", "trainings": "Trainings"}
    return used.astype(object).where(used.notna(), "not recorded").rename(columns=names)


def scale_sentences(notes: Mapping[str, str | None]) -> list[str]:
    """How the study differs from the paper, experiments of one note together.

    `notes` holds by experiment its scale note (collapse.paper.targets), None where the paper's own scale.
    """
    return [
        f"{names}: {note or 'at the scale of the paper'}."
        for note, names in experiments_by_note(notes).items()
    ]


def first_page(
    runs: pd.DataFrame,
    *,
    study: str,
    title: str,
    notes: Mapping[str, str | None],
    lacking: Sequence[str],
    citation: str,
    claims: pd.DataFrame,
    comparison: pd.DataFrame | None,
    code: str,
) -> str:
    """The page as HTML without a head, for Snakemake's report to set into its own.

    `notes` as for `scale_sentences`; `lacking`: the targets of which the study has no runs; `citation`: of
    the work; `claims` and `comparison` as printed, None where no numbers of the work are known; `code`: the
    commit in words (collapse.records.provenance).
    """
    counts = run_counts(runs)
    explorer = f"javascript:app.showCategory('{section_of('explorer')[0]}')"
    details = f"javascript:app.showCategory('{section_of('claims')[0]}')"
    parts = [
        f"<h1>Study {escape(study)}</h1>",
        f"<p>{escape(title)}. The work reproduced: {escape(citation)}. On the left are its tables and "
        "figures; the eye opens one, the i tells its whole caption, its files and the rule that made it.</p>",
        "<h2>Scale</h2>",
        "<ul>" + "".join(f"<li>{escape(words)}</li>" for words in scale_sentences(notes)) + "</ul>",
        "<h2>Runs</h2>",
        html_table(print_counts(counts)),
        f"<p>{counts['seconds'].iloc[-1]:,.0f} seconds of training, summed over the trainings.</p>",
        f"<p>{escape(lacking_sentence(lacking))}</p>",
        f'<p>Every run by its settings, with its curves: <a href="{explorer}">the explorer</a>.</p>',
        "<h2>The paper's claims</h2>",
        f"<p>Of {len(claims)} claims: {escape(tally(claims['Verdict']))}.</p>",
        html_table(claims),
        f'<p><a href="{details}">When each holds, and the evidence</a></p>',
        *([] if comparison is None else ["<h2>Beside the paper's numbers</h2>", html_table(comparison)]),
        "<h2>Hardware and versions</h2>",
        html_table(print_hardware(hardware(runs))),
        f"<p>Tables, figures and this page: {escape(versions())}.</p>",
        f"<p>Code: commit {escape(code)}.</p>",
        LARGE_PAGES,
    ]
    return "\n".join(parts) + "\n"


def lacking_sentence(lacking: Sequence[str]) -> str:
    """Which tables and figures are not here; where all are, that."""
    numbers: dict[str, list[int]] = {}
    for name in lacking:
        kind, _, number = name.rpartition("_")
        numbers.setdefault(kind, []).append(int(number))
    if not numbers:
        return "Every table and figure is here."
    names = ", ".join(
        f"{kind}{'s' if len(its) > 1 else ''} {in_ranges(its)}" for kind, its in numbers.items()
    )
    return f"Not here, for want of their runs in this study: {names}. Asking for one says which runs."


def in_ranges(numbers: Sequence[int]) -> str:
    """ "4, 14 to 16, 58" of the numbers in any order."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][-1] + 1:
            ranges[-1].append(number)
        else:
            ranges.append([number])
    joined = [", ".join(map(str, run)) if len(run) < 3 else f"{run[0]} to {run[-1]}" for run in ranges]
    return ", ".join(joined)


def tally(verdicts: pd.Series) -> str:
    """ "holds 6, fails 2": how many claims have which verdict, the most frequent first."""
    return ", ".join(f"{verdict} {count}" for verdict, count in verdicts.value_counts().items())
