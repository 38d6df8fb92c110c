"""`from collapse.datasets.torchvision_import import torchvision`, which works beside any torch.

PyPI's torchvision is built for CUDA. Beside a CPU-only torch its compiled operators do not load,
and its import fails with "operator torchvision::nms does not exist" although datasets, transforms
and models need none of them. Declaring the schemas of the two operators it asks for lets the import
pass; where the import works at once, nothing is declared.
"""

import importlib
import sys

import torch

MISSING_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

# A declaration lives as long as its library object.
_declarations: list[torch.library.Library] = []


def import_torchvision():
    """The torchvision package; declares the missing operators first where they are missing."""
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # what the failed import left behind
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in MISSING_OPERATORS:
        library.define(schema)
    _declarations.append(library)
    return importlib.import_module("torchvision")


torchvision = import_torchvision()
