"""Where the feature store's files lie: a folder of this machine, or a URL. Files in folders, one level deep.

Both keep that what has a file's name is whole: it is written under a hidden name and then moved; here it is flushed to
disk before. Only an object store is written to directly: it shows an object when all of it is there.
"""

import errno
import os
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from pyarrow.fs import FileInfo, FileSelector, FileType

from manyeyes.places import is_url, locate

# A hidden file this old belongs to a process that was killed, not to one that is writing.
ABANDONED_AFTER_SECONDS = 3600.0
WRITING = ".writing-"
DAMAGED = ".damaged"
# pyarrow's own names of its object stores. What fsspec opens may be anything.
OBJECT_STORES = ("s3", "gcs", "abfs")


class Shelf(Protocol):
    """What the store asks of a place. Each raises OSError; FileNotFoundError only from ``open`` and ``read``,
    as a folder that is not there is an empty one.

    ``lanes`` is how many files are best asked for at once.
    """

    lanes: int

    def where(self, *names: str) -> str:
        """The place of a folder or file, for people."""

    def folders(self) -> list[str]: ...

    def files(self, folder: str) -> dict[str, int]:
        """Name → bytes of every file."""

    def open(self, folder: str, name: str) -> Any:
        """What pyarrow reads a part of a file from."""

    def read(self, folder: str, name: str) -> bytes: ...

    def put(self, folder: str, name: str, data: bytes) -> None:
        """Write a file, whole or not at all."""

    def set_aside(self, folder: str, name: str) -> None:
        """Give a file another name, which ends in ``DAMAGED``."""

    def remove(self, folder: str, name: str) -> None:
        """Remove a file that may be gone already."""

    def remove_folder(self, folder: str) -> None:
        """Remove a folder if nothing is in it."""

    def left_behind(self, folder: str) -> list[str]:
        """Files that killed writers left half done."""


def open_shelf(root: str | os.PathLike[str]) -> Shelf:
    """The shelf at a path or URL. Raises PlaceError and OfflineError."""
    root = os.fspath(root)
    if root.lower().startswith("file://"):
        return LocalShelf(Path(locate(root)[1]))
    return RemoteShelf(root) if is_url(root) else LocalShelf(Path(root))


class LocalShelf:
    lanes = 1

    def __init__(self, root: Path) -> None:
        self._root = root

    def where(self, *names: str) -> str:
        return str(self._root.joinpath(*names))

    def folders(self) -> list[str]:
        return sorted(entry.name for entry in self._entries() if entry.is_dir())

    def files(self, folder: str) -> dict[str, int]:
        return {name: status.st_size for name, status in self._stats(folder).items()}

    def open(self, folder: str, name: str) -> Path:
        return self._root / folder / name

    def read(self, folder: str, name: str) -> bytes:
        return (self._root / folder / name).read_bytes()

    def put(self, folder: str, name: str, data: bytes) -> None:
        target = self._root / folder / name
        hidden = target.with_name(_hidden_name())
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with hidden.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            hidden.replace(target)
        except BaseException:
            with suppress(OSError):
                hidden.unlink()
            raise

    def set_aside(self, folder: str, name: str) -> None:
        path = self._root / folder / name
        path.rename(path.with_suffix(DAMAGED))

    def remove(self, folder: str, name: str) -> None:
        (self._root / folder / name).unlink(missing_ok=True)

    def remove_folder(self, folder: str) -> None:
        try:
            (self._root / folder).rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise

    def left_behind(self, folder: str) -> list[str]:
        return [name for name, status in self._stats(folder).items() if _is_abandoned(name, status.st_mtime)]

    def _stats(self, folder: str) -> dict[str, os.stat_result]:
        found = {}
        for entry in self._entries(folder):
            with suppress(FileNotFoundError):  # a hidden file whose writer has just finished
                if entry.is_file():
                    found[entry.name] = entry.stat()
        return found

    def _entries(self, *names: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self._root.joinpath(*names)) as entries:
                return list(entries)
        except FileNotFoundError:
            return []


class RemoteShelf:
    # Each request waits for the network, not for the processor.
    lanes = 16

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._filesystem, self._root = locate(url)

    def where(self, *names: str) -> str:
        return "/".join([self._url, *names])

    def folders(self) -> list[str]:
        return sorted(one.base_name for one in self._list(self._root) if one.type == FileType.Directory)

    def files(self, folder: str) -> dict[str, int]:
        return {one.base_name: one.size for one in self._list(self._path(folder)) if one.type == FileType.File}

    def open(self, folder: str, name: str) -> Any:
        return self._filesystem.open_input_file(self._path(folder, name))

    def read(self, folder: str, name: str) -> bytes:
        with self.open(folder, name) as file:
            data: bytes = file.read()
            return data

    def put(self, folder: str, name: str, data: bytes) -> None:
        self._filesystem.create_dir(self._path(folder))  # what is no object store has folders
        if self._filesystem.type_name in OBJECT_STORES:
            self._write(folder, name, data)
            return
        hidden = _hidden_name()
        try:
            self._write(folder, hidden, data)
            self._move(folder, hidden, name)
        except BaseException:
            with suppress(Exception):
                self.remove(folder, hidden)
            raise

    def set_aside(self, folder: str, name: str) -> None:
        self._move(folder, name, f"{Path(name).stem}{DAMAGED}")

    def remove(self, folder: str, name: str) -> None:
        with suppress(FileNotFoundError):
            self._filesystem.delete_file(self._path(folder, name))

    def remove_folder(self, folder: str) -> None:
        if not self._list(self._path(folder)):
            with suppress(FileNotFoundError):  # an object store has no folders
                self._filesystem.delete_dir(self._path(folder))

    def left_behind(self, folder: str) -> list[str]:
        files = [one for one in self._list(self._path(folder)) if one.mtime_ns is not None]
        return [one.base_name for one in files if _is_abandoned(one.base_name, one.mtime_ns / 1e9)]

    def _write(self, folder: str, name: str, data: bytes) -> None:
        with self._filesystem.open_output_stream(self._path(folder, name)) as file:
            file.write(data)

    def _move(self, folder: str, name: str, target: str) -> None:
        source, place = self._path(folder, name), self._path(folder, target)
        try:
            self._filesystem.move(source, place)
        except FileNotFoundError:
            raise
        except OSError:  # HDFS, for one, moves nothing onto what is there
            self.remove(folder, target)
            self._filesystem.move(source, place)

    def _path(self, *names: str) -> str:
        return "/".join([self._root, *names])

    def _list(self, path: str) -> list[FileInfo]:
        found: list[FileInfo] = self._filesystem.get_file_info(FileSelector(path, allow_not_found=True))
        return found


def _hidden_name() -> str:
    return f"{WRITING}{uuid.uuid4().hex}"


def _is_abandoned(name: str, modified: float) -> bool:
    return name.startswith(WRITING) and time.time() - modified > ABANDONED_AFTER_SECONDS
