"""Neural Collapse under different optimizers: training, class statistics, metrics, analysis."""

import sys

from collapse.files.environment import OLDEST, problem_of_python

if sys.version_info < OLDEST:
    raise ImportError("collapse: " + problem_of_python(sys.version_info))
