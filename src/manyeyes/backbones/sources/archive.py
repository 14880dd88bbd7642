"""Take one file or folder out of a zip or tar archive that a stranger may have made."""

import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from manyeyes.errors import FetchError, UnsafeArchiveError

# No weights or sample photos of ours come near this; an archive that unpacks to more is a bomb or a mistake.
MAX_BYTES = 4 * 2**30

Member = tuple[PurePosixPath, int, IO[bytes]]


def take(archive: Path, inside: str, folder: Path, strip: int = 0) -> Path:
    """Copy ``inside`` (a file, or a folder with all that is in it) out of ``archive`` into ``folder``.

    ``strip`` leading path parts are left out of every member's name first (npm puts everything below ``package/``).
    Only regular files are copied, and only below ``folder``. Returns the path of the file or folder taken out.
    Raises UnsafeArchiveError for a member that would land elsewhere or for too many bytes, FetchError when there is
    nothing called ``inside``.
    """
    wanted = PurePosixPath(inside)
    left = MAX_BYTES
    for name, size, stream in _members(archive):
        relative = PurePosixPath(*name.parts[strip:])
        if relative != wanted and wanted not in relative.parents:
            continue
        if relative.is_absolute() or ".." in relative.parts or "\\" in str(relative) or ":" in str(relative):
            raise UnsafeArchiveError(f"{archive.name} holds the path {str(name)!r}, which leads out of its folder")
        left -= size
        if left < 0:
            raise UnsafeArchiveError(f"{archive.name} unpacks to more than {MAX_BYTES / 2**30:.0f} GB")
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            shutil.copyfileobj(_AtMost(stream, size, archive.name), file)
    taken = folder / wanted
    if not taken.exists():
        raise FetchError(f"{archive.name} holds nothing called {inside!r}")
    return taken


class _AtMost:
    """A stream that refuses to give more bytes than its archive's directory promised."""

    def __init__(self, stream: IO[bytes], size: int, archive: str) -> None:
        self._stream, self._left, self._archive = stream, size, archive

    def read(self, count: int = -1) -> bytes:
        data = self._stream.read(count)
        self._left -= len(data)
        if self._left < 0:
            raise UnsafeArchiveError(f"{self._archive} holds a member that is larger than it says")
        return data


def _members(archive: Path) -> Iterator[Member]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                if not info.is_dir():
                    with file.open(info) as stream:
                        yield PurePosixPath(info.filename), info.file_size, stream
        return
    with _open_tar(archive) as tar:
        for entry in tar:
            # Links, devices and folders have no bytes of their own; a link could lead anywhere.
            extracted = tar.extractfile(entry) if entry.isreg() else None
            if extracted is not None:
                with extracted as stream:
                    yield PurePosixPath(entry.name), entry.size, stream


@contextmanager
def _open_tar(archive: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(archive) as tar:
            yield tar
    except tarfile.ReadError as error:
        raise FetchError(f"{archive.name} is neither a zip nor a tar archive: {error}") from None
