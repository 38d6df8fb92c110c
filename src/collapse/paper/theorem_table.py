"""Table 1: the paper's theorems on NC0, each with checks of what it says against simulation.

`theorem_table` has a row a check; `print_theorems` a row a theorem and number of classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from collapse.paper.tables import MISSING
from collapse.theory.theorem_checks import check_2_1, check_3_3, check_3_4, check_sgd

GREEK = {
    "alpha": "α",
    "beta": "β",
    "lambda": "λ",
    "eta": "η",
    "<=": "≤",
    ">=": "≥",
    "epsilon": "ε",
    "->": "→",
    "||": "‖",
    "sqrt": "√",
}
THEOREMS = {
    "2.1": ("any", "any", "yes, where NC3 -> 0 with bounded ||W||", "any"),
    "3.1": ("SGDW", "any", "yes, exponentially", "0 < eta lambda < 2"),
    "3.2": ("SGD", "any", "yes, exponentially", "0 < eta lambda < 2 (1 + beta)"),
    "3.3": ("SignGD, decoupled", "UFM, H = M*", "no", "0 < eta lambda < 2"),
    "3.4": ("SignGD, coupled", "UFM, H = M*", "yes", "eta(t) -> 0, sum of eta(t) infinite"),
}
"""Theorem: optimizer, model, whether NC0 -> 0, learning rate; numbered as published, where the
table has the rows of 3.3 and 3.4 the other way round."""


def theorem_table(
    *,
    num_classes: Sequence[int],
    learning_rate: float,
    weight_decay: float,
    momentum: float,
    steps: int,
    seed: int,
) -> pd.DataFrame:
    """Every check of every theorem, for each number of classes K >= 3.

    learning_rate, weight_decay and steps (enough to pass T2) are of every simulation, momentum of SGD
    and SGDW (SignGD has none), seed of the data and initial weights of 2.1, 3.1 and 3.2.

    Columns: optimizer, model, theorem, nc0_to_zero, learning_rate, num_classes, check, predicted,
    relation ("=" or "<="), simulated, deviation (relative; for alpha(t) the largest of all steps; NaN
    for "<="), verdict ("holds" or "fails"). Checks "as printed" repeat a misprint of the paper: they
    are meant to fail.

    Raises ValueError for K < 3, where theorem 3.3's limit is zero and T1 = T2.
    """
    if min(num_classes) < 3:
        raise ValueError(f"num_classes must be at least 3, found {list(num_classes)}")
    setting = {"learning_rate": learning_rate, "weight_decay": weight_decay, "steps": steps}
    rows = []
    for theorem, about in THEOREMS.items():
        for K in num_classes:
            names = ("optimizer", "model", "nc0_to_zero", "learning_rate")
            row = dict(zip(names, about, strict=True)) | {"theorem": theorem, "num_classes": K}
            if theorem == "2.1":
                checks = check_2_1(num_classes=K, seed=seed)
            elif theorem in ("3.1", "3.2"):
                which = {"predicted_for": about[0], "simulated_with": about[0]}
                checks = check_sgd(**which, num_classes=K, momentum=momentum, seed=seed, **setting)
            elif theorem == "3.3":
                checks = check_3_3(simulated_with="SignumW", num_classes=K, **setting)
            else:
                checks = check_3_4(simulated_with="Signum", num_classes=K, **setting)
            rows += [row | check for check in checks]
    order = ["optimizer", "model", "theorem", "nc0_to_zero", "learning_rate", "num_classes"]
    return pd.DataFrame(rows)[[*order, "check", "predicted", "relation", "simulated", "deviation", "verdict"]]


def print_theorems(table: pd.DataFrame) -> pd.DataFrame:
    """`theorem_table` for eyes: the checks of a theorem and K in one row, in Greek."""
    rows = []
    for (theorem, K), its in table.groupby(["theorem", "num_classes"], sort=False):
        first = its.iloc[0]
        printed, real = its["check"].str.startswith("as printed"), its["relation"] == "="
        rows.append(
            {
                "Theorem": theorem,
                "Optimizer": first["optimizer"],
                "Model": first["model"],
                "NC0 -> 0": first["nc0_to_zero"],
                "Learning rate": first["learning_rate"],
                "K": K,
                "Predicted, simulated": "<br>".join(sentence(check) for check in its.itertuples()),
                "Largest deviation": f"{its.loc[~printed & real, 'deviation'].max():.1e}"
                if (~printed & real).any()
                else MISSING,
                "Verdict": _verdicts(its, printed),
            }
        )
    frame = pd.DataFrame(rows)
    words = frame.columns.difference(["K", "Optimizer", "Verdict"])
    frame[words] = frame[words].map(greek)
    return frame.rename(columns=greek)


def sentence(check) -> str:
    """ "T1: 17, 17"; "... <= 1: 0.064"."""
    if check.relation != "=":
        return f"{check.check} {check.relation} {check.predicted:g}: {check.simulated:.4g}"
    return f"{check.check}: {check.predicted:.5g}, {check.simulated:.5g}"


def _verdicts(its: pd.DataFrame, printed: pd.Series) -> str:
    """ "holds", or which checks fail; then what fails as the paper prints it."""
    fails = its["verdict"] == "fails"
    words = "; ".join(its.loc[fails & ~printed, "check"])
    verdict = f"fails: {words}" if words else "holds"
    return verdict + ("; not as printed" if (fails & printed).any() else "")


def greek(text: str) -> str:
    for word, letter in GREEK.items():
        text = text.replace(word, letter)
    return text
