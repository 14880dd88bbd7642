"""Caltech-UCSD Birds: text files that tell each photo's class and split by the photo's number."""

from pathlib import Path

from manyeyes.errors import PhotoSourceError
from manyeyes.images.datasets.labelfiles import inside, read_pairs
from manyeyes.images.datasets.record import Dataset, Listing, class_name
from manyeyes.images.photo import readable

_SPLITS = {"1": "train", "0": "test"}


def _photos(folder: Path) -> dict[str, str]:
    """Number → path."""
    file = folder / "images.txt"
    return {number: inside(f"images/{path}", file) for number, path in read_pairs(file).items()}


def _of_photos(file: Path, photos: dict[str, str], meanings: dict[str, str]) -> dict[str, str]:
    """Path → meaning of what the file says of the photo."""
    said = read_pairs(file)
    for number in photos:
        if said.get(number) not in meanings:
            raise PhotoSourceError(
                f"{readable(str(file))} says {readable(str(said.get(number)))} of photo {readable(number)}, "
                "which means nothing: unpack it again"
            )
    return {path: meanings[said[number]] for number, path in photos.items()}


def _read(folder: Path) -> Listing:
    classes = {number: class_name(name) for number, name in read_pairs(folder / "classes.txt").items()}
    return Listing(_of_photos(folder / "image_class_labels.txt", _photos(folder), classes))


def _splits(folder: Path) -> dict[str, str]:
    return _of_photos(folder / "train_test_split.txt", _photos(folder), _SPLITS)


CUB200 = Dataset(
    name="cub200",
    title="Caltech-UCSD Birds-200-2011",
    images=11788,
    classes=200,
    publisher="the Computational Vision Lab, California Institute of Technology",
    address="https://www.vision.caltech.edu/datasets/cub_200_2011/",
    files=("CUB_200_2011.tgz",),
    terms="non-commercial research and education",
    citation="Wah, Branson, Welinder, Perona and Belongie, The Caltech-UCSD Birds-200-2011 Dataset, "
    "Technical Report CNS-TR-2011-001, Caltech 2011",
    marks=("images", "images.txt", "image_class_labels.txt", "classes.txt"),
    read=_read,
    splits=_splits,
)
