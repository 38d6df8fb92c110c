"""Settings of one figure of every kind that shows runs, for tests to draw."""

from synthetic import OPTIMIZERS

SETTING = {"architecture": "ResNet9", "dataset": "FashionMNIST"}
GRID = SETTING | {"experiment": "grid"}
TABLE_2 = SETTING | {"experiment": "table_2"}
ADAMS = ["Adam", "AdamW"]
SIX = list(OPTIMIZERS)
NC = ["NC0", "NC1", "NC2", "NC3"]
KINDS = {
    "weight_decay": GRID
    | {"panels": [{"optimizers": ADAMS, "metric": m} for m in ("NC0", "NC3")], "columns": 2},
    "weight_decay_by_learning_rate": GRID | {"optimizers": ADAMS, "metrics": ["NC0", "NC3"]},
    "metric_scatter": GRID
    | {"optimizers": SIX, "pairs": [["NC0", "NC3"]], "by_learning_rate": True, "fit": True, "floor": False},
    "heatmap": GRID
    | {"experiment": "momentum_heatmap", "optimizer": "SGD"}
    | {"metrics": ["NC0", "NC2", "NC3"], "require_valid": True},
    "metric_curves": TABLE_2
    | {"optimizers": SIX, "metrics": NC, "line": "optimizer", "dash": None, "where": None}
    | {
        "run_of_smallest": None,
        "epoch_scale": "linear",
        "columns": 4,
        "closed_form": True,
        "step_decay_of": None,
        "require_valid": True,
    },
    "singular_values": TABLE_2
    | {"optimizers": SIX[:5], "run_of_smallest": None, "scale": "linear", "require_valid": True},
}
