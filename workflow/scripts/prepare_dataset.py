"""Rule prepare_dataset: from the user's files, or the internet, to one verified file."""

from collapse.datasets import data_root
from collapse.datasets.loading import load_arrays
from collapse.datasets.prepared import save_prepared
from collapse.records.job import job

with job(snakemake):
    # Not a param: where the files lie changes nothing, their checksums do.
    name = snakemake.wildcards.dataset
    arrays = load_arrays(name, root=data_root(snakemake.config["data_root"]), cache="data")
    save_prepared(arrays, snakemake.output.prepared, name)
