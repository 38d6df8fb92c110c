# The parts of a study, as dvc.yaml versions them.
rule datasets:
    """The datasets of the study, verified and prepared."""
    input:
        set(PREPARED.values()),


rule runs:
    """The tidy tables of all runs."""
    input:
        OF_RUNS,


rule tables:
    """Tables, claims, the comparison with the paper, the report's first page."""
    input:
        OF_TABLES,


rule figures:
    """Every figure, and the explorer."""
    input:
        OF_FIGURES,
