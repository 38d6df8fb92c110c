rule measure_depth:
    """Metrics at every point of the trunk, of the networks of a pack that the experiment depth has."""
    input:
        prepared=lambda wildcards: PREPARED[wildcards.pack],
        weights=f"{RESULTS}/packs/{{pack}}/weights.safetensors",
    output:
        depth=f"{RESULTS}/packs/{{pack}}/depth.parquet",
    log:
        f"{RESULTS}/logs/measure_depth/{{pack}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/measure_depth/{{pack}}.tsv"
    conda:
        "../../envs/collapse.yaml"
    threads: config["threads"]
    resources:
        gpu=GPUS,
        mem_mb=lambda wildcards, attempt: attempt * 8000,
        runtime=lambda wildcards, attempt: attempt * 60,
    params:
        runs=lambda wildcards: DEPTH_PACKS[wildcards.pack],
        code=lambda wildcards: code_digest(
            f"{SCRIPTS}/measure_depth.py", entries=entries_of(DEPTH_PACKS[wildcards.pack])
        ),
    script:
        "../scripts/measure_depth.py"
