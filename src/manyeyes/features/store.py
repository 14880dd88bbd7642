"""The feature store: one folder a space, Parquet shards in it, found by the photo's content.

Invariants. What has a shard's name is whole (see :mod:`manyeyes.features.shelf`). That name is the sha256 of the space
and of the shard's bytes, so whatever was damaged, is foreign, or was brought from another space does not bear its own
name: it is set aside and its photos count as missing, nothing wrong is ever returned. Shards are never changed, so
many processes may share a store; the same photo in two shards holds the same row (to float accuracy: nets round
differently in batches of another size). Small shards are gathered into larger ones, which are written before the small
ones go; whoever finds too little lists the shards again.
"""

import logging
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from manyeyes.errors import LackingError, StoreError
from manyeyes.features import shard
from manyeyes.features.reader import ShardReader, side_by_side, told
from manyeyes.features.shard import Columns, Keys
from manyeyes.features.shelf import DAMAGED, WRITING, open_shelf
from manyeyes.features.space import Space, space_of
from manyeyes.home import cache_home

RECORD = "space.json"
# What folders of spaces are called: a name and a key. Whether one is a space is told by the record in it; nothing else
# in the store's root is ever counted or removed.
FOLDER = re.compile(r".*-[0-9a-f]{16}")
# Shards below the one size are gathered into shards of the other once there are many: each that is opened costs a
# fifth of a millisecond, or a wait for the network; but a single row is read with its whole shard.
SMALL, LARGE, MANY = 4 * 2**20, 8 * 2**20, 64

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SpaceInfo:
    """What the store holds of one space."""

    name: str
    folder: str
    photos: int
    bytes: int


class Store(Protocol):
    """What those who look at photos ask of a place for features; see :class:`FeatureStore`."""

    def write(self, space: Space, photos: Sequence[str], columns: Columns) -> None: ...

    def missing(self, space: Space, photos: Sequence[str], verify: bool = True) -> list[str]: ...

    def read(self, space: Space, photos: Sequence[str]) -> dict[str, npt.NDArray[Any]]: ...

    def gather(self, folder: str) -> None: ...


