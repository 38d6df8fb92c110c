"""Optimizer choice matters for the emergence of Neural Collapse (ICLR 2026, arXiv 2602.16642).

From params.yaml and targets.yaml to every table and figure of one study:
    snakemake                              all of the study named in params.yaml
    snakemake --config study=mini          another study
    snakemake table_2 figure_5             single targets
    snakemake runs                         everything but the tables and figures
"""


configfile: "params.yaml"
configfile: "targets.yaml"


include: "workflow/rules/common.smk"


rule all:
    """Every table and figure of the study."""
    default_target: True
    input:
        OF_RUNS,
        OF_TABLES,
        OF_FIGURES,


include: "workflow/rules/stages.smk"  #                                the parts that DVC versions
include: "workflow/rules/theory.smk"  #                                section 3.3
include: "workflow/rules/datasets.smk"  #                              section 3.1
include: "workflow/rules/training.smk"  #                              section 3.1
include: "workflow/rules/metrics.smk"  #                               appendix B
include: "workflow/rules/depth.smk"  #                                 which layers collapse
include: "workflow/rules/further.smk"  #                               dense layers; features without a network
include: "workflow/rules/tables.smk"  #                                section 3, appendix D
include: "workflow/rules/figures.smk"  #                               section 3, appendix D
include: "workflow/rules/analysis.smk"  #                              the claims; ours beside the paper's
include: "workflow/rules/other_targets.smk"
include: "workflow/rules/report.smk"  #                                the report's first page
