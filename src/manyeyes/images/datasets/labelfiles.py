"""Label files as their publishers write them: plain text, and MATLAB's .mat with arrays of whole numbers."""

from pathlib import Path, PurePosixPath

import numpy as np

from manyeyes.errors import PhotoSourceError
from manyeyes.images.datasets.matfile import read_array
from manyeyes.images.photo import readable

# Bytes; the largest of the real ones has a tenth of this.
_LARGEST = 10_000_000


def read_rows(file: Path) -> list[str]:
    """The lines of a text file, without those that are empty or begin with ``#``. Raises PhotoSourceError."""
    _check_size(file)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise PhotoSourceError(f"{readable(str(file))} is not text in UTF-8: unpack it again") from None
    except OSError as error:
        raise _unreadable(file, error) from None
    rows = [row.strip() for row in text.splitlines()]
    return [row for row in rows if row and not row.startswith("#")]


def read_pairs(file: Path) -> dict[str, str]:
    """Key and value of each line, parted by the first blank. Raises PhotoSourceError, also when a key comes twice."""
    found: dict[str, str] = {}
    for row in read_rows(file):
        key, *rest = row.split(maxsplit=1)
        if not rest or key in found:
            wrong = "comes twice" if key in found else "has no value"
            raise PhotoSourceError(f"{readable(key)!r} {wrong} in {readable(str(file))}: unpack it again")
        found[key] = rest[0]
    return found


def read_numbers(file: Path, name: str) -> list[int]:
    """The whole numbers of the array ``name`` in a .mat file. Raises PhotoSourceError for all but a plain array."""
    _check_size(file)
    where = readable(str(file))
    try:
        values = read_array(file.read_bytes(), name)
    except OSError as error:
        raise _unreadable(file, error) from None
    except ValueError as error:
        raise PhotoSourceError(f"{where} cannot be read, because {error}: fetch it again") from None
    if not np.isfinite(values).all() or (values != np.floor(values)).any():
        raise PhotoSourceError(f"the array {name} of {where} holds other than whole numbers: fetch it again")
    return [int(value) for value in values]


def inside(path: str, file: Path) -> str:
    """The path of a photo that ``file`` names. Raises PhotoSourceError when it leads out of the dataset's folder."""
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\0" in path:
        raise PhotoSourceError(f"{readable(str(file))} names {readable(path)!r}, which lies outside of the dataset")
    return path


def _check_size(file: Path) -> None:
    try:
        size = file.stat().st_size
    except OSError as error:
        raise _unreadable(file, error) from None
    if size > _LARGEST:
        raise PhotoSourceError(f"{readable(str(file))} is too large for a label file ({size:,} bytes)")


def _unreadable(file: Path, error: OSError) -> PhotoSourceError:
    return PhotoSourceError(f"{readable(str(file))} cannot be read: {error.strerror or error}")
