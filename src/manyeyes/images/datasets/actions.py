"""Stanford 40 Actions: for each action, a text file of the photos to train on and one of those to test on."""

from pathlib import Path

from manyeyes.errors import PhotoSourceError
from manyeyes.images.datasets.labelfiles import inside, read_rows
from manyeyes.images.datasets.record import Dataset, Listing
from manyeyes.images.photo import readable

_PARTS = ("train", "test")
_HEADER = "action_name"


def _lists(folder: Path, part: str) -> dict[str, str]:
    """Photo → action, of one part. Raises PhotoSourceError when a photo shows two actions."""
    found: dict[str, str] = {}
    for action in _actions(folder / "ImageSplits" / "actions.txt"):
        file = folder / "ImageSplits" / f"{action}_{part}.txt"
        for name in read_rows(file):
            photo = inside(f"JPEGImages/{name}", file)
            if found.setdefault(photo, action) != action:
                raise PhotoSourceError(f"{readable(str(file))} names {readable(name)}, which shows {found[photo]} too")
    return found


def _actions(file: Path) -> list[str]:
    """The first column, whose header is left out."""
    names = [inside(row.split()[0], file) for row in read_rows(file)]
    return [name for name in names if name != _HEADER]


def _read(folder: Path) -> Listing:
    train, test = (_lists(folder, part) for part in _PARTS)
    return Listing(dict(sorted((train | test).items())))


def _splits(folder: Path) -> dict[str, str]:
    return {photo: part for part in _PARTS for photo in _lists(folder, part)}


ACTIONS40 = Dataset(
    name="actions40",
    title="Stanford 40 Actions",
    images=9532,
    classes=40,
    publisher="the Stanford Vision Lab",
    address="http://vision.stanford.edu/Datasets/40actions.html",
    files=("Stanford40_JPEGImages.zip", "Stanford40_ImageSplits.zip"),
    terms="none stated",
    citation="Yao, Jiang, Khosla, Lin, Guibas and Fei-Fei, Human Action Recognition by Learning Bases of Action "
    "Attributes and Parts, ICCV 2011",
    marks=("JPEGImages", "ImageSplits/actions.txt"),
    read=_read,
    splits=_splits,
)
