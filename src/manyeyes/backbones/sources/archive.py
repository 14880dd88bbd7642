"""Take one file or folder out of a zip or tar archive that a stranger may have made."""

import gzip
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from manyeyes.errors import FetchError, UnsafeArchiveError

# No weights or sample photos of ours come near this; an archive that unpacks to more is a bomb or a mistake.
MAX_BYTES = 4 * 2**30

# What the standard library raises for archives that are cut short, damaged, encrypted or packed in unknown ways.
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
)

Member = tuple[PurePosixPath, int, IO[bytes]]


def take(archive: Path, inside: str, folder: Path, strip: int = 0) -> Path:
    """Copy ``inside`` (a file, or a folder with all that is in it) out of ``archive`` into ``folder``.

    ``strip`` leading path parts are left out of every member's name first (npm puts everything below ``package/``).
    Only regular files are copied, and only below ``folder``. Returns the path of the file or folder taken out.
    Raises UnsafeArchiveError for a member that would land elsewhere or for too many bytes, FetchError when the archive
    is damaged or holds nothing called ``inside``.
    """
    wanted = PurePosixPath(inside)
    _refuse_escape(wanted, archive)
    left, found = MAX_BYTES, False
    with _readable(archive):
        for name, size, stream in _members(archive):
            relative = PurePosixPath(*name.parts[strip:])
            if not relative.parts or (relative != wanted and wanted not in relative.parents):
                continue
            _refuse_escape(relative, archive)
            left -= size
            if left < 0:
                raise UnsafeArchiveError(f"{archive.name} unpacks to more than {MAX_BYTES / 2**30:.0f} GB")
            _write(stream, folder / relative, archive)
            found = True
    if not found:
        raise FetchError(f"{archive.name} holds nothing called {inside!r}")
    return folder / wanted


def _refuse_escape(path: PurePosixPath, archive: Path) -> None:
    if path.is_absolute() or ".." in path.parts or set(str(path)) & set("\\:\0"):
        raise UnsafeArchiveError(f"{archive.name}: the path {str(path)!r} leads out of its folder")


def _write(stream: IO[bytes], target: Path, archive: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            shutil.copyfileobj(stream, file)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise UnsafeArchiveError(f"{archive.name} holds {target.name!r} both as a file and as a folder") from None


def _members(archive: Path) -> Iterator[Member]:
    """Every regular file's name, size and bytes; both libraries give no more bytes than that size, whatever follows."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                if not info.filename.endswith("/"):
                    with file.open(info) as stream:
                        yield PurePosixPath(info.filename), info.file_size, stream
        return
    with tarfile.open(archive) as tar:
        for entry in tar:
            # Links, devices and folders have no bytes of their own; a link could lead anywhere.
            extracted = tar.extractfile(entry) if entry.isreg() else None
            if extracted is not None:
                with extracted as stream:
                    yield PurePosixPath(entry.name), entry.size, stream


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGED as error:
        raise FetchError(f"{archive.name} cannot be read as a zip or tar archive: {error}") from None
