"""The feature store: one folder a space, Parquet shards in it, found by the photo's content.

Invariants. A shard is written under a hidden name, flushed to disk and renamed: what has a shard's name is whole.
That name is the sha256 of the space and of the shard's bytes, so whatever was damaged, is foreign, or was brought from
another space does not bear its own name: it is set aside and its photos count as missing, nothing wrong is ever
returned. Shards are never changed, so two processes may share a store; the same photo in two shards holds the same row
(to float accuracy: nets round differently in batches of another size).
"""

import hashlib
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

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
# The folders of spaces: a name and a key. Nothing else in the store's root is ever counted or removed.
FOLDERS = "*-" + "[0-9a-f]" * 16 + "/"
# A hidden file this old belongs to a process that was killed, not to one that is writing.
ABANDONED_AFTER_SECONDS = 3600.0

log = logging.getLogger(__name__)
T = TypeVar("T")


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
        shard = _to_parquet(photos, columns)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            record = folder / RECORD
            if not record.exists():
                _write_whole(record, json.dumps({"name": space.name, **space.content}, indent=1).encode())
            _write_whole(folder / _shard_name(folder, shard), shard)
        except OSError as error:
            raise StoreError(
                f"features cannot be written to {folder}: {error.strerror or error}; all finished work is kept: "
                "make room (`manyeyes features prune`), or set MANYEYES_HOME to another disk, and run again"
            ) from None

    def missing(self, space: Space, photos: Sequence[str]) -> list[str]:
        """Those of ``photos`` that the space does not hold, each once, in order.

        Raises StoreError when the system does not let a shard be read.
        """
        lacking = dict.fromkeys(photos)
        for _, table in _readable(self.root / space.folder, lacking.keys(), [PHOTO]):
            for photo in _photos(table):
                lacking.pop(photo, None)
        return list(lacking)

    def read(self, space: Space, photos: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
        """The columns of ``photos``, row i for ``photos[i]``. Raises StoreError when a photo is not there."""
        rows: dict[str, list[int]] = {}
        for row, photo in enumerate(photos):
            rows.setdefault(photo, []).append(row)
        result: dict[str, npt.NDArray[Any]] = {}
        for path, table in _readable(self.root / space.folder, rows.keys()):
            wanted = [(i, photo) for i, photo in enumerate(_photos(table)) if photo in rows]
            source = np.array([i for i, photo in wanted for _ in rows[photo]], np.intp)
            target = np.array([row for _, photo in wanted for row in rows[photo]], np.intp)
            columns = _from_arrow(table)
            if not result:
                result = {name: np.empty((len(photos), *v.shape[1:]), v.dtype) for name, v in columns.items()}
            if _layout(columns) != _layout(result):
                raise StoreError(f"{path} holds other columns than the shards beside it: remove {path.parent}")
            for name, values in columns.items():
                result[name][target] = values[source]
            for _, photo in wanted:
                rows.pop(photo, None)
        if rows:
            raise StoreError(f"{space.name}: {len(rows)} of the photos are not in the feature store at {self.root}")
        return result

    def info(self) -> list[SpaceInfo]:
        """Every space, by name."""
        found = []
        for folder in sorted(self.root.glob(FOLDERS)):
            photos = {photo for _, listed in _listed(folder) for photo in listed}
            size = sum(_size(path) for path in folder.iterdir())
            found.append(SpaceInfo(folder.name.rpartition("-")[0], folder, len(photos), size))
        return found

    def prune(self, is_unwanted: Callable[[SpaceInfo], bool] = lambda space: False) -> int:
        """Remove what killed runs left, shards set aside, and every unwanted space. Returns the bytes freed.

        Raises StoreError when something cannot be removed.
        """
        freed = 0
        for space in self.info():
            try:
                if is_unwanted(space):
                    shutil.rmtree(space.folder)
                    freed += space.bytes
                    continue
                for path in _left_behind(space.folder):
                    size = _size(path)
                    path.unlink(missing_ok=True)
                    freed += size
            except OSError as error:
                raise StoreError(f"{error.filename or space.folder} cannot be removed: {error.strerror}") from None
        return freed


def _readable(folder: Path, wanted: Set[str], columns: list[str] | None = None) -> Iterator[tuple[Path, pa.Table]]:
    """Each shard that is whole and holds a wanted photo; ``wanted`` may shrink between two shards."""
    for path, listed in _listed(folder):
        if not wanted.isdisjoint(listed):
            table = _look_into(path, lambda path: _rows_of(path, columns))
            if table is not None:
                yield path, table


def _listed(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each shard and the photos that it lists; whether its rows are whole is not looked at."""
    for path in sorted(folder.glob("shard-*.parquet")):
        listed = _look_into(path, _photos_of)
        if listed is not None:
            yield path, listed


def _look_into(path: Path, look: Callable[[Path], T]) -> T | None:
    """What ``look`` finds in a shard; None when the shard is gone, or damaged and so set aside."""
    try:
        try:
            return look(path)
        except Exception as error:  # a reader may throw anything at damaged bytes; but it may lack memory, or rights
            if _bears_its_name(path, path.read_bytes()):
                raise
            log.warning("set aside a damaged shard, its photos will be looked at again: %s (%s)", path, error)
            with suppress(OSError):  # another process was faster, or the store is read-only
                path.rename(path.with_suffix(".damaged"))
    except FileNotFoundError:
        pass  # pruned, or set aside, by another process between the listing and the reading
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}") from None
    return None


def _photos_of(path: Path) -> list[str]:
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        return _photos(file.read([PHOTO], use_threads=False))


def _rows_of(path: Path, columns: list[str] | None) -> pa.Table:
    data = path.read_bytes()
    if not _bears_its_name(path, data):
        raise ValueError("its bytes are not those that were written")
    return pq.ParquetFile(pa.BufferReader(data)).read(columns, use_threads=False)


def _bears_its_name(path: Path, data: bytes) -> bool:
    return path.name == _shard_name(path.parent, data)


def _shard_name(folder: Path, data: bytes) -> str:
    digest = hashlib.sha256(folder.name.encode())
    digest.update(data)
    return f"shard-{digest.hexdigest()}.parquet"


def _write_whole(path: Path, data: bytes) -> None:
    hidden = path.with_name(f".writing-{uuid.uuid4().hex}")
    try:
        with hidden.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        hidden.replace(path)
    except BaseException:
        with suppress(OSError):
            hidden.unlink()
        raise


def _left_behind(folder: Path) -> list[Path]:
    return [*folder.glob("*.damaged"), *(path for path in folder.glob(".writing-*") if _is_abandoned(path))]


def _is_abandoned(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > ABANDONED_AFTER_SECONDS
    except FileNotFoundError:  # its writer has just finished
        return False


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # a hidden file whose writer has just finished
        return 0


def _to_parquet(photos: Sequence[str], columns: Columns) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(_to_arrow(photos, columns), sink, compression="none", write_page_checksum=True)
    data: bytes = sink.getvalue().to_pybytes()
    return data


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


def _layout(columns: Columns) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {name: (values.dtype.str, values.shape[1:]) for name, values in columns.items()}


def _photos(table: pa.Table) -> list[str]:
    return [photo.hex() for photo in table[PHOTO].to_pylist()]
