"""Caltech's object categories: a folder for each class, and one of background that is none of them."""

from manyeyes.images.datasets.record import Dataset

CALTECH101 = Dataset(
    name="caltech101",
    title="Caltech 101",
    images=9146,
    classes=101,
    publisher="CaltechDATA, California Institute of Technology",
    address="https://data.caltech.edu/records/mzrjq-6wc02",
    files=("caltech-101.zip (and 101_ObjectCategories.tar.gz inside it)",),
    terms="CC BY 4.0",
    citation="Fei-Fei, Fergus and Perona, Learning Generative Visual Models from Few Training Examples, "
    "CVPR Workshop on Generative-Model Based Vision 2004",
    marks=("101_ObjectCategories",),
    background="BACKGROUND_Google",
    images_without_it=8677,
)

CALTECH256 = Dataset(
    name="caltech256",
    title="Caltech 256",
    images=30607,
    classes=256,
    publisher="CaltechDATA, California Institute of Technology",
    address="https://data.caltech.edu/records/nyy15-4j048",
    files=("256_ObjectCategories.tar",),
    terms="CC BY 4.0",
    citation="Griffin, Holub and Perona, Caltech-256 Object Category Dataset, Technical Report 7694, Caltech 2007",
    marks=("256_ObjectCategories",),
    background="257.clutter",
    images_without_it=29780,
)
