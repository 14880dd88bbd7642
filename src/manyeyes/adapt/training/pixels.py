"""Photos as training wants them: decoded once, in one array, cut and mirrored anew at each step."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from manyeyes.adapt.training.recipe import Cut
from manyeyes.backbones.card import Preprocessing
from manyeyes.backbones.preprocess import frame
from manyeyes.experts.folds import Rows
from manyeyes.images import Rejected, open_photo, thumbnail
from manyeyes.images.colour import Pixels
from manyeyes.progress import counting
from manyeyes.threads import open_pool

# Bytes of pixels that are held in memory; more are written to the temporary folder, and read from there.
ROOM = 4 * 2**30
# Of a part that is cut out and resized: its share of the photo, and its width by its height.
AREAS, RATIOS = (0.08, 1.0), (3 / 4, 4 / 3)
# Paths that are queued at once.
PART = 4096


@dataclass(frozen=True)
class Photos:
    """n photos, with a margin around what a network is to see of them.

    pixels : (n, S + margin, S + margin, 3) uint8. labels : (n,) numbers of ``classes``, or −1 where no class is known.
    size : S.
    """

    pixels: npt.NDArray[np.uint8]
    labels: Rows
    classes: tuple[str, ...]
    size: int

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, rows: Rows) -> "Photos":
        return Photos(self.pixels[rows], self.labels[rows], self.classes, self.size)

    def at(self, size: int) -> "Photos":
        """The same photos for a network that looks at ``size`` pixels, with as much of a margin."""
        side = int(size * self.pixels.shape[1] / self.size)
        pixels = _room((len(self), side, side, 3))
        for row, photo in enumerate(self.pixels):
            pixels[row] = _resized(photo, side)
        return Photos(pixels, self.labels, self.classes, size)

    def centres(self, rows: Rows) -> Tensor:
        """The middles of some photos: (B, S, S, 3)."""
        first = (self.pixels.shape[1] - self.size) // 2
        last = first + self.size
        return torch.from_numpy(np.ascontiguousarray(self.pixels[rows, first:last, first:last]))

    def cuttings(self, rows: Rows, random: np.random.Generator, flip: bool, cut: Cut = "shifted") -> Tensor:
        """Parts of some photos, half of them mirrored with ``flip``: (B, S, S, 3).

        Shifted: as large as what a network sees, from anywhere within the margin. Resized: of any size (see
        :func:`_boxes`), from anywhere.
        """
        side = self.pixels.shape[1]
        if cut == "shifted":
            corners = random.integers(0, side - self.size, (len(rows), 2), endpoint=True)
            boxes = np.hstack([corners, np.full((len(rows), 2), self.size)])
        else:
            boxes = _boxes(len(rows), side, random)
        mirrored = random.random(len(rows)) < 0.5 if flip else np.zeros(len(rows), bool)
        made = np.empty((len(rows), self.size, self.size, 3), np.uint8)
        for index, (row, (top, left, height, width)) in enumerate(zip(rows, boxes, strict=True)):
            part = _resized(self.pixels[row, top : top + height, left : left + width], self.size)
            made[index] = part[:, ::-1] if mirrored[index] else part
        return torch.from_numpy(made)


def _boxes(count: int, side: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """Top, left, height and width of parts of a square: (count, 4).

    Of 8% to all of its area, and three quarters to four thirds as wide as high, as networks are trained on ImageNet.
    """
    area = random.uniform(AREAS[0], AREAS[1], count) * side**2
    ratio = np.exp(random.uniform(np.log(RATIOS[0]), np.log(RATIOS[1]), count))
    sizes = np.sqrt(np.stack([area / ratio, area * ratio], axis=1)).round().astype(np.int64).clip(1, side)
    corners = random.integers(0, side - sizes, endpoint=True)
    return np.hstack([corners, sizes])


def _resized(part: Pixels, size: int) -> Pixels:
    if part.shape[:2] == (size, size):
        return part
    return np.asarray(Image.fromarray(part).resize((size, size), Image.Resampling.BILINEAR))


def _room(shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """In memory, or, for more than a few GB, in the temporary folder."""
    if np.prod(shape, dtype=np.int64) <= ROOM:
        return np.empty(shape, np.uint8)
    with tempfile.TemporaryFile() as file:  # it has no name; its space is free once the array is gone
        return np.memmap(file, np.uint8, "w+", shape=shape)


@dataclass(frozen=True)
class Opened:
    """photos : those that could be read. sha256 : of each one's file. is_good : for each path, whether it is among
    them. rejected : the others. thumbnails : of each photo, (n, 64, 64, 3) uint8, where they were asked for."""

    photos: Photos
    sha256: tuple[str, ...]
    is_good: npt.NDArray[np.bool_]
    rejected: tuple[Rejected, ...]
    thumbnails: npt.NDArray[np.uint8] | None = None


def open_photos(
    paths: Sequence[str], labels: Sequence[str | None], preprocessing: Preprocessing, thumbnails: bool = False
) -> Opened:
    """Decode the photos at ``paths``, and keep of each the square that the backbone's framing is cut from.

    A photo may have no label. The margin is what the card's ``crop`` leaves away. A file that cannot be read is listed
    and left out. Memory is bounded: what is more than a few GB lies in the temporary folder.
    """
    classes = tuple(sorted({label for label in labels if label is not None}))
    numbers = {name: number for number, name in enumerate(classes)}
    side = int(preprocessing.size / preprocessing.crop)
    pixels = _room((len(paths), side, side, 3))
    is_good = np.zeros(len(paths), bool)
    rejected: list[Rejected] = []
    hashes: list[str] = []
    small: list[Pixels] = []

    def look(path: str) -> tuple[str, Pixels, Pixels | None] | Rejected:
        photo = open_photo(path)
        if isinstance(photo, Rejected):
            return photo
        framed = frame(photo.image, side, 1.0, preprocessing.interpolation)
        return photo.sha256, framed, thumbnail(photo.image) if thumbnails else None

    with open_pool() as pool, counting("opening", len(paths), "photos") as advance:
        for start in range(0, len(paths), PART):
            for index, seen in enumerate(pool.map(look, paths[start : start + PART]), start):
                if isinstance(seen, Rejected):
                    rejected.append(seen)
                else:
                    sha256, framed, thumb = seen
                    # One after the other, without gaps for those that could not be read.
                    pixels[len(hashes)] = framed
                    hashes.append(sha256)
                    if thumb is not None:
                        small.append(thumb)
                    is_good[index] = True
                advance(1)
    good = [-1 if label is None else numbers[label] for label, is_one in zip(labels, is_good, strict=True) if is_one]
    opened = Photos(pixels[: len(good)], np.array(good, np.int64), classes, preprocessing.size)
    return Opened(opened, tuple(hashes), is_good, tuple(rejected), np.stack(small) if small else None)
