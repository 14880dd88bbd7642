"""The registry of published datasets.

Another one is one record of :class:`~manyeyes.images.datasets.record.Dataset` and one line here, or one packaging entry
point of ``manyeyes.datasets``.
"""

from manyeyes.registry import Registry

DATASETS = Registry(
    "datasets",
    {
        "actions40": "manyeyes.images.datasets.actions:ACTIONS40",
        "caltech101": "manyeyes.images.datasets.caltech:CALTECH101",
        "caltech256": "manyeyes.images.datasets.caltech:CALTECH256",
        "cub200": "manyeyes.images.datasets.birds:CUB200",
        "flowers17": "manyeyes.images.datasets.flowers:FLOWERS17",
        "flowers102": "manyeyes.images.datasets.flowers:FLOWERS102",
        "pets": "manyeyes.images.datasets.pets:PETS",
    },
)
