"""The feature store: one folder a space, Parquet shards in it, found by the photo's content.

Invariants. What has a shard's name is whole (see :mod:`manyeyes.features.shelf`). That name is the sha256 of the space
and of the shard's bytes, so whatever was damaged, is foreign, or was brought from another space does not bear its own
name: it is set aside and its photos count as missing, nothing wrong is ever returned. Shards are never changed, so
many processes may share a store; the same photo in two shards holds the same row (to float accuracy: nets round
differently in batches of another size). Small shards are gathered into larger ones, which are written before the small
ones go.
"""

import json
import logging
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from manyeyes.errors import LackingError, StoreError
from manyeyes.features import shard
from manyeyes.features.shard import Columns, Keys
from manyeyes.features.shelf import DAMAGED, open_shelf
from manyeyes.features.space import Space
from manyeyes.home import cache_home

RECORD = "space.json"
# The folders of spaces: a name and a key. Nothing else in the store's root is ever counted or removed.
FOLDER = re.compile(r".*-[0-9a-f]{16}")
# Shards below the one size are gathered into shards of the other once there are many: each that is opened costs a
# fifth of a millisecond, or a wait for the network; but a single row is read with its whole shard.
SMALL, LARGE, MANY = 4 * 2**20, 8 * 2**20, 64

