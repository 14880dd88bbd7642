"""Files → feature table. What the store holds is taken from there; only what is missing is looked at."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from manyeyes.backbones.backbone import Backbone
from manyeyes.errors import LackingError
from manyeyes.features.darkroom import Darkroom
from manyeyes.features.pipeline import Lack, Spaces, fill
from manyeyes.features.space import THUMBNAIL_SIDE, THUMBNAILS, Space, embedding_space
from manyeyes.features.store import FeatureStore, Store
from manyeyes.features.table import FeatureTable, SourceLabels, block_name
from manyeyes.images import Rejected, together
from manyeyes.progress import counting
from manyeyes.threads import open_pool

# Photos that are planned and queued at once.
PART = 65_536


@dataclass(frozen=True)
class Extraction:
    """The outcome of :func:`extract`, with a place for every path that was asked for.

    table : one row for each path that could be read, in the order of the paths.
    photos : sha256 (hex) of each row's file.
    is_good : for each path, whether it has a row: (number of paths,) bool.
    rejected : what could not be read, in the order of the paths.
    computed : how many distinct photos had to be looked at; the others came from the store.
    """

    table: FeatureTable
    photos: tuple[str, ...]
    is_good: npt.NDArray[np.bool_]
    rejected: tuple[Rejected, ...]
    computed: int

    def select(self, rows: npt.NDArray[np.int64]) -> "Extraction":
        """The same look, with only these rows of what could be read."""
        return replace(self, table=self.table[rows], photos=tuple(self.photos[row] for row in rows))

    def together(self, groups: Sequence[Any] | npt.NDArray[Any] | None = None) -> npt.NDArray[Any] | None:
        """The groups of the rows that must not be parted by a fold: see :func:`manyeyes.images.together`."""
        return together(self.photos, groups)


@dataclass(frozen=True)
class Filling:
    """The outcome of :func:`fill_store`, with a place for every path that was asked for.

    outcomes : for each path the sha256 (hex) of its file, or why it could not be read.
    computed : how many distinct photos had to be looked at; the store held the others already.
    """

    outcomes: tuple[str | Rejected, ...]
    computed: int

    @property
    def photos(self) -> tuple[str, ...]:
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, str))

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, Rejected))


def extract(
    paths: Sequence[str],
    backbones: Sequence[Backbone],
    store: Store | None = None,
    darkroom: Darkroom | None = None,
) -> Extraction:
    """Embed the photos at ``paths`` by every backbone, at all its taps.

    Looks in a row at the same photos may share a ``darkroom``.

    A file that cannot be read is listed in ``rejected`` and has no row; it never stops the run. When no photo can be
    read, the blocks have no rows. Raises StoreError when the store cannot be written or read.
    """
    store = store or FeatureStore()
    filling = fill_store(paths, backbones, store, darkroom=darkroom)
    photos = list(filling.photos)
    try:
        table = _read(store, spaces_of(backbones), photos) if photos else _empty(backbones)
    except LackingError:  # a damaged shard shows when it is read; this time all are verified before
        again = fill_store(paths, backbones, store, verify=True, darkroom=darkroom)
        filling = replace(again, computed=filling.computed + again.computed)
        photos = list(filling.photos)
        table = _read(store, spaces_of(backbones), photos) if photos else _empty(backbones)
    is_good = np.array([isinstance(outcome, str) for outcome in filling.outcomes], dtype=bool)
    return Extraction(table, tuple(photos), is_good, filling.rejected, filling.computed)


def fill_store(
    paths: Sequence[str],
    backbones: Sequence[Backbone],
    store: Store,
    verify: bool = False,
    darkroom: Darkroom | None = None,
) -> Filling:
    """See to it that the store holds what every backbone says, at all its taps, of the photos at ``paths``.

    Nothing is read back, so memory does not grow with the features. A file that cannot be read never stops the run.
    Unless ``verify``, the store is believed to hold what its shards list. Raises StoreError.
    """
    spaces, darkroom = spaces_of(backbones), darkroom or Darkroom()
    with open_pool() as pool:
        found = _hash_all(pool, paths, darkroom)
        known = {sha: path for path, sha in zip(paths, found, strict=True) if isinstance(sha, str)}
        lack = plan(spaces, known, lambda space, photos: store.missing(space, photos, verify))
        for backbone in backbones:
            backbone.expect(len(lack.of_backbone(backbone.card.name)))
        refused: dict[str, Rejected] = {}
        for part in _parts(lack):
            refused |= fill(store, spaces, backbones, part, pool, darkroom=darkroom)
    if lack.paths:
        for space in (*spaces.values(), THUMBNAILS):
            store.gather(space.folder)
    # The same broken bytes may lie under several names: each is listed under its own.
    outcomes = tuple(
        replace(refused[outcome], path=path) if outcome in refused else outcome
        for path, outcome in zip(paths, found, strict=True)
    )
    return Filling(outcomes, len(lack.paths) - len(refused))


def spaces_of(backbones: Sequence[Backbone]) -> dict[tuple[str, str], Space]:
    """The space of every tap of every backbone."""
    return {
        (backbone.card.name, tap): embedding_space(backbone, tap) for backbone in backbones for tap in backbone.taps
    }


def _hash_all(pool: ThreadPoolExecutor, paths: Sequence[str], darkroom: Darkroom) -> list[str | Rejected]:
    outcomes: list[str | Rejected] = []
    with counting("reading", len(paths), "photos") as advance:
        for start in range(0, len(paths), PART):  # the pool queues all that it is given
            for outcome in pool.map(darkroom.hash, paths[start : start + PART]):
                outcomes.append(outcome)
                advance(1)
    return outcomes


def plan(spaces: Spaces, paths: dict[str, str], missing: Callable[[Space, Sequence[str]], Iterable[str]]) -> Lack:
    """What is to be looked at: of photos (sha256 → path), those that are ``missing`` in one space or another."""
    photos = list(paths)
    distinct: list[set[str]] = []

    def lacking(space: Space) -> set[str]:
        """Mostly all spaces lack the same photos: one set for all of them, because there may be millions."""
        found = set(missing(space, photos))
        if found not in distinct:
            distinct.append(found)
        return distinct[distinct.index(found)]

    by_tap = {key: lacking(space) for key, space in spaces.items()}
    thumbnails = lacking(THUMBNAILS)
    wanted = set().union(*distinct)
    return Lack({photo: path for photo, path in paths.items() if photo in wanted}, by_tap, thumbnails)


def _parts(lack: Lack) -> Iterator[Lack]:
    """The same in parts, which bound the memory of whoever fills it."""
    todo = list(lack.paths.items())
    for start in range(0, len(todo), PART):
        part = dict(todo[start : start + PART])
        by_tap = {key: photos.intersection(part) for key, photos in lack.by_tap.items()}
        yield Lack(part, by_tap, lack.thumbnails.intersection(part))


def _read(store: Store, spaces: Spaces, photos: list[str]) -> FeatureTable:
    columns = {key: store.read(space, photos) for key, space in spaces.items()}
    source_labels = {
        backbone: SourceLabels(found["label_index"], found["label_probability"])
        for (backbone, _), found in columns.items()
        if "label_index" in found
    }
    blocks = {block_name(backbone, tap): found["h"] for (backbone, tap), found in columns.items()}
    return FeatureTable(blocks, store.read(THUMBNAILS, photos)["pixels"], source_labels)


def _empty(backbones: Sequence[Backbone]) -> FeatureTable:
    blocks = {
        block_name(backbone.card.name, tap): np.empty((0, backbone.dimension(tap)), np.float32)
        for backbone in backbones
        for tap in backbone.taps
    }
    return FeatureTable(blocks, np.empty((0, THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3), np.uint8))
