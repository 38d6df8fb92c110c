def pack_runs(wildcards):
    """The rows of the run table that a pack trains."""
    return PACKS[wildcards.pack]


def pack_dataset(wildcards):
    """The prepared dataset that all runs of a pack share."""
    return f"results/datasets/{PACKS[wildcards.pack][0]['dataset']}.safetensors"


rule train:
    """Train the networks of a pack (section 3.1); only those not trained before."""
    input:
        prepared=pack_dataset,
    output:
        weights=update(f"{RESULTS}/packs/{{pack}}/weights.safetensors"),
        trajectory=update(f"{RESULTS}/packs/{{pack}}/trajectory.safetensors"),
        history=update(f"{RESULTS}/packs/{{pack}}/history.parquet"),
        outcomes=update(f"{RESULTS}/packs/{{pack}}/outcomes.parquet"),
    log:
        f"{RESULTS}/logs/train/{{pack}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train/{{pack}}.tsv"
    params:
        runs=pack_runs,
        unfinished=f"{RESULTS}/unfinished/{{pack}}",
        device=config["device"],
        protocol=PROTOCOL,
    threads: config["threads"]
    resources:
        gpu=GPUS,
        mem_mb=4000,
        runtime=240,
    script:
        "../scripts/train.py"
