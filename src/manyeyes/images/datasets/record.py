"""What is known of a published dataset: whose it is, what it holds, and how its folders tell the classes."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Listing:
    """Photos by their path inside the dataset's folder (with slashes), each with its class."""

    labels: dict[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """A dataset's record.

    images, classes : what Table 1 of the paper counts.
    background, images_without_it : the folder of a background class that ``images`` counts and ``classes`` does not,
        and how many photos there are outside of it.
    publisher, address, files : where it is to be had, and which archives to unpack and label files to put beside them.
    marks : patterns of what a folder must hold to be the dataset's, as its authors lay it out.
    read : its photos and their classes, from such a folder. None when the first mark is a folder of class folders.
    splits : photo → train, val or test, from such a folder. None when the authors publish no split.
    """

    name: str
    title: str
    images: int
    classes: int
    publisher: str
    address: str
    files: tuple[str, ...]
    terms: str
    citation: str
    marks: tuple[str, ...]
    read: Callable[[Path], Listing] | None = None
    splits: Callable[[Path], dict[str, str]] | None = None
    background: str | None = None
    images_without_it: int | None = None

    @property
    def where(self) -> str:
        """Where it is to be had, as the end of a sentence."""
        return f"{', '.join(self.files)} of {self.title!r} by {self.publisher}, {self.address}"


def class_name(folder: str) -> str:
    """A class folder's name without the number that may stand before it: ``ak47`` of ``001.ak47``."""
    return re.sub(r"^\d{3}\.", "", folder)
