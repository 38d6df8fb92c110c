"""Neural Collapse under different optimizers: training, class statistics, metrics, analysis.

Of anyone's own model: `measure`, `CollapseMetrics`, `CollapseHistory` (docs/own-models.md).
"""

import sys
from importlib import import_module

from collapse.files.environment import OLDEST, problem_of_python

if sys.version_info < OLDEST:
    raise ImportError("collapse: " + problem_of_python(sys.version_info))

# Imported when they are asked for: `import collapse` does not wait for torch. By name, so that nothing of
# the workflow reaches them.
_FROM = {
    "measure": "collapse.own_models.measuring",
    "CollapseMetrics": "collapse.own_models.accumulated",
    "CollapseHistory": "collapse.own_models.history",
    "Measurement": "collapse.own_models.result",
}
__all__ = list(_FROM)


def __getattr__(name: str) -> object:
    if name in _FROM:
        return getattr(import_module(_FROM[name]), name)
    raise AttributeError(f"module 'collapse' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_FROM})
