"""A file that names domains, and what it stands for: photos to train on and photos to judge by, for each.

size = 64

[flowers]                    # a folder of class folders, or a manifest, beside this file or anywhere
photos = "flowers"
train = 0.5                  # this share of each class; not needed where the photos have splits
most_per_class = 40          # to train on
most_judged = 60             # of each class

[signs]
photos = "signs"
train = 0.5
group = '^(\\d+)_'            # files of one class whose names begin alike are frames of one film
flip = false                 # a mirrored sign is another sign

[decathlon]
visual_decathlon = "decathlon-1.0"   # the published layout: all ten of its domains, judged on their val photos
"""

import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from manyeyes.errors import PhotoSourceError
from manyeyes.images import PhotoSet, read_photos
from manyeyes.study.decathlon.score import VISUAL_DECATHLON

SIZE = 64
# Of the published domains: those that are looked at whole, at 72 pixels, and not mirrored.
_WHOLE = ("gtsrb", "omniglot", "svhn")
_KEYS = {
    "photos": str,
    "train": float,
    "most_per_class": int,
    "most_judged": int,
    "group": str,
    "flip": bool,
    "size": int,
}


@dataclass(frozen=True)
class DomainPhotos:
    """A domain's photos.

    train : the share of each class that is trained on, where they have no splits. most_per_class, most_judged : at most
    so many photos of a class are trained on, and judged; 0 for all. size : of what is seen of a photo, in pixels.
    flip : whether they may be mirrored.
    """

    name: str
    photos: PhotoSet
    train: float = 0.5
    most_per_class: int = 0
    most_judged: int = 0
    flip: bool = True
    size: int = SIZE

    def split(self, seed: int, most_per_class: int | None = None) -> tuple[PhotoSet, PhotoSet]:
        """Photos to train on and photos to judge by. Where they have no splits, another seed draws others.

        Photos of one group are on one side. Raises PhotoSourceError when a side has none at all.
        """
        random = np.random.default_rng(seed)
        learnt, judged = [], []
        for name in self.photos.classes:
            rows = [row for row, label in enumerate(self.photos.labels) if label == name]
            first, second = self._parted(rows, random)
            learnt += first[: most_per_class or self.most_per_class or None]
            judged += second[: self.most_judged or None]
        if not learnt or not judged:
            raise PhotoSourceError(f"{self.name}: no photos are left to {'judge by' if learnt else 'train on'}")
        return self.photos.select(learnt), self.photos.select(judged)

    def _parted(self, rows: list[int], random: np.random.Generator) -> tuple[list[int], list[int]]:
        splits, groups = self.photos.splits, self.photos.groups
        rows = random.permutation(rows).tolist()
        if splits is not None:
            return [row for row in rows if splits[row] == "train"], [row for row in rows if splits[row] != "train"]
        names = list(dict.fromkeys(groups[row] if groups else str(row) for row in rows))
        first = set(names[: max(1, round(self.train * len(names)))])
        is_first = [(groups[row] if groups else str(row)) in first for row in rows]
        return (
            [row for row, is_one in zip(rows, is_first, strict=True) if is_one],
            [row for row, is_one in zip(rows, is_first, strict=True) if not is_one],
        )


def read_domains(path: Path) -> list[DomainPhotos]:
    """The domains that a TOML file names. Raises PhotoSourceError for one that is wrong in any way."""
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PhotoSourceError(f"{path} cannot be read as TOML: {getattr(error, 'strerror', None) or error}") from None
    size = fields.pop("size", SIZE)
    if not _is_right("size", size):
        raise PhotoSourceError(f"{path}: size is a number of pixels, not size = {size!r}")
    domains: list[DomainPhotos] = []
    for name, table in fields.items():
        if not isinstance(table, dict):
            raise PhotoSourceError(f"{path}: {name!r} is no table [{name}] with photos = …")
        if "visual_decathlon" in table:
            if not isinstance(table["visual_decathlon"], str):
                raise PhotoSourceError(
                    f"{path}: [{name}] visual_decathlon = {table['visual_decathlon']!r} is no folder"
                )
            domains += read_visual_decathlon(path.parent / Path(table["visual_decathlon"]).expanduser())
        else:
            domains.append(_domain(path, name, table, size))
    if not domains:
        raise PhotoSourceError(f'{path} names no domains: write tables such as [flowers] with photos = "flowers"')
    for name, count in Counter(domain.name for domain in domains).items():
        if count > 1:
            raise PhotoSourceError(f"{path}: two domains are called {name!r}: rename a table")
    return domains


def read_visual_decathlon(folder: Path) -> list[DomainPhotos]:
    """The domains of the published archive that lie in ``folder``: ``aircraft/train/0001/…``, ``aircraft/val/0001/…``.

    Its test photos have no labels, so that all judge by ``val``.
    """
    found = [name for name in VISUAL_DECATHLON if (folder / name / "train").is_dir()]
    if not found:
        raise PhotoSourceError(f"{folder} holds none of the decathlon's folders ({', '.join(VISUAL_DECATHLON)})")
    return [_published(folder, name) for name in found]


def _published(folder: Path, name: str) -> DomainPhotos:
    parts = [(part, read_photos(folder / name / part)) for part in ("train", "val")]
    photos = PhotoSet(
        paths=tuple(path for _, one in parts for path in one.paths),
        labels=tuple(label for _, one in parts for label in one.labels),
        splits=tuple(part for part, one in parts for _ in one.paths),
    )
    is_whole = name in _WHOLE
    return DomainPhotos(name, photos, flip=not is_whole, size=72 if is_whole else 64)


def _domain(path: Path, name: str, table: Mapping[str, Any], size: int) -> DomainPhotos:
    wrong = [key for key, value in table.items() if not _is_right(key, value)]
    if wrong or "photos" not in table:
        what = f"does not know {wrong[0]} = {table[wrong[0]]!r}" if wrong else "names no photos"
        raise PhotoSourceError(f"{path}: [{name}] {what}; a domain has {', '.join(_KEYS)}")
    options = {key: value for key, value in table.items() if key not in ("photos", "group")}
    if not 0 < options.get("train", 0.5) < 1:
        raise PhotoSourceError(f"{path}: [{name}] train is a share between 0 and 1, not {options['train']}")
    photos = read_photos(path.parent / Path(table["photos"]).expanduser())
    photos.require_classes(2)
    if "group" in table:
        photos = PhotoSet(photos.paths, photos.labels, photos.splits, _groups(path, name, photos, table["group"]))
    return DomainPhotos(name, photos, **({"size": size} | options))


def _groups(path: Path, name: str, photos: PhotoSet, pattern: str) -> tuple[str, ...]:
    try:
        found = [re.search(pattern, PurePath(photo).name) for photo in photos.paths]
    except re.error as error:
        raise PhotoSourceError(f"{path}: [{name}] group is no regular expression: {error}") from None
    missing: Sequence[str] = [photo for photo, one in zip(photos.paths, found, strict=True) if one is None]
    if missing:
        raise PhotoSourceError(f"{path}: [{name}] group = {pattern!r} does not match {missing[0]}")
    return tuple(f"{label}/{one.group()}" for label, one in zip(photos.labels, found, strict=True) if one)


def _is_right(key: str, value: Any) -> bool:
    if key not in _KEYS or (isinstance(value, bool) and _KEYS[key] is not bool):
        return False
    if _KEYS[key] is int:
        return isinstance(value, int) and value >= (1 if key == "size" else 0)
    return isinstance(value, (int, float) if _KEYS[key] is float else _KEYS[key])
