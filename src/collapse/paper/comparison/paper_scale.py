"""Which of the numbers that the paper reports a study has at the paper's scale.

Apart from collapse.paper.comparison.table because the Snakefile reads it, and each job reads the Snakefile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collapse.paper.scale import scale_note
from collapse.paper.targets import rows_of, stand_ins_of, values_of
from collapse.study.parameters import REFERENCE_STUDY
from collapse.study.runs import experiment_runs

EVERY_SETTING = ("grid", "vit")  # the others are of one architecture and dataset
SINGLE_RUNS = ("table2", "figure5")  # the others are of all runs of their experiment


def paper_scale(parameters: Mapping[str, Any], study: str) -> dict[str, Any]:
    """What of params.yaml the comparison needs, as plain lists and dicts.

    scales: by reported target, whether the study has its runs at the paper's scale (`comparable`) and
    what is not the paper's (`scale`); decay_scales: by what the weight decays of figure 5 were
    multiplied; papers: the paper's own runs of table 2 and figure 5, for their closed forms.
    """
    settings = parameters["analysis"]["comparison"]["settings"]
    one = {name: settings[name] for name in ("architecture", "dataset")}
    every = {"architecture": None, "dataset": None}
    papers = parameters["studies"][REFERENCE_STUDY]
    heatmap = settings["experiments"]["figure5"]
    own = parameters["studies"][study]
    here = values_of(rows_of(own, heatmap, **stood_in(own, heatmap, **one)))
    return {
        "scales": {
            target: scale_of(parameters, study, target, name, **(every if target in EVERY_SETTING else one))
            for target, name in settings["experiments"].items()
        },
        "decay_scales": sorted(here["weight_decay_scale"]),
        "papers": {
            target: experiment_runs(papers["defaults"], papers["experiments"][name], where=name)
            for target, name in settings["experiments"].items()
            if target in SINGLE_RUNS and name in papers["experiments"]
        },
    }


def scale_of(
    parameters: Mapping[str, Any],
    study: str,
    target: str,
    experiment: str,
    *,
    architecture: str | None,
    dataset: str | None,
) -> dict[str, Any]:
    """Whether a reported target can be compared with this study's runs, and in words why not."""
    chosen = {"architecture": architecture, "dataset": dataset}
    studies = parameters["studies"]
    here = stood_in(studies[study], experiment, **chosen)
    if not rows_of(studies[study], experiment, **here):
        named = ", ".join(name for name in (experiment, architecture, dataset) if name)
        return {"comparable": False, "scale": f"no run of {named} in this study"}
    note = scale_note(parameters, study, experiment, **chosen)
    if note is None and target not in SINGLE_RUNS:
        few, every = (
            count(studies[s], experiment, **w) for s, w in ((study, here), (REFERENCE_STUDY, chosen))
        )
        note = f"{few} of the paper's {every} runs" if few < every else None
    return {"comparable": note is None, "scale": note or "the paper's"}


def stood_in(
    study: Mapping[str, Any], experiment: str, *, architecture: str | None, dataset: str | None
) -> dict[str, str | None]:
    """The architecture, and the dataset that the study's experiment has in the place of the paper's."""
    stand_ins = stand_ins_of(study, experiment)
    return {"architecture": architecture, "dataset": stand_ins.get(dataset, dataset)}


def count(study: Mapping[str, Any], experiment: str, *, architecture: str | None, dataset: str | None) -> int:
    """How many runs of an architecture and a dataset an experiment has; None counts all."""
    runs = experiment_runs(study["defaults"], study["experiments"][experiment], where=experiment)
    return sum(
        architecture in (None, run["architecture"]) and dataset in (None, run["dataset"]) for run in runs
    )
