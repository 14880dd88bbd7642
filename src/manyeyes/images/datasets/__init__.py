"""The seven datasets of "All Together Now!" (Table 1), in the folders in which their authors publish them."""

from manyeyes.images.datasets.published import DATASETS
from manyeyes.images.datasets.reader import read_dataset
from manyeyes.images.datasets.record import Dataset

__all__ = ["DATASETS", "Dataset", "read_dataset"]
