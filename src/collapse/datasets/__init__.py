"""The datasets: `DATASETS` says what they are, and imports nothing heavy.

Reading them is collapse.datasets.loading, one prepared file of each collapse.datasets.prepared,
what training does to the images collapse.datasets.preprocessing.
"""

from collapse.datasets.registry import (
    DATASETS,
    DataFile,
    Dataset,
    DatasetError,
    data_root,
    get_dataset,
)

__all__ = ["DATASETS", "DataFile", "Dataset", "DatasetError", "data_root", "get_dataset"]
