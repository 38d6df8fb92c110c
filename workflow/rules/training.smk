rule train:
    """Train the networks of a pack (section 3.1); only those not trained before."""
    input:
        prepared=lambda wildcards: PREPARED[wildcards.pack],
    output:
        weights=update(f"{RESULTS}/packs/{{pack}}/weights.safetensors"),
        trajectory=update(f"{RESULTS}/packs/{{pack}}/trajectory.safetensors"),
        history=update(f"{RESULTS}/packs/{{pack}}/history.parquet"),
        outcomes=update(f"{RESULTS}/packs/{{pack}}/outcomes.parquet"),
    log:
        f"{RESULTS}/logs/train/{{pack}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train/{{pack}}.tsv"
    conda:
        "../../envs/collapse.yaml"
    threads: config["threads"]
    resources:
        gpu=GPUS,
        mem_mb=lambda wildcards, attempt: attempt * (32000 if wildcards.pack in FROM_FILES else 4000),
        # Of what the speed in params.yaml promises three times as much, and an hour.
        runtime=lambda wildcards, attempt: attempt * (60 + 3 * ceil(MINUTES[wildcards.pack])),
    params:
        runs=lambda wildcards: PACKS[wildcards.pack],
        unfinished=f"{RESULTS}/unfinished/{{pack}}",
        protocol=PROTOCOL,
    script:
        "../scripts/train.py"
