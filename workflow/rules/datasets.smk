rule prepare_dataset:
    """Read a dataset, verify it, and keep it as one file of arrays; of ImageNet an index of its files."""
    output:
        prepared=f"{RESULTS}/datasets/{{dataset}}.safetensors",
    log:
        f"{RESULTS}/logs/prepare_dataset/{{dataset}}.log",
    localrule: True
    conda:
        "../../envs/collapse.yaml"
    threads: 1
    resources:
        runtime=60,
    params:
        # No digest of code: the checksums say what must be in the file, and reading it verifies them.
        digest=lambda wildcards: DATASETS[wildcards.dataset].digest,
    script:
        "../scripts/prepare_dataset.py"
