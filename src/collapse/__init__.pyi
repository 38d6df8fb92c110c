from collapse.own_models.accumulated import CollapseMetrics as CollapseMetrics
from collapse.own_models.history import CollapseHistory as CollapseHistory
from collapse.own_models.measuring import measure as measure
from collapse.own_models.result import Measurement as Measurement
