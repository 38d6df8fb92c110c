"""Table 102: what is known of NC0 under the other optimizers, each with checks against simulation.

`optimizer_theory_table` has a row a check; `print_optimizer_theory` a row a statement and optimizer. The
statements and their proofs: docs/beyond-the-paper.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from collapse.optimizers import OPTIMIZERS
from collapse.paper.tables import MISSING
from collapse.paper.theorem_table import greek, sentence
from collapse.theory import elementwise_checks, row_sum_checks
from collapse.theory.closed_forms import NC0_RATIOS
from collapse.theory.theorem_checks import Check

STATEMENTS = {
    "Lemma 1": "The loss does not see the row sum of W",
    "Lemma 2": "Orthogonal directions have zero row sum where they stay in the gradients' span",
    "Theorem 1": "Zero row sums and decoupled decay: NC0 is SGDW's closed form",
    "Theorem 1, converse": "Other directions, and cautious decay, leave it",
    "Theorem 1, rounding": "In float32 SOAP keeps it to what rho bounds",
    "Lemma 3": "With decoupled decay row sums change nothing but NC0",
    "Corollary 4": "NC3^2 = 2 - (2 - NC3_centred^2) sqrt(1 - gauge_share)",
    "Corollary 5": "Schedule-Free SGD, coupled: the row sum has its own recursion",
    "Muon, coupled": "Newton-Schulz amplifies the decay of the row sum",
    "Theorem 6, signs": "Fixed simplex, decoupled: alpha(t) at any momenta and learning rates",
    "Theorem 6, AdamW": "Fixed simplex: epsilon decides where alpha ends",
    "Theorem 6, the others": "Fixed simplex: alpha stays 0, Adafactor's by symmetry",
}
INERT = ("AdamW", "LionW", "MuonW")  # a direction of each family; SOAP's basis is arbitrary at low rank
SHORT = 500  # steps where nothing moves


def optimizer_theory_table(
    *,
    optimizers: Sequence[str],
    learning_rate: float,
    exposure: float,
    weight_decay: float,
    epsilons: Sequence[float],
    steps: int,
    seed: int,
) -> pd.DataFrame:
    """Every check of every statement; K = 10.

    optimizers: of decoupled or cautious decay, held against SGDW's closed form, which those of NC0_RATIOS
    keep and the others leave. exposure: sum of learning rate times weight decay in the trainings of theorem 1
    and lemma 3, whose learning rate starts at `learning_rate` and ends at a hundredth; NC0's closed form is
    about e^-exposure. weight_decay, epsilons (of AdamW) and steps are theorem 6's.

    Columns: statement, optimizer, check, predicted, relation ("=", "<=" or ">="), simulated, deviation
    (relative; of a trajectory the largest of all steps; NaN for bounds), verdict ("holds" or "fails").

    Raises ValueError for an optimizer whose decay is coupled, in part or whole.
    """
    for name in optimizers:
        if OPTIMIZERS[name].weight_decay_kind not in ("decoupled", "cautious"):
            raise ValueError(f"{name}: table 102 has optimizers of decoupled or cautious decay")
    training = {"learning_rate": learning_rate, "exposure": exposure, "seed": seed}
    simplex = {
        "num_classes": row_sum_checks.MOVING.num_classes,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
    }
    found = [
        *_on_row_sums(optimizers, training),
        *_on_the_simplex(optimizers, simplex, steps=steps, epsilons=epsilons),
    ]
    about = [{"statement": statement, "optimizer": optimizer} for statement, optimizer, _ in found]
    table = pd.DataFrame([one | check for one, (*_, check) in zip(about, found, strict=True)])
    order = table["statement"].map(list(STATEMENTS).index)
    return table.iloc[order.argsort(kind="stable")].reset_index(drop=True)


Found = tuple[str, str, Check]  # statement, optimizer, check


def _on_row_sums(optimizers: Sequence[str], training: Mapping[str, float]) -> Iterator[Found]:
    checks, seed = row_sum_checks, {"seed": training["seed"]}
    yield from (("Lemma 1", "any", check) for check in checks.check_gauge(**seed))
    yield from (("Lemma 2", "Muon", check) for check in checks.check_polar_factor(**seed))
    for name in optimizers:
        has_one = name in NC0_RATIOS
        statement = "Theorem 1" if has_one else "Theorem 1, converse"
        for model, train in checks.MODELS.items():
            check = checks.check_closed_form(*train(OPTIMIZERS[name], **training), has_one=has_one)
            yield statement, name, check | {"check": f"{model}: {check['check']}"}
    in_float32 = checks.check_soap_in_float32(**training)
    yield from (("Theorem 1, rounding", "SOAPW", check) for check in in_float32)
    for name in INERT:
        yield from (("Lemma 3", name, check) for check in checks.check_inert(name, **training))
    yield from (("Lemma 3", "AdamCentredW", check) for check in checks.check_adamw_centred(**training))
    yield from (("Corollary 4", "any", check) for check in checks.check_nc3(**seed))
    free = {"learning_rate": training["learning_rate"], "weight_decay": 0.5, "momentum": 0.9, "steps": SHORT}
    yield from (
        ("Corollary 5", "Schedule-Free", check) for check in checks.check_schedule_free(**free, **seed)
    )
    muon = checks.check_coupled_muon(weight_decays=[1e-6], **seed)
    yield from (("Muon, coupled", "Muon", check) for check in muon)


def _on_the_simplex(
    optimizers: Sequence[str], simplex: Mapping[str, float], *, steps: int, epsilons: Sequence[float]
) -> Iterator[Found]:
    checks = elementwise_checks
    for name in ("SignumW", "LionW"):
        signs = checks.check_signs(name, **simplex, steps=steps)
        yield from (("Theorem 6, signs", name, check) for check in signs)
    adamw = checks.check_adamw(**simplex, steps=steps, epsilons=epsilons)
    yield from (("Theorem 6, AdamW", "AdamW", check) for check in adamw)
    for name in optimizers:
        if name in NC0_RATIOS or name == "AdafactorW":
            zero = checks.check_stays_zero(name, **simplex, steps=SHORT)
            yield from (("Theorem 6, the others", name, check) for check in zero)


def print_optimizer_theory(table: pd.DataFrame) -> pd.DataFrame:
    """`optimizer_theory_table` for eyes: the checks of a statement and an optimizer in one row, in Greek."""
    return print_statements(table, STATEMENTS, by="optimizer")


def print_statements(
    table: pd.DataFrame, statements: Mapping[str, str], *, by: str, checks: str = "Predicted, simulated"
) -> pd.DataFrame:
    """A table of checks for eyes: those of a statement and of one value of the column `by` in one row.

    checks: the heading of the checks.
    """
    rows = []
    for (statement, subject), its in table.groupby(["statement", by], sort=False):
        deviation = its["deviation"].max()  # of what is no bound
        fails = its.loc[its["verdict"] == "fails", "check"]
        rows.append(
            {
                "Statement": f"{statement}: {statements[statement]}",
                by.capitalize(): subject,
                checks: "<br>".join(sentence(check) for check in its.itertuples()),
                "Largest deviation": MISSING if pd.isna(deviation) else f"{deviation:.1e}",
                "Verdict": f"fails: {'; '.join(fails)}" if len(fails) else "holds",
            }
        )
    frame = pd.DataFrame(rows)
    words = ["Statement", by.capitalize(), checks]
    frame[words] = frame[words].map(greek)
    return frame
