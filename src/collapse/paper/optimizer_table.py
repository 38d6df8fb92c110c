"""Table 101: what each optimizer does to NC0 and the other metrics, a row a setting, over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from collapse.optimizers import OPTIMIZERS, WeightDecayKind
from collapse.paper.seeds import settings_of
from collapse.paper.selection import outcome
from collapse.paper.tables import MISSING, format_value, four_digits
from collapse.study.known_nc0 import ratio_by_epoch
from collapse.theory.closed_forms import sgdw_nc0_ratio
from collapse.theory.keepers import head_by, row_sum

METRICS = ["NC1", "NC2", "NC3", "NC3_centred", "gauge_share", "test_accuracy"]
BESIDE = (WeightDecayKind.DECOUPLED, WeightDecayKind.CAUTIOUS)  # the decay acts beside the step
SETTING = ["learning_rate", "weight_decay"]


def kept_nc0(runs: pd.DataFrame) -> pd.Series:
    """NC0 at the end if the decay alone moved the row sum: SGDW's closed form, whatever the optimizer.

    Of runs whose decay acts beside the step; NaN of the others.
    """
    known = {name: _kept_ratio(run) for name, run in runs.iterrows()}
    return runs["NC0_init"].astype(float) * pd.Series(known, index=runs.index, dtype=float)


def _kept_ratio(run: pd.Series) -> float:
    if OPTIMIZERS[run["optimizer"]].weight_decay_kind not in BESIDE:
        return np.nan
    return float(ratio_by_epoch(run, sgdw_nc0_ratio)[-1])


def optimizer_rows(runs: pd.DataFrame, *, optimizers: Sequence[str], floor: float) -> pd.DataFrame:
    """A row a setting of each optimizer: means over its valid runs, which differ in their seed alone.

    Columns: optimizer, weight_decay_kind, learning_rate, weight_decay, keeps_row_sum, head, valid, seeds,
    then of NC0, closed_form, ratio and METRICS each the mean and, as ..._sd, the sample deviation (NaN of one
    run); status, keys. NC0, its closed form, their ratio and NC1 are geometric means, with the deviation of
    the logarithms. closed_form: NC0_closed_form where the run has it, else `kept_nc0`; ratio:
    NaN where it is below `floor`, where NC0 is rounding. An optimizer without a run has a row that says so.
    """
    measured = _with_closed_form(runs, floor=floor)
    rows = [_row(its) for name in optimizers for its in settings_of(measured[measured["optimizer"] == name])]
    nothing = {"seeds": 0, "valid": 0, "status": "no run in this study"}
    rows += [{"optimizer": name} | nothing for name in optimizers if name not in set(runs["optimizer"])]
    table = pd.DataFrame(rows, columns=_columns())
    return table.astype({name: float for name in _columns() if name.endswith("_sd") or name in _MEANS})


_LOGARITHMIC = ("NC0", "closed_form", "ratio", "NC1")
_MEANS = ["NC0", "closed_form", "ratio", *METRICS]


def _columns() -> list[str]:
    about = ["optimizer", "weight_decay_kind", *SETTING, "keeps_row_sum", "head", "valid", "seeds"]
    return [*about, *(each for name in _MEANS for each in (name, f"{name}_sd")), "status", "keys"]


def _with_closed_form(runs: pd.DataFrame, *, floor: float) -> pd.DataFrame:
    known = runs["NC0_closed_form"].astype(float)
    known = known.where(known.notna(), kept_nc0(runs))
    return runs.assign(closed_form=known, ratio=runs["NC0"].astype(float) / known.where(known >= floor))


def _row(its: pd.DataFrame) -> dict[str, object]:
    """One setting: its valid runs in numbers, what became of the others in words."""
    first, valid = its.iloc[0], its[its["valid"].astype(bool)]
    name = first["optimizer"]
    row: dict[str, object] = {"optimizer": name, **first[SETTING], "valid": len(valid), "seeds": len(its)}
    row["weight_decay_kind"] = str(OPTIMIZERS[name].weight_decay_kind)
    row |= {"keeps_row_sum": str(row_sum(name)), "head": head_by(name)}
    for column in _MEANS:
        row[column], row[f"{column}_sd"] = mean_and_deviation(valid[column], log=column in _LOGARITHMIC)
    return row | {"status": fate(its), "keys": " ".join(valid["key"])}


def fate(runs: pd.DataFrame) -> str:
    """What became of the runs that are not valid, "2 diverged, 1 undertrained"; "valid" if all are."""
    others = outcome(runs)[~runs["valid"].astype(bool)].value_counts()
    return ", ".join(f"{count} {what}" for what, count in others.items()) or "valid"


def mean_and_deviation(values: pd.Series, *, log: bool) -> tuple[float, float]:
    """Mean and sample deviation of the finite values; `log`: geometric mean, deviation of the logarithms."""
    numbers = values.astype(float)
    numbers = numbers[np.isfinite(numbers) & (numbers > 0 if log else True)]
    if numbers.empty:
        return np.nan, np.nan
    numbers = np.log(numbers) if log else numbers
    mean, deviation = numbers.mean(), numbers.std(ddof=1)
    return float(np.exp(mean) if log else mean), float(deviation)


def print_optimizers(table: pd.DataFrame) -> pd.DataFrame:
    """`optimizer_rows` for the eye: each number with its deviation over seeds where there are several."""
    printed = pd.DataFrame({"Optimizer": table["optimizer"], "Decay": table["weight_decay_kind"].fillna("")})
    for name, heading in (("learning_rate", "η"), ("weight_decay", "λ")):
        printed[heading] = table[name].map(four_digits)
    printed["Direction keeps row sum"] = table["keeps_row_sum"].fillna("")
    printed["Head by"] = table["head"].fillna("")
    printed["Seeds"] = [seeds_in_words(row) for row in table.itertuples()]
    headings = {"closed_form": "NC0, closed form", "ratio": "NC0 / closed form"}
    headings |= {"NC3_centred": "NC3, centred W", "gauge_share": "Share of the row sum"}
    headings |= {"test_accuracy": "Validation accuracy"}
    for name in _MEANS:
        pairs = zip(table[name], table[f"{name}_sd"], strict=True)
        of_log = name in _LOGARITHMIC
        printed[headings.get(name, name)] = [with_deviation(*pair, log=of_log, name=name) for pair in pairs]
    printed["Note"] = table["status"].where(table["status"] != "valid", "")
    return printed


def seeds_in_words(row: Any) -> str:
    """ "5", or "4 of 5" where one is not valid."""
    return f"{row.valid}" if row.valid == row.seeds else f"{row.valid} of {row.seeds}"


def with_deviation(value: float, deviation: float, *, log: bool, name: str) -> str:
    """ "0.26 ± 0.01"; of a geometric mean the deviation as a factor, "1.43 ×/÷ 1.05"."""
    if np.isnan(value):
        return MISSING
    text = f"{value:.3f}" if name in ("ratio", "test_accuracy", "NC3", "NC3_centred") else format_short(value)
    if np.isnan(deviation):
        return text
    return f"{text} ×/÷ {np.exp(deviation):.3g}" if log else f"{text} ± {deviation:.2g}"


def format_short(value: float) -> str:
    """Three digits, of small values as 4.1e-07."""
    return format_value(value) if 0 < abs(value) < 0.005 else f"{value:.3g}"