class FeatureStore:
    """Rows of named arrays, by space and photo (hex sha256 of the file's bytes).

    ``root`` is a folder of this machine or a URL such as ``s3://bucket/features``; the user's cache when None. Every
    method raises StoreError when the system does not let it read or write.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        self.root = cache_home() / "features" if root is None else root
        self._shelf = open_shelf(self.root)
        self._recorded: set[str] = set()

    def write(self, space: Space, photos: Sequence[str], columns: Columns) -> None:
        """Add one shard: row i of every column, (n, …), belongs to ``photos[i]``. Raises StoreError (disk full …)."""
        table = shard.to_arrow(photos, columns)
        try:
            if space.folder not in self._recorded:
                if self._record(space.folder) != space.record:
                    self._shelf.put(space.folder, RECORD, space.record)
                self._recorded.add(space.folder)
            self._put(space.folder, table)
        except OSError as error:
            raise StoreError(
                f"features cannot be written to {self._shelf.where(space.folder)}: {error.strerror or error}; all "
                "finished work is kept: make room (`manyeyes features prune`), or set MANYEYES_HOME to another disk, "
                "and run again"
            ) from None

    def missing(self, space: Space, photos: Sequence[str], verify: bool = True) -> list[str]:
        """Those of ``photos`` that the space does not hold, each once, in order.

        Unless ``verify``, what a shard lists is believed: whether its rows are whole shows when they are read.
        """
        lacking = dict.fromkeys(photos)
        shards = self._shards(space.folder)
        listed = shards.listed(lacking.keys())
        if verify:
            listed = (shard.keys_of(table) for _, table in shards.readable(lacking.keys()))
        for keys in listed:
            for photo in shard.to_photos(keys):
                lacking.pop(photo, None)
        return list(lacking)

    def held(self, space: Space) -> Keys:
        """Every photo that the space's shards list, sorted; whether their rows are whole is not looked at."""
        return np.unique(np.concatenate([np.empty(0, "S32"), *self._shards(space.folder).listed()]))

    def read(self, space: Space, photos: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
        """The columns of ``photos``, row i for ``photos[i]``. Raises LackingError when a photo is not there."""
        rows: dict[str, list[int]] = {}
        for row, photo in enumerate(photos):
            rows.setdefault(photo, []).append(row)
        result: dict[str, npt.NDArray[Any]] = {}
        for name, table in self._shards(space.folder).readable(rows.keys()):
            wanted = [(i, photo) for i, photo in enumerate(shard.to_photos(shard.keys_of(table))) if photo in rows]
            source = np.array([i for i, photo in wanted for _ in rows[photo]], np.intp)
            target = np.array([row for _, photo in wanted for row in rows[photo]], np.intp)
            columns = shard.from_arrow(table)
            if not result:
                result = {name: np.empty((len(photos), *v.shape[1:]), v.dtype) for name, v in columns.items()}
            if _layout(columns) != _layout(result):
                raise StoreError(
                    f"{self._shelf.where(space.folder, name)} holds other columns than the shards beside it: "
                    f"remove {self._shelf.where(space.folder)}"
                )
            for column, values in columns.items():
                result[column][target] = values[source]
            for _, photo in wanted:
                rows.pop(photo, None)
        if rows:
            raise LackingError(f"{space.name}: {len(rows)} of the photos are not in the feature store at {self.root}")
        return result

    def gather(self, folder: str, many: int = MANY) -> None:
        """When a space has ``many`` small shards, put their rows together in larger ones, as far as there is room."""
        shards = self._shards(folder)
        small = [name for name, size in shards.sizes().items() if size < SMALL]
        if len(small) < max(many, 2):
            return
        heap: list[tuple[str, pa.Table]] = []
        height = 0
        try:
            for name, table in shards.whole(small):
                if heap and table.schema != heap[0][1].schema:
                    continue  # `read` will say so
                heap.append((name, table))
                height += table.nbytes
                if height >= LARGE:
                    self._merge(folder, heap)
                    heap, height = [], 0
            if len(heap) > 1:
                self._merge(folder, heap)
        except OSError as error:
            log.info("small shards stay as they are: %s (%s)", self._shelf.where(folder), error)

    def spaces(self) -> list[Space]:
        """Every space, by name."""
        with told(self._shelf.where(), "read"):
            folders = list(filter(FOLDER.fullmatch, self._shelf.folders()))
        found = []
        for folder in folders:
            with told(self._shelf.where(folder), "read"):
                found.append(space_of(folder, self._record(folder)))
        return [space for space in found if space is not None]

    def info(self) -> list[SpaceInfo]:
        """What is held of every space, by name."""
        return [
            SpaceInfo(space.name, space.folder, len(self.held(space)), self.size(space.folder))
            for space in self.spaces()
        ]

    def size(self, folder: str) -> int:
        """The bytes of a space's files."""
        return sum(self._files(folder).values())

    def prune(self, is_unwanted: Callable[[Space], bool] = lambda space: False) -> int:
        """Remove what killed runs left, shards set aside, and every unwanted space. Returns the bytes freed.

        Small shards of the others are gathered. Files that are not the store's own stay, and so does their folder.
        """
        freed = 0
        for space in self.spaces():
            folder, sizes = space.folder, self._files(space.folder)
            with told(self._shelf.where(folder), "removed"):
                if is_unwanted(space):
                    freed += self._remove(folder, filter(_is_own, sizes), sizes)
                    freed += self._remove(folder, [RECORD], sizes)  # last: without it, what is left would be no space
                    self._shelf.remove_folder(folder)
                    self._recorded.discard(folder)
                    continue
                freed += self._remove(folder, [*filter(_is_damaged, sizes), *self._shelf.left_behind(folder)], sizes)
            self.gather(folder, 2)
        return freed

    def _shards(self, folder: str) -> ShardReader:
        return ShardReader(self._shelf, folder)

    def _files(self, folder: str) -> dict[str, int]:
        with told(self._shelf.where(folder), "read"):
            return self._shelf.files(folder)

    def _remove(self, folder: str, names: Iterable[str], sizes: dict[str, int]) -> int:
        removed = side_by_side(partial(self._shelf.remove, folder), names, self._shelf.lanes)
        return sum(sizes.get(name, 0) for name, _ in removed)

    def _record(self, folder: str) -> bytes:
        try:
            return self._shelf.read(folder, RECORD)
        except FileNotFoundError:
            return b""

    def _put(self, folder: str, table: pa.Table) -> str:
        data = shard.to_bytes(table)
        name = shard.shard_name(folder, data)
        self._shelf.put(folder, name, data)
        return name

    def _merge(self, folder: str, heap: list[tuple[str, pa.Table]]) -> None:
        merged = self._put(folder, pa.concat_tables([table for _, table in heap]).combine_chunks())
        for name, _ in heap:
            if name != merged:
                self._shelf.remove(folder, name)


def _is_own(name: str) -> bool:
    return shard.is_shard(name) or _is_damaged(name) or name.startswith(WRITING)


def _is_damaged(name: str) -> bool:
    return name.startswith("shard-") and name.endswith(DAMAGED)


def _layout(columns: Columns) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {name: (values.dtype.str, values.shape[1:]) for name, values in columns.items()}
