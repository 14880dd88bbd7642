"""Photos behind a URL: which there are, and their bytes."""

from pathlib import PurePosixPath

from pyarrow.fs import FileInfo, FileSelector, FileType

from manyeyes.errors import OfflineError, PhotoSourceError
from manyeyes.images.folders import is_hidden, is_photo, split_folders
from manyeyes.images.photo import MAX_BYTES, Reason, Rejected, readable
from manyeyes.images.photoset import PhotoSet, split_name
from manyeyes.places import join, locate, patiently, read


def read_url(url: str) -> bytes | Rejected:
    """What :func:`manyeyes.images.read_bytes` says of a URL. Raises PlaceError when its place cannot be asked."""
    try:
        found = _look_up(url)
        if found.type == FileType.NotFound:
            return Rejected(url, Reason.MISSING, "no such file")
        if found.type != FileType.File:
            return Rejected(url, Reason.NOT_A_FILE, "a folder")
        if (found.size or 0) > MAX_BYTES:  # not every server says how large a file is
            return Rejected(url, Reason.TOO_LARGE, f"{found.size:,} bytes; at most {MAX_BYTES:,} are read")
        return read(url)
    except (FileNotFoundError, NotADirectoryError):
        return Rejected(url, Reason.MISSING, "no such file")
    except (ValueError, OfflineError) as error:
        return Rejected(url, Reason.UNREADABLE, readable(str(error)) or type(error).__name__)


def is_folder(url: str) -> bool:
    """Whether photos can be searched for there. Raises PlaceError when that cannot be told."""
    return bool(_look_up(url).type == FileType.Directory)


def _look_up(url: str) -> FileInfo:
    filesystem, path = locate(url)
    return patiently(url, lambda: filesystem.get_file_info(path))


def photos_at(url: str) -> list[str]:
    """The URL of every photo under a folder's URL, sorted by relative path. Raises PhotoSourceError and PlaceError."""
    _, photos = _listing(url)
    return [join(url, photo) for photo in photos]


def read_remote_folder(url: str) -> PhotoSet:
    """As :func:`manyeyes.images.folders.read_folder`: the photos under ``url/<class>/`` or ``url/<split>/<class>/``."""
    folders, photos = _listing(url)
    inside: dict[str, list[PurePosixPath]] = {folder: [] for folder in folders}
    for folder, _, rest in (photo.partition("/") for photo in photos):
        if rest:
            inside[folder].append(PurePosixPath(rest))
    is_split = bool(split_folders(url, folders, inside.__getitem__))
    depth = 2 if is_split else 1
    parts = [photo.split("/") for photo in photos]
    kept = [part for part in parts if len(part) > depth]
    if not kept:
        raise PhotoSourceError(f"no photos in {readable(url)}: put those of each class in a folder of its own")
    loose = len(parts) - len(kept)
    return PhotoSet(
        tuple(join(url, "/".join(part)) for part in kept),
        tuple(part[depth - 1] for part in kept),
        tuple(split_name(part[0]) for part in kept) if is_split else None,
        notes=(f"{readable(url)}: left out {loose} photos outside the class folders",) if loose else (),
    )


def _listing(url: str) -> tuple[list[str], list[str]]:
    """The folders at a URL, and the photos at any depth, by relative path; both visible ones only, and sorted."""
    if not is_folder(url):
        raise PhotoSourceError(f"{readable(url)} is no folder: give a folder or a manifest")
    filesystem, path = locate(url)
    found = patiently(url, lambda: filesystem.get_file_info(FileSelector(path, recursive=True)))
    start = len(path.rstrip("/")) + 1
    visible = [one for one in found if not any(map(is_hidden, one.path[start:].split("/")))]
    folders = [one.path[start:] for one in visible if one.type == FileType.Directory]
    photos = [one.path[start:] for one in visible if one.type == FileType.File and is_photo(PurePosixPath(one.path))]
    tops = {path.partition("/")[0] for path in folders + [photo for photo in photos if "/" in photo]}
    return sorted(tops), sorted(photos)
