"""The metrics of anyone's model: in one call, batch by batch, or through a training loop of one's own.

`collapse.measure`, `collapse.CollapseMetrics` and `collapse.CollapseHistory` are these
(docs/own-models.md).
"""
