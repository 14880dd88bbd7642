"""Places that are no path of this machine: URLs of any filesystem that pyarrow opens (s3://bucket/folder, gs://, …).

What follows the authority is taken as it is written, without percent signs undone and without a query, because photos
may be called anything. Where a service lies and who may ask it is told by its own environment variables (AWS_REGION,
AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID …), so that no secret stands in a path.
"""

import re
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from manyeyes.errors import OfflineError, PlaceError
from manyeyes.home import is_offline

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

# Two letters at least: "c:/" is a drive.
_URL = re.compile(r"([a-z][a-z0-9.+-]+)://([^/]*)/*(.*)", re.DOTALL | re.IGNORECASE)
_ON_THIS_MACHINE = ("file", "fsspec+file", "fsspec+memory")
# Seconds to wait before a place that failed is asked again.
WAITS = (0.2, 1.0, 4.0)
T = TypeVar("T")


def is_url(place: str) -> bool:
    return _URL.match(place) is not None


def join(url: str, relative: str) -> str:
    """The URL of something in the folder at ``url``."""
    return f"{url.rstrip('/')}/{relative}"


def locate(url: str) -> "tuple[FileSystem, str]":
    """The filesystem of a URL, opened once, and the path in it. Raises PlaceError and OfflineError."""
    match = _URL.match(url)
    if match is None:
        raise PlaceError(f"{url!r} is no URL such as s3://bucket/folder")
    scheme, authority, key = match[1].lower(), match[2], match[3].rstrip("/")
    if is_offline() and scheme not in _ON_THIS_MACHINE:
        raise OfflineError(f"{url} lies beyond this machine, and the network is not allowed: copy it here")
    try:
        filesystem, base = _filesystem(f"{scheme}://{authority}/")
    except (ValueError, OSError, ImportError) as error:  # pyarrow's own errors are ValueErrors
        raise PlaceError(f"{url} cannot be opened: {' '.join(str(error).split())}") from None
    return filesystem, f"{base.rstrip('/')}/{key}" if key else base


def patiently(url: str, ask: Callable[[], T]) -> T:
    """What ``ask`` answers, which reads what lies at ``url``; asked again when the place, or the way there, fails.

    Raises PlaceError when it fails again and again or gives no permission. What is the URL's own fault is raised as it
    is: FileNotFoundError, NotADirectoryError, IsADirectoryError and ValueError.
    """
    waits = iter(WAITS)
    while True:
        try:
            return ask()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError, MemoryError):
            raise
        except Exception as error:  # what fsspec opens raises the errors of whatever package asks there
            wait = None if isinstance(error, PermissionError) else next(waits, None)
            if wait is None:
                words = " ".join(str(error).split()) or type(error).__name__
                raise PlaceError(f"{url} cannot be read: {words}") from error
            time.sleep(wait)


def read(url: str) -> bytes:
    """The bytes of a file. Raises OfflineError, and as :func:`patiently`."""
    filesystem, path = locate(url)

    def ask() -> bytes:
        try:
            with filesystem.open_input_file(path) as file:
                data: bytes = file.read()
                return data
        except FileNotFoundError as error:  # fsspec says so, too, when it could not ask
            if filesystem.get_file_info(path).type.name == "NotFound":
                raise
            raise ConnectionError("it is there, and cannot be opened") from error

    return patiently(url, ask)


@cache
def _filesystem(root: str) -> "tuple[FileSystem, str]":
    from pyarrow.fs import FileSystem  # takes as long to load as all else

    filesystem, base = FileSystem.from_uri(root)
    return filesystem, base
