"""Momentum under SGD at equal learning_rate / (1 - momentum), where theory gives NC0 the same end.

It is the control of claim C5: at equal learning rates a larger momentum is also a larger effective rate.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from collapse.paper.equivalence import Comparison, compare, holm, mean_interval
from collapse.paper.selection import unmeasured, why_no_valid
from collapse.paper.tables import MISSING, four_digits
from collapse.study.settings import SETTINGS

EQUAL_EFFECTIVE_RATE, EQUAL_RATE = "learning rate / (1 - momentum)", "learning rate"
REFERENCE, EQUIVALENT, DIFFERENT, UNDECIDED = "reference", "equivalent", "different", "undecided"
ONE_SEED, NOT_COMPARED = "one seed: not judged", "not judged"
VARIED = ("learning_rate", "momentum", "seed", "measure_every")
OF_NC3 = ["NC3_ratio", "NC3_ratio_low", "NC3_ratio_high", "p_within", "p_beyond"]
CONFIDENCE = 0.95  # of the intervals of NC3 over seeds


def effective_rate(runs: pd.DataFrame) -> pd.Series:
    """learning_rate / (1 - momentum) to four digits: in floating point 0.0005 / (1 - 0.95) is not 0.01."""
    rates = runs["learning_rate"].astype(float) / (1 - runs["momentum"].astype(float))
    return rates.map("{:.4g}".format)


def groups_at_equal(runs: pd.DataFrame, rate: pd.Series) -> list[pd.DataFrame]:
    """Runs alike in `rate` and in all but momentum and seed, where one momentum is 0, the reference."""
    alike = [name for name in SETTINGS if name not in VARIED]
    groups = runs.groupby([*alike, rate.rename("rate")], dropna=False, sort=False)
    return [its for _, its in groups if its["momentum"].nunique() > 1 and (its["momentum"] == 0).any()]


def by_momentum(runs: pd.DataFrame, *, margin: float, level: float, most_momentum: float) -> pd.DataFrame:
    """A row a momentum: NC0 and NC3 of the valid runs over seeds, and NC3 over that without momentum.

    margin: a factor. The ratio is of geometric means, so the test is one of ln NC3 within +- ln margin
    (`compare`), its interval of probability 1 - 2 level. Momenta up to `most_momentum` are a family of
    tests, whose p-values are Holm's; those above are shown alone. Columns: momentum, learning_rate, seeds,
    NC0_closed_form, NC0, NC3, NC3_low, NC3_high, OF_NC3, result, status, key.
    """
    valid = runs[runs["valid"].astype(bool)].drop_duplicates("key")
    reference = log_nc3(valid[valid["momentum"] == 0])
    rows = []
    for momentum, every in runs.groupby("momentum"):
        its = valid[valid["momentum"] == momentum]
        found = compared(log_nc3(its), reference, margin=np.log(margin), level=level)
        if momentum == 0:  # against itself
            found = Comparison(found.difference)
        if momentum > most_momentum:
            found = found._replace(p_within=np.nan, p_beyond=np.nan)
        rows.append(over_seeds(every, its) | dict(zip(OF_NC3, in_ratios(found), strict=True)))
    table = pd.DataFrame(rows)
    table[["p_within", "p_beyond"]] = table[["p_within", "p_beyond"]].apply(holm)
    results = [
        result_of(row, level=level, most_momentum=most_momentum, references=len(reference))
        for row in table.to_dict("records")
    ]
    return table.assign(result=results)


def log_nc3(runs: pd.DataFrame) -> np.ndarray:
    """ln NC3 of every run."""
    return np.log(runs["NC3"].to_numpy(dtype=float))


def compared(values: np.ndarray, reference: np.ndarray, *, margin: float, level: float) -> Comparison:
    """`compare`; NaN where either group is empty."""
    if not (len(values) and len(reference)):
        return Comparison(np.nan)
    return compare(values, reference, margin=margin, level=level)


def in_ratios(found: Comparison) -> Comparison:
    """A comparison of logarithms as one of the values."""
    return found._replace(difference=np.exp(found.difference), low=np.exp(found.low), high=np.exp(found.high))


def over_seeds(every: pd.DataFrame, valid: pd.DataFrame) -> dict[str, object]:
    """Of the runs at one momentum: what is said of all, and the means of the valid ones."""
    low, high = mean_interval(valid["NC3"], confidence=CONFIDENCE)
    rates = every["learning_rate"].unique()
    return {
        "momentum": every["momentum"].iloc[0],
        "learning_rate": rates[0] if len(rates) == 1 else np.nan,
        "seeds": len(valid),
        "NC0_closed_form": valid["NC0_closed_form"].astype(float).mean(),
        "NC0": valid["NC0"].astype(float).mean(),
        "NC3": valid["NC3"].astype(float).mean(),
        "NC3_low": low,
        "NC3_high": high,
        "status": why_no_valid(every) or unmeasured(every) or of_how_many(every, valid),
        "key": " ".join(valid["key"]),
    }


def of_how_many(every: pd.DataFrame, valid: pd.DataFrame) -> str:
    """ "valid", or that some are not."""
    planned = every["key"].nunique()
    return "valid" if len(valid) == planned else f"{len(valid)} of {planned} runs valid"


def result_of(row: dict[str, object], *, level: float, most_momentum: float, references: int) -> str:
    """What the tests say of one momentum, or why they say nothing."""
    if row["momentum"] == 0:
        return REFERENCE
    if not row["seeds"] or not references:
        return NOT_COMPARED
    if row["momentum"] > most_momentum:
        return f"{NOT_COMPARED}: momentum above {most_momentum:g}"
    if np.isnan(row["p_within"]):
        return ONE_SEED
    if row["p_within"] <= level:
        return EQUIVALENT
    return DIFFERENT if row["p_beyond"] <= level else UNDECIDED


def momentum_table(
    every: pd.DataFrame,
    at_equal_rate: pd.DataFrame,
    *,
    margin: float,
    level: float,
    most_momentum: float,
) -> pd.DataFrame:
    """`by_momentum` of a control's runs, then of runs of one learning rate with the same decay.

    The column `at_equal` says what is equal in a row's runs. The second part is judged by no test: there a
    difference is what the paper claims.
    """
    how = {"margin": margin, "level": level}
    if every.empty:
        return pd.DataFrame([{"at_equal": EQUAL_EFFECTIVE_RATE, **no_runs(every)}])
    parts = [by_momentum(every, **how, most_momentum=most_momentum).assign(at_equal=EQUAL_EFFECTIVE_RATE)]
    beside = at_equal_rate[at_equal_rate["weight_decay"].isin(every["weight_decay"].unique())]
    if len(beside):
        shown = by_momentum(beside, **how, most_momentum=0).assign(at_equal=EQUAL_RATE)
        parts.append(shown.assign(result=""))
    table = pd.concat(parts, ignore_index=True)
    return table[["at_equal", *(name for name in table if name != "at_equal")]]


def no_runs(every: pd.DataFrame) -> dict[str, object]:
    """The one row of a study that has none."""
    numbers = ["momentum", "learning_rate", "NC0_closed_form", "NC0", "NC3", "NC3_low", "NC3_high", *OF_NC3]
    return dict.fromkeys(numbers, np.nan) | {
        "seeds": 0, "status": why_no_valid(every), "key": "", "result": NOT_COMPARED,
    }  # fmt: skip


def print_momentum_table(table: pd.DataFrame, *, level: float) -> pd.DataFrame:
    """`momentum_table` for the eye."""
    rows = table.to_dict("records")
    return pd.DataFrame(
        {
            "Equal": table["at_equal"],
            "Momentum": [four_digits(row["momentum"]) for row in rows],
            "Learning rate": [four_digits(row["learning_rate"]) for row in rows],
            "Seeds": table["seeds"].astype(str),
            "NC0, closed form": [four_digits(row["NC0_closed_form"]) for row in rows],
            "NC0": [four_digits(row["NC0"]) for row in rows],
            f"NC3 [{CONFIDENCE:.0%}]": [with_interval(row, "NC3") for row in rows],
            f"NC3 / NC3 without momentum [{1 - 2 * level:.0%}]": [
                with_interval(row, "NC3_ratio") for row in rows
            ],
            "p (Holm)": [four_digits(row["p_within"]) for row in rows],
            "Result": table["result"].replace("", MISSING),
            "Note": table["status"].where(table["status"] != "valid", ""),
        }
    )


def with_interval(row: dict[str, float], name: str) -> str:
    """ "0.2143 [0.203, 0.2256]"; the interval where there is one."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    within = "" if np.isnan(low) else f" [{four_digits(low)}, {four_digits(high)}]"
    return four_digits(row[name]) + within
