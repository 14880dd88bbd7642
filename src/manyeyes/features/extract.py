"""Files → feature table. What the store holds is taken from there; only what is missing is looked at."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from manyeyes.backbones.backbone import Backbone
from manyeyes.features.pipeline import Lack, Spaces, fill
from manyeyes.features.space import THUMBNAIL_SIDE, THUMBNAILS, embedding_space
from manyeyes.features.store import FeatureStore
from manyeyes.features.table import FeatureTable, SourceLabels, block_name
from manyeyes.images import Rejected, read_bytes
from manyeyes.progress import counting
from manyeyes.threads import open_pool


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
        """The groups of the rows that must not be parted by a fold: those given, else copies of the same file.

        None when no groups are given and no file occurs twice.
        """
        if groups is not None:
            return np.asarray(groups)
        return np.array(self.photos) if len(set(self.photos)) < len(self.photos) else None


def extract(paths: Sequence[str], backbones: Sequence[Backbone], store: FeatureStore | None = None) -> Extraction:
    """Embed the photos at ``paths`` by every backbone, at all its taps.

    A file that cannot be read is listed in ``rejected`` and has no row; it never stops the run. When no photo can be
    read, the blocks have no rows. Raises StoreError when the store cannot be written or read.
    """
    store = store or FeatureStore()
    spaces = {
        (backbone.card.name, tap): embedding_space(backbone, tap) for backbone in backbones for tap in backbone.taps
    }
    with open_pool() as pool:
        found = _hash_all(pool, paths)
        lack = _plan(store, spaces, {sha: path for path, sha in zip(paths, found, strict=True) if isinstance(sha, str)})
        refused = fill(store, spaces, backbones, lack, pool)

    # The same broken bytes may lie under several names: each is listed under its own.
    outcomes = [refused.get(outcome, outcome) if isinstance(outcome, str) else outcome for outcome in found]
    rejected = tuple(
        Rejected(path, outcome.reason, outcome.detail)
        for path, outcome in zip(paths, outcomes, strict=True)
        if isinstance(outcome, Rejected)
    )
    photos = [outcome for outcome in outcomes if isinstance(outcome, str)]
    is_good = np.array([isinstance(outcome, str) for outcome in outcomes], dtype=bool)
    table = _read(store, spaces, photos) if photos else _empty(backbones)
    return Extraction(table, tuple(photos), is_good, rejected, len(lack.paths) - len(refused))


def _hash_all(pool: ThreadPoolExecutor, paths: Sequence[str]) -> list[str | Rejected]:
    outcomes = []
    with counting("reading", len(paths), "photos") as advance:
        for outcome in pool.map(_hash, paths):
            outcomes.append(outcome)
            advance(1)
    return outcomes


def _hash(path: str) -> str | Rejected:
    data = read_bytes(path)
    return data if isinstance(data, Rejected) else hashlib.sha256(data).hexdigest()


def _plan(store: FeatureStore, spaces: Spaces, paths: dict[str, str]) -> Lack:
    photos = list(paths)
    by_tap = {key: set(store.missing(space, photos)) for key, space in spaces.items()}
    thumbnails = set(store.missing(THUMBNAILS, photos))
    wanted = thumbnails.union(*by_tap.values())
    return Lack({photo: path for photo, path in paths.items() if photo in wanted}, by_tap, thumbnails)


def _read(store: FeatureStore, spaces: Spaces, photos: list[str]) -> FeatureTable:
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
