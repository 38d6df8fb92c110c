rule measure_layers:
    """Every dense layer of the networks of a pack that end in a linear tail, through training."""
    input:
        trajectory=f"{RESULTS}/packs/{{pack}}/trajectory.safetensors",
    output:
        layers=f"{RESULTS}/packs/{{pack}}/layers.parquet",
    log:
        f"{RESULTS}/logs/measure_layers/{{pack}}.log",
    localrule: True
    conda:
        "../../envs/collapse.yaml"
    threads: 1
    params:
        runs=lambda wildcards: LAYER_PACKS[wildcards.pack],
        code=code_digest(f"{SCRIPTS}/measure_layers.py"),
    script:
        "../scripts/measure_layers.py"


rule unconstrained_features:
    """Features that are trained themselves, in float64 without a network; a job an optimizer."""
    output:
        ufm=f"{RESULTS}/packs/unconstrained-{{optimizer}}/ufm.parquet",
    log:
        f"{RESULTS}/logs/unconstrained_features/{{optimizer}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/unconstrained_features/{{optimizer}}.tsv"
    conda:
        "../../envs/collapse.yaml"
    threads: 1
    params:
        runs=lambda wildcards: UNCONSTRAINED[wildcards.optimizer],
        entries=lambda wildcards: NO_DATA | {"optimizer": [wildcards.optimizer]},
        code=lambda wildcards: code_digest(
            f"{SCRIPTS}/unconstrained_features.py", entries=NO_DATA | {"optimizer": [wildcards.optimizer]}
        ),
    script:
        "../scripts/unconstrained_features.py"


rule collect_further:
    """Three more tidy tables, each empty in a study that has nothing of it: depth, layers, ufm."""
    input:
        depth=[*expand(f"{RESULTS}/packs/{{pack}}/depth.parquet", pack=DEPTH_PACKS), *DEPTH_OF_EVIDENCE],
        layers=expand(f"{RESULTS}/packs/{{pack}}/layers.parquet", pack=LAYER_PACKS),
        ufm=expand(f"{RESULTS}/packs/unconstrained-{{optimizer}}/ufm.parquet", optimizer=UNCONSTRAINED),
    output:
        **{name: f"{RESULTS}/{name}.parquet" for name in FURTHER},
    log:
        f"{RESULTS}/logs/collect_further.log",
    localrule: True
    conda:
        "../../envs/collapse.yaml"
    threads: 1
    params:
        code=code_digest(f"{SCRIPTS}/collect_further.py", entries=ENTRIES),
    script:
        "../scripts/collect_further.py"
