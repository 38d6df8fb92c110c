"""The findings as a tidy table, as Markdown and on the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from collapse.paper.claims import CRITERIA, STATEMENTS, changes_of_verdict, findings
from collapse.paper.claims.evidence import Finding, in_words
from collapse.paper.tables import MISSING

NUMBER_COLUMNS = ["part", "quantity", "value", "low", "high", "n", "holds"]
COLUMNS = ["claim", "row", "statement", "verdict", *NUMBER_COLUMNS, "words", "changes", "criterion", "scale"]


def claims_table(
    found: Mapping[str, Finding],
    changes: Mapping[str, str],
    *,
    settings: Mapping[str, Any],
    notes: Mapping[str, str | None],
    statements: Mapping[str, str] = STATEMENTS,
    criteria: Mapping[str, str] = CRITERIA,
) -> pd.DataFrame:
    """A row "verdict" a claim with the effect that stands for it, then a row "number" each number.

    `changes`: of verdicts at other thresholds; `settings`: those of `findings`, which the criteria name;
    `notes`: what is not the paper's scale, by experiment of the study (None: it is the paper's).
    Columns: COLUMNS.
    """
    experiments = settings["experiments"]
    named = {**settings, "metrics": ", ".join(settings.get("metrics", []))}
    rows = []
    for name, finding in found.items():
        used = [experiment for experiment in experiments.get(name, notes) if experiment in notes]
        scale = "; ".join(dict.fromkeys(notes[experiment] or "the paper's scale" for experiment in used))
        rows.append(
            {
                "claim": name,
                "row": "verdict",
                "statement": statements[name],
                "verdict": finding.verdict,
                **(finding.effect or {}),
                "holds": None,
                "words": finding.words,
                "changes": changes[name],
                "criterion": criteria[name].format(**named),
                "scale": scale,
            }
        )
        rows += [{"claim": name, "row": "number", **each} for each in finding.numbers]
    return pd.DataFrame(rows, columns=COLUMNS)


def judged_claims(
    runs: pd.DataFrame,
    history: pd.DataFrame,
    theorems: pd.DataFrame,
    depth: pd.DataFrame,
    optimizer_theory: pd.DataFrame,
    notes: Mapping[str, str | None],
    *,
    alternatives: Mapping[str, Sequence[float]],
    **settings: Any,
) -> pd.DataFrame:
    """The claims judged with `settings` (`findings`) and at `alternatives`, as a table."""
    data = runs, history, theorems, depth, optimizer_theory
    found = findings(*data, **settings)
    changes = changes_of_verdict(found, *data, alternatives=alternatives, **settings)
    return claims_table(found, changes, settings=settings, notes=notes)


def print_claims(table: pd.DataFrame) -> pd.DataFrame:
    """The verdicts for the eye: claim, verdict, the effect, the evidence in words, the criterion."""
    verdicts = table[table["row"] == "verdict"]
    return pd.DataFrame(
        {
            "Claim": [f"{row.claim}: {row.statement}" for row in verdicts.itertuples()],
            "Verdict": list(verdicts["verdict"]),
            "Effect": [effect_in_words(row) for row in verdicts.to_dict("records")],
            "Evidence": list(verdicts["words"]),
            "At other thresholds": [words or MISSING for words in verdicts["changes"].fillna("")],
            "Holds if": list(verdicts["criterion"]),
        }
    )


def effect_in_words(row: Mapping[str, object]) -> str:
    """ "R2 of NC3 on log10 NC0: 0.73 [0.68, 0.78], n 399"; a dash where nothing could be judged."""
    if pd.isna(row["value"]):
        return MISSING
    part = "" if row["part"] == "all" else f" ({row['part']})"
    return f"{row['quantity']}{part}: {in_words(row | {'n': int(row['n'])})}"


def terminal_lines(table: pd.DataFrame, *, note: str | None, details: bool) -> list[str]:
    """The verdicts, a few lines a claim; with `details` every number below its claim."""
    lines = textwrap.wrap(note, 108) if note else []
    for name, its in table.groupby("claim", sort=False):
        head, numbers = its.iloc[0].to_dict(), its.iloc[1:]
        lines += ["", f"{name:<4} {head['verdict']:<13} {head['statement']}"]
        if pd.notna(head["value"]):
            lines.append(f"     {effect_in_words(head)}")
        said = [head["words"], f"holds if: {head['criterion']}"]
        said += [f"at other thresholds: {head['changes']}"] if head["changes"] else []
        for words in said:
            lines += textwrap.wrap(words, 108, initial_indent="     ", subsequent_indent="       ")
        if details and len(numbers):
            shown = numbers[NUMBER_COLUMNS].replace({None: ""})
            text = shown.to_string(index=False, na_rep="", float_format=lambda x: f"{x:.4g}")
            lines += ["", textwrap.indent(text, "       ")]
    return lines
