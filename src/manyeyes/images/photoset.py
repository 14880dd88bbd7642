"""Labelled photos: paths and what is known of each, before any file is opened."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyeyes.errors import PhotoSourceError
from manyeyes.images.photo import readable

Selection = Sequence[int] | Sequence[bool] | NDArray[np.bool_] | NDArray[np.integer]

_SPELLINGS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev", "eval"),
    "test": ("test", "testing"),
}
_SPLITS = {spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings}


def split_name(name: str) -> str:
    """``train``, ``val`` or ``test`` for the usual spellings of these in any case; any other name as it is."""
    return _SPLITS.get(name.lower(), name)


def is_split_name(name: str) -> bool:
    return name.lower() in _SPLITS


@dataclass(frozen=True)
class PhotoSet:
    """Photos with labels, one entry per photo in every field that is not None.

    ``splits`` names the part (train, val, test …) that a photo belongs to, ``groups`` what must not be torn apart
    between parts (one patient, one burst of shots). ``notes`` are sentences on what the source held and was left out.
    ``cameras`` names what took each photo.
    """

    paths: tuple[str, ...]
    labels: tuple[str, ...]
    splits: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    cameras: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for field in (self.labels, self.splits, self.groups, self.cameras):
            if field is not None and len(field) != len(self.paths):
                raise ValueError(f"{len(self.paths)} paths, but a field of {len(field)} entries")

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, sorted by code point."""
        return tuple(sorted(set(self.labels)))

    @property
    def counts(self) -> dict[str, int]:
        """Photos per class, in the order of ``classes``."""
        counts = Counter(self.labels)
        return {name: counts[name] for name in self.classes}

    def select(self, which: Selection) -> "PhotoSet":
        """The photos at these indices, in their order, or those where a mask of ``len(self)`` is true."""
        indices = np.asarray(which) if len(which) else np.empty(0, np.intp)
        if indices.dtype == np.bool_:
            if indices.shape != (len(self),):
                raise IndexError(f"a mask of shape {indices.shape} for {len(self)} photos")
            indices = np.flatnonzero(indices)

        def pick(field: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(field[index] for index in indices)

        return dataclasses.replace(
            self,
            paths=pick(self.paths),
            labels=pick(self.labels),
            splits=None if self.splits is None else pick(self.splits),
            groups=None if self.groups is None else pick(self.groups),
            cameras=None if self.cameras is None else pick(self.cameras),
        )

    def split(self, name: str) -> "PhotoSet":
        """The photos of one split. Raises PhotoSourceError when there is no such split."""
        if self.splits is None:
            raise PhotoSourceError(f"these photos have no splits, so none is called {name!r}")
        wanted = split_name(name)
        if wanted not in self.splits:
            raise PhotoSourceError(f"no split is called {name!r}: there are {', '.join(sorted(set(self.splits)))}")
        return self.select([index for index, split in enumerate(self.splits) if split == wanted])

    def check_groups(self) -> None:
        """Raise PhotoSourceError when one group lies in two splits; without groups or splits, none does."""
        if self.groups is None or self.splits is None:
            return
        first: dict[str, int] = {}
        for index, group in enumerate(self.groups):
            earlier = first.setdefault(group, index)
            here, there = self.splits[index], self.splits[earlier]
            if here != there:
                raise PhotoSourceError(
                    f"the group {group!r} lies in two splits, {there!r} ({readable(self.paths[earlier])}) "
                    f"and {here!r} ({readable(self.paths[index])}): put all of it into one"
                )

    def require_classes(self, least: int) -> None:
        """Raise PhotoSourceError when there are fewer than ``least`` classes."""
        classes = self.classes
        if len(classes) < least:
            found = f"only {', '.join(map(repr, classes))}" if classes else "none"
            raise PhotoSourceError(f"at least {least} classes are needed, and there is {found}: add photos of others")


def together(photos: Sequence[str], groups: Sequence[Any] | NDArray[Any] | None = None) -> NDArray[Any] | None:
    """The groups of photos that must not be parted: those given, else copies of the same file by ``photos``, sha256.

    None when no groups are given and no file occurs twice.
    """
    if groups is not None:
        return np.asarray(groups)
    return np.array(photos) if len(set(photos)) < len(photos) else None
