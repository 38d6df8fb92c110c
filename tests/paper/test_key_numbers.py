"""What `dvc metrics` reads: numbers that are there, null for those that are not."""

import json
import math

import pandas as pd

from collapse.paper.claims.table import COLUMNS
from collapse.paper.key_numbers import key_numbers, write_key_numbers

CLAIMS = pd.DataFrame(
    [
        {"claim": "C1", "row": "verdict", "verdict": "holds", "value": 1.5},
        {"claim": "C1", "row": "number", "value": 9.0},
        {"claim": "C2", "row": "verdict", "verdict": "not testable"},
    ],
    columns=COLUMNS,
)
TABLE_2 = pd.DataFrame(
    {
        "optimizer": ["SGD", "Adam"],
        "NC0": [0.5, None],
        "NC1": [0.1, None],
        "NC2": [1, None],
        "NC3": [float("inf")] * 2,
    }
)


def test_verdicts_and_table_2_with_null_where_nothing_is_known():
    found = key_numbers(CLAIMS, TABLE_2)
    assert found["claims"] == {
        "C1": {"verdict": "holds", "effect": 1.5},
        "C2": {"verdict": "not testable", "effect": None},
    }
    assert found["table_2"]["SGD"] == {"log10_NC0": math.log10(0.5), "NC1": 0.1, "NC2": 1.0, "NC3": None}
    assert set(found["table_2"]["Adam"].values()) == {None}


def test_the_file_is_json_that_every_reader_takes(tmp_path):
    CLAIMS.to_csv(tmp_path / "claims.csv", index=False)
    write_key_numbers(tmp_path / "metrics.json", claims=tmp_path / "claims.csv", table_2=None)

    def refuse(name):
        raise AssertionError(name)

    text = (tmp_path / "metrics.json").read_text(encoding="utf-8")
    found = json.loads(text, parse_constant=refuse)
    assert found["claims"]["C2"] == {"verdict": "not testable", "effect": None} and "table_2" not in found


def test_a_small_nc0_is_seen_in_what_dvc_shows():
    """`dvc metrics show` rounds to five decimals: 5.25e-6 would be 1e-05 there, and 4e-6 0.0."""
    from dvc.commands.metrics import DEFAULT_PRECISION

    shown = []
    for value in (5.25e-6, 4e-6, 0.0):
        its = key_numbers(CLAIMS, TABLE_2.assign(NC0=value))["table_2"]["SGD"]["log10_NC0"]
        shown.append(its if its is None else round(its, DEFAULT_PRECISION))
    assert shown == [-5.27984, -5.39794, None]
