"""What can be told of results afterwards.

`audit` follows a number back to the dataset and verifies every file on the way, `crate` writes the same as an
RO-Crate, `versions` keeps DVC and Snakemake in agreement.
"""
