"""Where the feature store's files lie: a folder of this machine, or a URL. Files in folders, one level deep.

Both keep that what has a file's name is whole: here a file is written under a hidden name, flushed to disk and renamed;
an object store shows an object only when all of it is there.
"""

import os
import shutil
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from pyarrow.fs import FileInfo, FileSelector, FileType

from manyeyes.places import is_url, locate

# A hidden file this old belongs to a process that was killed, not to one that is writing.
ABANDONED_AFTER_SECONDS = 3600.0
DAMAGED = ".damaged"


class Shelf(Protocol):
    """What the store asks of a place. Each raises OSError; FileNotFoundError only from ``open`` and ``read``.

    ``lanes`` is how many files are best asked for at once.
    """

    lanes: int

    def where(self, *names: str) -> str:
        """The place of a folder or file, for people."""

    def folders(self) -> list[str]: ...

    def files(self, folder: str) -> dict[str, int]:
        """Name → bytes of every file; none when there is no such folder."""

    def open(self, folder: str, name: str) -> Any:
        """What pyarrow reads a part of a file from."""

    def read(self, folder: str, name: str) -> bytes: ...

    def put(self, folder: str, name: str, data: bytes) -> None:
        """Write a file, whole or not at all."""

    def set_aside(self, folder: str, name: str) -> None:
        """Give a file another name, which ends in ``DAMAGED``."""

    def remove(self, folder: str, name: str) -> None:
        """Remove a file that may be gone already."""

    def remove_folder(self, folder: str) -> None: ...

    def left_behind(self, folder: str) -> list[str]:
        """Files that killed writers left half done."""


def open_shelf(root: str | os.PathLike[str]) -> Shelf:
    """The shelf at a path or URL. Raises PlaceError and OfflineError."""
    root = os.fspath(root)
    if root.startswith("file://"):
        return LocalShelf(Path(locate(root)[1]))
    return RemoteShelf(root) if is_url(root) else LocalShelf(Path(root))


class LocalShelf:
    lanes = 1

    def __init__(self, root: Path) -> None:
        self._root = root

    def where(self, *names: str) -> str:
        return str(self._root.joinpath(*names))

    def folders(self) -> list[str]:
        return sorted(path.name for path in self._root.glob("*/"))

    def files(self, folder: str) -> dict[str, int]:
        sizes = {}
        for path in (self._root / folder).glob("*"):
            with suppress(FileNotFoundError):  # a hidden file whose writer has just finished
                sizes[path.name] = path.stat().st_size
        return sizes

    def open(self, folder: str, name: str) -> Path:
        return self._root / folder / name

    def read(self, folder: str, name: str) -> bytes:
        return (self._root / folder / name).read_bytes()

    def put(self, folder: str, name: str, data: bytes) -> None:
        target = self._root / folder / name
        hidden = target.with_name(f".writing-{uuid.uuid4().hex}")
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
        shutil.rmtree(self._root / folder)

    def left_behind(self, folder: str) -> list[str]:
        return [path.name for path in (self._root / folder).glob(".writing-*") if _is_abandoned(path)]


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
        with self._filesystem.open_output_stream(self._path(folder, name)) as file:
            file.write(data)

    def set_aside(self, folder: str, name: str) -> None:
        self._filesystem.move(self._path(folder, name), self._path(folder, f"{Path(name).stem}{DAMAGED}"))

    def remove(self, folder: str, name: str) -> None:
        with suppress(FileNotFoundError):
            self._filesystem.delete_file(self._path(folder, name))

    def remove_folder(self, folder: str) -> None:
        self._filesystem.delete_dir(self._path(folder))

    def left_behind(self, folder: str) -> list[str]:
        return []

    def _path(self, *names: str) -> str:
        return "/".join([self._root, *names])

    def _list(self, path: str) -> list[FileInfo]:
        found: list[FileInfo] = self._filesystem.get_file_info(FileSelector(path, allow_not_found=True))
        return found


def _is_abandoned(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > ABANDONED_AFTER_SECONDS
    except FileNotFoundError:  # its writer has just finished
        return False
