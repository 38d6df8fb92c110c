rule extract_statistics:
    """Class statistics of the last layer's features, one forward pass a network (appendix B)."""
    input:
        prepared=lambda wildcards: PREPARED[wildcards.pack],
        weights=f"{RESULTS}/packs/{{pack}}/weights.safetensors",
    output:
        statistics=f"{RESULTS}/packs/{{pack}}/class_statistics.safetensors",
    log:
        f"{RESULTS}/logs/extract_statistics/{{pack}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/extract_statistics/{{pack}}.tsv"
    conda:
        "../../envs/collapse.yaml"
    threads: config["threads"]
    resources:
        gpu=GPUS,
        mem_mb=lambda wildcards, attempt: attempt * (32000 if wildcards.pack in FROM_FILES else 4000),
        runtime=lambda wildcards, attempt: attempt
        * (60 * len(PACKS[wildcards.pack]) if wildcards.pack in FROM_FILES else 60),
    params:
        runs=lambda wildcards: PACKS[wildcards.pack],
        code=lambda wildcards: code_digest(
            f"{SCRIPTS}/extract_statistics.py", entries=entries_of(PACKS[wildcards.pack])
        ),
    script:
        "../scripts/extract_statistics.py"


rule measure:
    """The collapse metrics NC0 to NC4 of every network of a pack, at the end and on the way (appendix B)."""
    input:
        statistics=f"{RESULTS}/packs/{{pack}}/class_statistics.safetensors",
        trajectory=f"{RESULTS}/packs/{{pack}}/trajectory.safetensors",
    output:
        metrics=f"{RESULTS}/packs/{{pack}}/metrics.parquet",
        history_metrics=f"{RESULTS}/packs/{{pack}}/history_metrics.parquet",
    log:
        f"{RESULTS}/logs/measure/{{pack}}.log",
    localrule: True
    conda:
        "../../envs/collapse.yaml"
    threads: 1
    params:
        convention="reported",
        code=code_digest(f"{SCRIPTS}/measure.py"),
    script:
        "../scripts/measure.py"


rule collect:
    """Join all packs, or what evidence has of them, into two tidy tables: a row a run, and a run and epoch."""
    input:
        histories=expand(f"{RESULTS}/packs/{{pack}}/history.parquet", pack=PACKS),
        outcomes=expand(f"{RESULTS}/packs/{{pack}}/outcomes.parquet", pack=PACKS),
        metrics=expand(f"{RESULTS}/packs/{{pack}}/metrics.parquet", pack=PACKS),
        history_metrics=expand(f"{RESULTS}/packs/{{pack}}/history_metrics.parquet", pack=PACKS),
        evidence=EVIDENCE,
    output:
        runs=f"{RESULTS}/runs.parquet",
        history=f"{RESULTS}/history.parquet",
    log:
        f"{RESULTS}/logs/collect.log",
    localrule: True
    conda:
        "../../envs/collapse.yaml"
    threads: 1
    params:
        table=RUNS.to_csv(index=False),
        valid_accuracies=valid_accuracies(config, STUDY),
        entries=ENTRIES,
        code=code_digest(f"{SCRIPTS}/collect.py", entries=ENTRIES),
    script:
        "../scripts/collect.py"
