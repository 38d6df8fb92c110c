"""What a table or figure of the paper means in a study: its settings there, and how far it is scaled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REFERENCE_STUDY = "paper"
SCALED = {
    "width": "width {}",
    "image_size": "{0}x{0} images",
    "train_size": "{} training images",
    "epochs": "{} epochs",
    "batch_size": "batch {}",
    "weight_decay_scale": "weight decay x {}",
    "augmentation": "augmentation {}",
    "seed": "seed {}",
}


def target_settings(parameters: Mapping[str, Any], study: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a table or figure, with the study's stand-in for the dataset they name."""
    stand_ins = parameters["studies"][study].get("stand_ins", {})
    resolved = dict(settings)
    if resolved.get("dataset") in stand_ins:
        resolved["dataset"] = stand_ins[resolved["dataset"]]
    return resolved


def scale_note(parameters: Mapping[str, Any], study: str) -> str | None:
    """What stands on the face of a scaled-down study's tables and figures; None at the paper's scale."""
    studies = parameters["studies"]
    ours, paper = studies[study]["defaults"], studies[REFERENCE_STUDY]["defaults"]
    scaled = [
        text.format(ours[name])
        for name, text in SCALED.items()
        if name in ours and ours[name] != paper.get(name)
    ]
    replaced = [
        f"{ours_instead} stands in for {named}"
        for named, ours_instead in studies[study].get("stand_ins", {}).items()
    ]
    if not scaled and not replaced:
        return None
    return f"{study} study, not the paper's scale: " + "; ".join([*replaced, ", ".join(scaled)])
