"""A published dataset → photos with labels: found under a folder, read, and counted against the paper's Table 1."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from manyeyes.errors import PhotoSourceError
from manyeyes.images.datasets.published import DATASETS
from manyeyes.images.datasets.record import Dataset, Listing, class_name
from manyeyes.images.folders import read_folder
from manyeyes.images.photo import readable
from manyeyes.images.photoset import PhotoSet

_SHOWN = 3


def read_dataset(name: str, root: str | os.PathLike[str], official_split: bool = False) -> PhotoSet:
    """The photos of one of ``DATASETS`` under ``root``, as its authors lay it out or with a folder for each class.

    ``root`` is the folder into which the dataset was unpacked, or the one above it. The paper's protocol is
    cross-validation, so there are splits only when the authors' own are asked for; photos outside of them are left
    out then. Notes tell how the counts compare with the paper's Table 1, which photos are missing, and what was left
    out. No photo is opened. Raises UnknownNameError, and PhotoSourceError when the dataset is not there, when a label
    file is broken, and when no official split is known.
    """
    dataset: Dataset = DATASETS[name]
    places = _places(dataset, Path(root))
    base = next((place for place in places if not _missing(dataset, place)), None)
    if base is None:
        photos = _without_background(dataset, _read_copy(dataset, Path(root), places))
    elif dataset.read is None:
        photos = _without_background(dataset, read_folder(base / dataset.marks[0]))
    else:
        photos = _read_listing(dataset, base, dataset.read(base))
    photos = dataclasses.replace(photos, notes=(_count(dataset, photos), *photos.notes))
    if not official_split:
        return dataclasses.replace(photos, splits=None)
    if dataset.splits is None:
        raise PhotoSourceError(f"the authors of {dataset.title} publish no split into train and test: do without it")
    if base is None:
        raise PhotoSourceError(
            f"{readable(str(root))} is a copy of {name} in class folders, which do not tell the authors' split: "
            f"unpack {dataset.where}"
        )
    return _split(photos, {str(base / photo): split for photo, split in dataset.splits(base).items()})


def _places(dataset: Dataset, root: Path) -> list[Path]:
    """Where the dataset's own top folder may be: here, above if this is a part of it, or one folder further in."""
    parts = {mark.partition("/")[0] for mark in dataset.marks}
    above = [root.parent] if root.name in parts else []
    try:
        folders = sorted(each for each in root.iterdir() if each.is_dir() and not each.name.startswith("."))
    except OSError as error:
        raise _not_there(dataset, root, f"the folder cannot be read ({error.strerror})") from None
    return [root, *above, *folders]


def _missing(dataset: Dataset, folder: Path) -> list[str]:
    return [mark for mark in dataset.marks if next(folder.glob(mark), None) is None]


def _read_copy(dataset: Dataset, root: Path, places: list[Path]) -> PhotoSet:
    """The photos of ``root`` when it holds a folder for each class, whoever sorted them so."""
    nearest = min((_missing(dataset, place) for place in places), key=len)
    found = [mark for mark in dataset.marks if mark not in nearest]
    what = f"looked for {', '.join(dataset.marks)} there and in its folders"
    if found:
        what += f", and found only {', '.join(found)}"
    try:
        photos = read_folder(root)
    except PhotoSourceError:
        raise _not_there(dataset, root, what) from None
    # Other layouts would pass for class folders too, a shelf of whole datasets among them.
    is_flat = all(Path(path).parent.name == label for path, label in zip(photos.paths, photos.labels, strict=True))
    if len(photos.classes) < 2 or not is_flat:
        raise _not_there(dataset, root, what)
    if (count := len(set(photos.classes) - {dataset.background})) > dataset.classes:
        raise _not_there(dataset, root, f"it holds {count} class folders, and {dataset.name} has {dataset.classes}")
    return photos


def _not_there(dataset: Dataset, root: Path, what: str) -> PhotoSourceError:
    return PhotoSourceError(
        f"{dataset.name} is not in {readable(str(root))}: {what}; unpack {dataset.where}, "
        f"or give a folder that holds one for each of its {dataset.classes} classes"
    )


def _without_background(dataset: Dataset, photos: PhotoSet) -> PhotoSet:
    """The photos of the classes, whose names are without the numbers that folders may have."""
    kept = photos.select([label != dataset.background for label in photos.labels])
    left_out = len(photos) - len(kept)
    notes = (f"left out {left_out:,} photos of {dataset.background}, which is no class",) if left_out else ()
    labels = tuple(class_name(label) for label in kept.labels)
    return dataclasses.replace(kept, labels=labels, notes=(*notes, *kept.notes))


def _read_listing(dataset: Dataset, base: Path, listing: Listing) -> PhotoSet:
    there = {photo: label for photo, label in listing.labels.items() if (base / photo).is_file()}
    if not there:
        raise PhotoSourceError(
            f"none of the {len(listing.labels):,} photos of {dataset.name} is in {readable(str(base))}: "
            f"unpack {dataset.where}"
        )
    notes = listing.notes
    if missing := [photo for photo in listing.labels if photo not in there]:
        notes = (f"{len(missing):,} photos are missing: {_names(missing)}", *notes)
    return PhotoSet(tuple(str(base / photo) for photo in there), tuple(there.values()), notes=notes)


def _split(photos: PhotoSet, splits: dict[str, str]) -> PhotoSet:
    kept = photos.select([path in splits for path in photos.paths])
    notes = photos.notes
    if outside := [Path(path).name for path in photos.paths if path not in splits]:
        notes = (*notes, f"left out {len(outside):,} photos that are in none of the authors' splits: {_names(outside)}")
    return dataclasses.replace(kept, splits=tuple(splits[path] for path in kept.paths), notes=notes)


def _names(photos: Sequence[str]) -> str:
    shown = ", ".join(readable(name) for name in photos[:_SHOWN])
    return shown + (f" and {len(photos) - _SHOWN:,} more" if len(photos) > _SHOWN else "")


def _count(dataset: Dataset, photos: PhotoSet) -> str:
    """How many photos there are, and how many there should be."""
    whole = dataset.images_without_it or dataset.images
    is_whole = (len(photos), len(photos.classes)) == (whole, dataset.classes)
    here = f"{len(photos):,} photos of {len(photos.classes)} classes are {'all' if is_whole else 'not all'}"
    there = f"the paper's Table 1 counts {dataset.images:,} of {dataset.classes}"
    background = f", with {dataset.background}, which is no class" if dataset.background else ""
    return f"{here} of {dataset.name}: {there}{background}"
