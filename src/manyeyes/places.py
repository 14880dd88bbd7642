"""Places that are no path of this machine: URLs of any filesystem that pyarrow opens (s3://bucket/folder, gs://, …).

What follows the authority is taken as it is written, without percent signs undone and without a query, because photos
may be called anything. Where a service lies and who may ask it is told by its own environment variables (AWS_REGION,
AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID …), so that no secret stands in a path.
"""

import re
from functools import cache
from typing import TYPE_CHECKING

from manyeyes.errors import OfflineError, PlaceError
from manyeyes.home import is_offline

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

# Two letters at least: "c:/" is a drive.
_URL = re.compile(r"([a-z][a-z0-9.+-]+)://([^/]*)/*(.*)", re.DOTALL)
_ON_THIS_MACHINE = ("file", "fsspec+file", "fsspec+memory")


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
    scheme, authority, key = match.groups()
    if is_offline() and scheme not in _ON_THIS_MACHINE:
        raise OfflineError(f"{url} lies beyond this machine, and the network is not allowed: copy it here")
    try:
        filesystem, base = _filesystem(f"{scheme}://{authority}/")
    except (ValueError, OSError, ImportError) as error:  # pyarrow's own errors are ValueErrors
        raise PlaceError(f"{url} cannot be opened: {' '.join(str(error).split())}") from None
    return filesystem, f"{base.rstrip('/')}/{key.rstrip('/')}"


@cache
def _filesystem(root: str) -> "tuple[FileSystem, str]":
    from pyarrow.fs import FileSystem  # takes as long to load as all else

    filesystem, base = FileSystem.from_uri(root)
    return filesystem, base
