"""Neural Collapse under different optimizers: training, class statistics, metrics, analysis."""