# What shards of so few bytes list is remembered, by their place, for whoever asks again in this process: shards never
# change. There are many where photos come one by one, and opening all of them takes longer than looking at one photo.
LITTLE, REMEMBERED = 2**18, 10_000
_remembered: dict[str, Keys] = {}

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class SpaceInfo:
    """What the store holds of one space."""

    name: str
    folder: str
    photos: int
    bytes: int


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
        self._write(space, shard.to_arrow(photos, columns))

    def _write(self, space: Space, table: pa.Table) -> None:
        record = json.dumps({"name": space.name, **space.content}, indent=1).encode()
        try:
            if space.folder not in self._recorded:
                if RECORD not in self._shelf.files(space.folder):
                    self._shelf.put(space.folder, RECORD, record)
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
        listed = self._listed(space.folder)
        if verify:
            listed = ((name, shard.keys_of(table)) for name, table in self._readable(space.folder, lacking.keys()))
        for _, keys in listed:
            for photo in shard.to_photos(keys):
                lacking.pop(photo, None)
        return list(lacking)

    def held(self, space: Space) -> Keys:
        """Every photo that the space's shards list, sorted; whether their rows are whole is not looked at."""
        return np.unique(np.concatenate([np.empty(0, "S32"), *(keys for _, keys in self._listed(space.folder))]))

    def read(self, space: Space, photos: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
        """The columns of ``photos``, row i for ``photos[i]``. Raises LackingError when a photo is not there."""
        rows: dict[str, list[int]] = {}
        for row, photo in enumerate(photos):
            rows.setdefault(photo, []).append(row)
        result: dict[str, npt.NDArray[Any]] = {}
        for name, table in self._readable(space.folder, rows.keys()):
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
        small = [name for name, size in self._shards(folder).items() if size < SMALL]
        if len(small) < max(many, 2):
            return
        heap: list[tuple[str, pa.Table]] = []
        height = 0
        try:
            for name, table in self._whole(folder, small):
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

    def info(self) -> list[SpaceInfo]:
        """Every space, by name."""
        found = []
        for folder in filter(FOLDER.fullmatch, self._shelf.folders()):
            photos = {photo for _, keys in self._listed(folder) for photo in keys.tolist()}
            found.append(SpaceInfo(folder.rpartition("-")[0], folder, len(photos), self.size(folder)))
        return found

    def size(self, folder: str) -> int:
        """The bytes of a space's files."""
        return sum(self._shelf.files(folder).values())

    def prune(self, is_unwanted: Callable[[SpaceInfo], bool] = lambda space: False) -> int:
        """Remove what killed runs left, shards set aside, and every unwanted space. Returns the bytes freed.

        Small shards of the others are gathered.
        """
        freed = 0
        for space in self.info():
            try:
                if is_unwanted(space):
                    self._shelf.remove_folder(space.folder)
                    freed += space.bytes
                    continue
                sizes = self._shelf.files(space.folder)
                damaged = [name for name in sizes if name.endswith(DAMAGED)]
                for name in [*damaged, *self._shelf.left_behind(space.folder)]:
                    self._shelf.remove(space.folder, name)
                    freed += sizes.get(name, 0)
                self.gather(space.folder, 2)
            except OSError as error:
                where = error.filename or self._shelf.where(space.folder)
                raise StoreError(f"{where} cannot be removed: {error.strerror or error}") from None
        return freed

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

    def _shards(self, folder: str) -> dict[str, int]:
        try:
            files = self._shelf.files(folder)
        except OSError as error:
            raise StoreError(f"{self._shelf.where(folder)} cannot be read: {error.strerror or error}") from None
        return {name: size for name, size in sorted(files.items()) if shard.is_shard(name)}

    def _readable(self, folder: str, wanted: Set[str]) -> Iterator[tuple[str, pa.Table]]:
        """Each shard that is whole and holds a wanted photo."""
        holding = [name for name, keys in self._listed(folder) if not wanted.isdisjoint(shard.to_photos(keys))]
        return self._whole(folder, holding)

    def _listed(self, folder: str) -> Iterator[tuple[str, Keys]]:
        """Each shard and the photos that it lists; whether its rows are whole is not looked at."""
        sizes = self._shards(folder)
        return self._look_into(folder, sizes, lambda _, name: self._keys(folder, name, sizes[name] <= LITTLE))

    def _whole(self, folder: str, names: Iterable[str]) -> Iterator[tuple[str, pa.Table]]:
        """The rows of those of these shards that are whole."""
        return self._look_into(folder, names, self._rows)

    def _look_into(self, folder: str, names: Iterable[str], look: Callable[[str, str], T]) -> Iterator[tuple[str, T]]:
        """What ``look`` finds in each shard, but for those that are gone, or damaged and so set aside."""

        def careful(name: str) -> T | None:
            try:
                try:
                    return look(folder, name)
                except Exception as error:  # a reader may throw anything at damaged bytes; but it may lack rights
                    if shard.shard_name(folder, self._shelf.read(folder, name)) == name:
                        raise
                    where = self._shelf.where(folder, name)
                    log.warning("set aside a damaged shard, its photos will be looked at again: %s (%s)", where, error)
                    with suppress(OSError):  # another process was faster, or the store is read-only
                        self._shelf.set_aside(folder, name)
            except FileNotFoundError:
                pass  # pruned, gathered, or set aside, by another process between the listing and the reading
            except OSError as error:
                where = self._shelf.where(folder, name)
                raise StoreError(f"{where} cannot be read: {error.strerror or error}") from None
            return None

        for name, found in _side_by_side(careful, names, self._shelf.lanes):
            if found is not None:
                yield name, found

    def _keys(self, folder: str, name: str, is_little: bool) -> Keys:
        if not is_little:
            return shard.read_keys(self._shelf.open(folder, name))
        where = self._shelf.where(folder, name)
        if (known := _remembered.get(where)) is not None:
            return known
        if len(_remembered) >= REMEMBERED:
            _remembered.clear()
        # From rows that were found whole, so that what is remembered stays true; without the rest of the file.
        keys = shard.keys_of(self._rows(folder, name)).copy()
        _remembered[where] = keys
        return keys

    def _rows(self, folder: str, name: str) -> pa.Table:
        data = self._shelf.read(folder, name)
        if shard.shard_name(folder, data) != name:
            raise ValueError("its bytes are not those that were written")
        return shard.read_rows(data)


def _layout(columns: Columns) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {name: (values.dtype.str, values.shape[1:]) for name, values in columns.items()}


def _side_by_side(work: Callable[[str], T], names: Iterable[str], lanes: int) -> Iterator[tuple[str, T]]:
    """Each name and what ``work`` makes of it, in order; no more than ``lanes`` results wait to be taken."""
    if lanes == 1:
        yield from ((name, work(name)) for name in names)
        return
    running: deque[tuple[str, Future[T]]] = deque()
    with ThreadPoolExecutor(lanes) as pool:
        for name in names:
            running.append((name, pool.submit(work, name)))
            if len(running) == lanes:
                first, future = running.popleft()
                yield first, future.result()
        yield from ((name, future.result()) for name, future in running)
