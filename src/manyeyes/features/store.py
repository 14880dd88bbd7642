"""The feature store: one folder a space, Parquet shards in it, found by the photo's content.

Invariants. A shard is written under a hidden name, flushed to disk and renamed: what has a shard's name is whole.
Shards are never changed, so two processes may share a store; the same photo in two shards holds the same row. A shard
that cannot be read back is set aside and its photos count as missing: nothing wrong is ever returned.
"""

import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from manyeyes.errors import StoreError
from manyeyes.features.space import Space
from manyeyes.home import cache_home

Columns = Mapping[str, npt.NDArray[Any]]
PHOTO = "photo"
RECORD = "space.json"
# A hidden file this old belongs to a process that was killed, not to one that is writing.
ABANDONED_AFTER_SECONDS = 3600.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SpaceInfo:
    """What the store holds of one space."""

    name: str
    folder: Path
    photos: int
    bytes: int


class FeatureStore:
    """Rows of named arrays, by space and photo (hex sha256 of the file's bytes)."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = cache_home() / "features" if root is None else root

    def write(self, space: Space, photos: Sequence[str], columns: Columns) -> None:
        """Add one shard: row i of every column, (n, …), belongs to ``photos[i]``. Raises StoreError (disk full …)."""
        folder = self.root / space.folder
        hidden = folder / f".writing-{uuid.uuid4().hex}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write_once(folder / RECORD, json.dumps({"name": space.name, **space.content}, indent=1))
            with hidden.open("wb") as file:
                pq.write_table(_to_arrow(photos, columns), file, compression="none", write_page_checksum=True)
                file.flush()
                os.fsync(file.fileno())
            hidden.rename(folder / f"shard-{uuid.uuid4().hex}.parquet")
        except OSError as error:
            hidden.unlink(missing_ok=True)
            raise StoreError(
                f"features cannot be written to {folder}: {error.strerror or error}; all finished work is kept: "
                "make room (`manyeyes features prune`), or set MANYEYES_HOME to another disk, and run again"
            ) from None

    def missing(self, space: Space, photos: Sequence[str]) -> list[str]:
        """Those of ``photos`` that the space does not hold, each once, in order."""
        held = self._held(space)
        return [photo for photo in dict.fromkeys(photos) if photo not in held]

    def read(self, space: Space, photos: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
        """The columns of ``photos``, row i for ``photos[i]``. Raises StoreError when a photo is not there."""
        rows: dict[str, list[int]] = {}
        for row, photo in enumerate(photos):
            rows.setdefault(photo, []).append(row)
        result: dict[str, npt.NDArray[Any]] = {}
        for _, table in self._shards(space):
            wanted = [(i, photo) for i, photo in enumerate(_photos(table)) if photo in rows]
            if not wanted:
                continue
            source = np.array([i for i, photo in wanted for _ in rows[photo]])
            target = np.array([row for _, photo in wanted for row in rows[photo]])
            for name, values in _from_arrow(table).items():
                if name not in result:
                    result[name] = np.empty((len(photos), *values.shape[1:]), values.dtype)
                result[name][target] = values[source]
            for _, photo in wanted:
                rows.pop(photo, None)
            if not rows:
                return result
        raise StoreError(f"{space.name}: {len(rows)} of the photos are not in the feature store at {self.root}")

    def info(self) -> list[SpaceInfo]:
        """Every space, by name."""
        found = []
        for record in sorted(self.root.glob(f"*/{RECORD}")):
            folder = record.parent
            photos = {photo for _, table in _readable(folder, [PHOTO]) for photo in _photos(table)}
            size = sum(path.stat().st_size for path in folder.iterdir())
            found.append(SpaceInfo(json.loads(record.read_text(encoding="utf-8"))["name"], folder, len(photos), size))
        return found

    def prune(self, is_unwanted: Callable[[SpaceInfo], bool] = lambda space: False) -> int:
        """Remove what killed runs left, damaged shards, and every unwanted space. Returns the bytes freed."""
        freed = 0
        for space in self.info():
            if is_unwanted(space):
                freed += space.bytes
                shutil.rmtree(space.folder)
                continue
            for path in list(_left_behind(space.folder)):
                freed += path.stat().st_size
                path.unlink()
        return freed

    def _held(self, space: Space) -> set[str]:
        return {photo for _, table in self._shards(space, [PHOTO]) for photo in _photos(table)}

    def _shards(self, space: Space, columns: list[str] | None = None) -> Iterator[tuple[Path, pa.Table]]:
        return _readable(self.root / space.folder, columns)


def _readable(folder: Path, columns: list[str] | None) -> Iterator[tuple[Path, pa.Table]]:
    """Each shard that can be read back whole; the others are set aside."""
    for path in sorted(folder.glob("shard-*.parquet")):
        try:
            yield path, pq.read_table(path, columns=columns, page_checksum_verification=True)
        except FileNotFoundError:
            continue  # pruned by another process between the listing and the reading
        except PermissionError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}") from None
        except (OSError, pa.ArrowException) as error:
            log.warning("set aside a damaged shard, its photos will be looked at again: %s (%s)", path, error)
            path.rename(path.with_suffix(".damaged"))


def _left_behind(folder: Path) -> Iterator[Path]:
    yield from folder.glob("*.damaged")
    for path in folder.glob(".writing-*"):
        if time.time() - path.stat().st_mtime > ABANDONED_AFTER_SECONDS:
            yield path


def _write_once(path: Path, text: str) -> None:
    if not path.exists():
        hidden = path.with_name(f".writing-{uuid.uuid4().hex}")
        hidden.write_text(text, encoding="utf-8")
        hidden.rename(path)


def _to_arrow(photos: Sequence[str], columns: Columns) -> pa.Table:
    arrays: dict[str, pa.Array] = {PHOTO: pa.array([bytes.fromhex(photo) for photo in photos], pa.binary(32))}
    for name, values in columns.items():
        array: pa.Array = pa.array(np.ascontiguousarray(values).reshape(-1))
        for width in reversed(values.shape[1:]):
            array = pa.FixedSizeListArray.from_arrays(array, width)
        arrays[name] = array
    return pa.table(arrays)


def _from_arrow(table: pa.Table) -> dict[str, npt.NDArray[Any]]:
    columns = {}
    for name in table.column_names:
        if name != PHOTO:
            array, shape = table[name].combine_chunks(), [table.num_rows]
            while pa.types.is_fixed_size_list(array.type):
                shape.append(array.type.list_size)
                array = array.flatten()
            columns[name] = array.to_numpy(zero_copy_only=False).reshape(shape)
    return columns


def _photos(table: pa.Table) -> list[str]:
    return [photo.hex() for photo in table[PHOTO].to_pylist()]
