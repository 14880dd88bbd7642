"""Files and folders that are written whole or not at all."""

import errno
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A hidden path beside ``path`` for the block to write a file or a folder to; it gets its name when the block has
    succeeded."""
    hidden = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        _make_folder(path.parent)
        yield hidden
        hidden.replace(path)
    finally:
        if hidden.is_dir():
            shutil.rmtree(hidden, ignore_errors=True)
        with suppress(OSError):  # it has its name, or was never made
            hidden.unlink()


@contextmanager
def folder_whole(path: Path) -> Iterator[Path]:
    """Where a folder of the same name can be made for the block; it takes its place when the block has succeeded."""
    _make_folder(path.parent)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as scratch:
        made = Path(scratch) / path.name
        yield made
        made.rename(path)


def try_writing(path: Path) -> None:
    """Make the folder of a file that is to be written, and raise OSError if it cannot be written there.

    Better to learn that before hours of work than after them.
    """
    _make_folder(path.parent)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-"):
        pass


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:  # "File exists" would tell nobody what is wrong
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
