"""The Oxford flowers: photos by number, and label files of numbers."""

from pathlib import Path

from manyeyes.errors import PhotoSourceError
from manyeyes.images.datasets.flower_names import NAMES_17, NAMES_102
from manyeyes.images.datasets.labelfiles import read_numbers
from manyeyes.images.datasets.record import Dataset, Listing
from manyeyes.images.photo import readable

_PER_CLASS = 80


def _photo_17(number: int) -> str:
    return f"jpg/image_{number:04}.jpg"


def _photo_102(number: int) -> str:
    return f"jpg/image_{number:05}.jpg"


def _read_17(folder: Path) -> Listing:
    count = _PER_CLASS * len(NAMES_17)
    return Listing({_photo_17(number + 1): NAMES_17[number // _PER_CLASS] for number in range(count)})


def _read_102(folder: Path) -> Listing:
    file = folder / "imagelabels.mat"
    labels = read_numbers(file, "labels")
    if not labels or not set(labels) <= set(range(1, len(NAMES_102) + 1)):
        raise PhotoSourceError(f"{readable(str(file))} holds labels that are not 1 to {len(NAMES_102)}: fetch it again")
    return Listing({_photo_102(number): NAMES_102[label - 1] for number, label in enumerate(labels, 1)})


def _splits_17(folder: Path) -> dict[str, str]:
    # The authors average over three splits; this is the first.
    numbers = _split_numbers(folder / "datasplits.mat", {"trn1": "train", "val1": "val", "tst1": "test"})
    return {_photo_17(number): split for number, split in numbers.items()}


def _splits_102(folder: Path) -> dict[str, str]:
    numbers = _split_numbers(folder / "setid.mat", {"trnid": "train", "valid": "val", "tstid": "test"})
    return {_photo_102(number): split for number, split in numbers.items()}


def _split_numbers(file: Path, arrays: dict[str, str]) -> dict[int, str]:
    found: dict[int, str] = {}
    for array, split in arrays.items():
        for number in read_numbers(file, array):
            if found.setdefault(number, split) != split:
                raise PhotoSourceError(f"{readable(str(file))} puts photo {number} into two splits: fetch it again")
    return found


FLOWERS17 = Dataset(
    name="flowers17",
    title="17 Category Flower Dataset",
    images=1360,
    classes=17,
    publisher="the Visual Geometry Group, University of Oxford",
    address="https://www.robots.ox.ac.uk/~vgg/data/flowers/17/",
    files=("17flowers.tgz", "datasplits.mat"),
    terms="none stated",
    citation="Nilsback and Zisserman, A Visual Vocabulary for Flower Classification, CVPR 2006",
    marks=("jpg/image_????.jpg",),
    read=_read_17,
    splits=_splits_17,
)

FLOWERS102 = Dataset(
    name="flowers102",
    title="102 Category Flower Dataset",
    images=8189,
    classes=102,
    publisher="the Visual Geometry Group, University of Oxford",
    address="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
    files=("102flowers.tgz", "imagelabels.mat", "setid.mat"),
    terms="none stated",
    citation="Nilsback and Zisserman, Automated Flower Classification over a Large Number of Classes, ICVGIP 2008",
    marks=("jpg/image_?????.jpg", "imagelabels.mat"),
    read=_read_102,
    splits=_splits_102,
)
